using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// Where every stored value lies: a tensor and a range of its columns. A value has a tensor of its own, except that views and what RoPE turns in place lie
/// where their input lies, and the inputs of a Concat in its column ranges. InsertCopies has made sure that these claims never meet.
/// </summary>
public sealed class Placement
{
    readonly record struct Place(string Tensor, int Start, int Count, bool Whole);

    readonly TensorGraph _graph;
    readonly ClusterMap _map;
    readonly Dictionary<int, Place> _places = new();
    readonly Dictionary<string, ScheduleTensor> _tensors = new();
    readonly List<string> _order = new();

    public IReadOnlyList<ScheduleTensor> Tensors => _order.Select(name => _tensors[name]).ToArray();

    public Placement(TensorGraph graph, ClusterMap map)
    {
        (_graph, _map) = (graph, map);
        foreach (var node in graph.Nodes.Where(n => n.Op is Concat))
        {
            var (tensor, start) = (Declare(node), 0);
            _places[node.Id] = new Place(tensor, 0, node.Type.Columns, true);
            foreach (var input in node.Inputs)
            {
                var count = graph[input].Type.Columns;
                Force(input, new Place(tensor, start, count, node.Inputs.Count == 1));
                start += count;
            }
        }
        foreach (var node in graph.Nodes)
        {
            if (_places.ContainsKey(node.Id)) continue;
            switch (node.Op)
            {
                case Input input: Fixed(node, input.Role, TensorKind.Input, ElementType.I32); break;
                case RunScalar scalar: Fixed(node, scalar.Tensor, TensorKind.Scalar, ElementType.F32); break;
                case Param param:
                    Fixed(node, param.Tensor, TensorKind.Weight, ElementType.Act);
                    if (param.Trained) Gradient(node, param.Tensor);
                    break;
                case ParamStack stack: Stack(node, stack); break;
                case AdapterStack stack: Adapters(node, stack); break;
                case Heads or Rope: _places[node.Id] = Of(node.Inputs[0]); break;
                case Columns columns:
                    var whole = Of(node.Inputs[0]);
                    _places[node.Id] = new Place(whole.Tensor, whole.Start + columns.Start, columns.Count, whole.Whole && columns.Count == graph[node.Inputs[0]].Type.Columns);
                    break;
                case WeightGradient gradient: _places[node.Id] = new Place(GradientOf(Name(gradient.Of)), 0, 0, true); break;
                case AdapterGradient gradient: _places[node.Id] = new Place(GradientOf(Name(gradient.Of)), 0, 0, true); break;
                default:
                    if (node.Type.IsPerToken && (map.IsAnchor(node.Id) || map.IsStored(node.Id))) _places[node.Id] = new Place(Declare(node), 0, node.Type.Columns, true);
                    break;
            }
        }
    }

    public View View(int id)
    {
        var place = Of(id);
        return place.Whole ? new View(place.Tensor) : new View(place.Tensor, new ColumnRange(place.Start, place.Start + place.Count));
    }

    public string Tensor(int id) => Of(id).Tensor;

    /// <summary>The tensor of the gradient of a weight, or of a stack's A or B.</summary>
    public static string GradientOf(string tensor) => tensor + ".gradient";

    /// <summary>The table that a rotation of heads of so many columns reads: one for all that turn alike.</summary>
    public string RopeTable(Rope rope, int headDim)
    {
        var facts = new RopeFacts(rope.Theta, rope.Layers);
        if (_tensors.Values.FirstOrDefault(t => t.Rope == facts && t.Dims[0].Fixed == headDim / 2 + 1) is { } known) return known.Name;
        var name = Declare(rope.Layers is { } layers ? "rope." + layers : "rope", -1, TensorKind.RopeTable, ElementType.F32, false, headDim / 2 + 1);
        _tensors[name] = _tensors[name] with { Rope = facts };
        return name;
    }

    /// <summary>A tensor that no node stands for.</summary>
    public string Declare(string name, int layer, TensorKind kind, ElementType type, bool tokens, params Extent[] dims)
    {
        var unique = name;
        for (var i = 2; _tensors.ContainsKey(unique); i++) unique = name + i;
        Add(new ScheduleTensor(unique, kind, type, tokens, dims, layer));
        return unique;
    }

    Place Of(int id) => _places.TryGetValue(id, out var place) ? place
        : throw new InvalidOperationException("placement: " + GraphText.Line(_graph, _graph[id]) + " is read but has no place");

    /// <summary>Walks back through views and in-place ops to the value that a launch writes, and gives the whole chain the reader's range.</summary>
    void Force(int id, Place place)
    {
        for (; ; id = _graph[id].Inputs[0])
        {
            if (_places.ContainsKey(id)) throw new InvalidOperationException("placement: " + GraphText.Line(_graph, _graph[id]) + " would lie in two places");
            _places[id] = place;
            if (_graph[id].Op is not (Heads or Rope)) break;
        }
        if (!_map.IsStored(id) && !_map.IsAnchor(id)) throw new InvalidOperationException("placement: no launch writes " + GraphText.Line(_graph, _graph[id]));
    }

    string Declare(Node node)
    {
        var name = (node.Layer >= 0 ? "layers." + node.Layer + "." : "") + node.Name;
        // A row's statistic and its loss are one number a token; what attention keeps per head is a matrix, even of one head.
        var dims = node.Type is { IsRowScalar: true, Heads: 0 } && node.Op is not (AttentionLse or AttentionDelta) ? Array.Empty<Extent>()
            : new[] { node.Type.IsRankRow ? new Extent(0, node.Type.Shape.Last.Stack) : node.Type.Columns };
        return Declare(name, node.Layer, _map.FromLoss(node.Id) ? TensorKind.Gradient : TensorKind.Activation, node.Type.DType == DType.F32 ? ElementType.F32
            : ElementType.Act, true, dims);
    }

    void Fixed(Node node, string name, TensorKind kind, ElementType type)
    {
        if (!_tensors.ContainsKey(name))
            Add(new ScheduleTensor(name, kind, type, node.Type.IsPerToken, node.Type.Shape.Skip(node.Type.IsPerToken ? 1 : 0).Select(d => (Extent)d.Size).ToArray()));
        _places[node.Id] = new Place(name, 0, node.Type.Rank > 0 ? node.Type.Columns : 1, true);
    }

    void Stack(Node node, ParamStack stack)
    {
        var name = Name(stack);
        var parts = stack.Parts.Select(p => new WeightPart(p.Tensor, p.Type.Shape[0].Size)).ToArray();
        Add(new ScheduleTensor(name, TensorKind.Weight, ElementType.Act, false, node.Type.Shape.Select(d => (Extent)d.Size).ToArray(), Parts: parts));
        _places[node.Id] = new Place(name, 0, stack.Type.Columns, true);
        if (stack.Trained) Gradient(node, name);
    }

    void Gradient(Node node, string weight)
    {
        if (!_tensors.ContainsKey(GradientOf(weight)))
            Add(new ScheduleTensor(GradientOf(weight), TensorKind.GradWeight, ElementType.F32, false, node.Type.Shape.Select(d => (Extent)d.Size).ToArray()));
    }

    // "model.layers.0.self_attn.q_proj.weight": where "q_proj.weight" starts.
    static int ModuleStart(string tensor)
    {
        var last = tensor.LastIndexOf('.');
        return last <= 0 ? 0 : tensor.LastIndexOf('.', last - 1) + 1;
    }

    void Adapters(Node node, AdapterStack stack)
    {
        var (set, ranks) = (stack.Set, new Extent(0, stack.Set.Id));
        var dims = stack.IsA ? new[] { ranks, set.In } : new[] { set.Out, ranks };
        Add(new ScheduleTensor(Name(stack), stack.IsA ? TensorKind.AdapterA : TensorKind.AdapterB, ElementType.Act, false, dims, Stack: set.Id));
        Add(new ScheduleTensor(GradientOf(Name(stack)), stack.IsA ? TensorKind.GradA : TensorKind.GradB, ElementType.F32, false, dims, Stack: set.Id));
        _places[node.Id] = new Place(Name(stack), 0, 0, true);
    }

    static string Name(Leaf weight) => weight switch
    {
        Param param => param.Tensor,
        ParamStack stack => string.Join("+", stack.Parts.Select((p, i) => i == 0 ? p.Tensor : p.Tensor.Substring(ModuleStart(p.Tensor)))),
        AdapterStack stack => Name(stack),
        _ => throw new InvalidOperationException("placement: " + weight.Name + " is no weight"),
    };

    static string Name(AdapterStack stack) => "adapters." + stack.Set.Id + (stack.IsA ? ".a" : ".b");

    public void Add(ScheduleTensor tensor)
    {
        _tensors.Add(tensor.Name, tensor);
        _order.Add(tensor.Name);
    }
}
