using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// Where every stored value lives: a tensor and a range of its columns. Values that a group of linears reads are written straight into its [x | S] or [dY | G], so nothing is ever concatenated.
/// </summary>
public sealed class Placement
{
    sealed record Place(string Tensor, int Start, int Count, bool Whole);

    readonly TensorGraph _graph;
    readonly ClusterMap _map;
    readonly Dictionary<int, Place> _places = new();
    readonly Dictionary<string, ScheduleTensor> _tensors = new();
    readonly List<string> _order = new();

    public IReadOnlyList<ScheduleTensor> Tensors => _order.Select(name => _tensors[name]).ToArray();

    public Placement(TensorGraph graph, ClusterMap map)
    {
        (_graph, _map) = (graph, map);
        // Consumers with a layout choose first; what is left gets a tensor of its own.
        foreach (var node in graph.Nodes)
        {
            if (node.Op is GroupStack stack)
            {
                var tensor = Declare(node, new[] { Rank(stack.Family, stack.Family.In) });
                _places[node.Id] = new Place(tensor, 0, stack.Family.In, true);
                Force(node.Inputs[0], new Place(tensor, 0, stack.Family.In, !stack.Family.HasAdapters));
            }
            else if (node.Op is GroupGradStack grad)
            {
                var tensor = Declare(node, new[] { Rank(grad.Family, grad.Family.Out) });
                _places[node.Id] = new Place(tensor, 0, grad.Family.Out, true);
                for (var i = 0; i < node.Inputs.Count; i++)
                    Force(node.Inputs[i], new Place(tensor, grad.Family.Start(i), grad.Family.Outs[i], !grad.Family.HasAdapters && node.Inputs.Count == 1));
            }
        }
        foreach (var node in graph.Nodes)
        {
            if (_places.ContainsKey(node.Id)) continue;
            switch (node.Op)
            {
                case Input input: Fixed(node, input.Role, TensorKind.Input, ElementType.I32); break;
                case RunScalar scalar: Fixed(node, scalar.Role, TensorKind.Scalar, ElementType.F32); break;
                case Param param: Fixed(node, param.Tensor, TensorKind.Weight, ElementType.Act); break;
                case GroupGradA or GroupGradB or Adapter: break;
                case Heads: _places[node.Id] = Of(node.Inputs[0]); break;
                case Rope: _places[node.Id] = Of(node.Inputs[0]); break;
                case Columns columns:
                    var whole = Of(node.Inputs[0]);
                    _places[node.Id] = new Place(whole.Tensor, whole.Start + columns.Start, columns.Count, whole.Whole && columns.Count == graph[node.Inputs[0]].Type.Columns);
                    break;
                default:
                    if (!map.IsAnchor(node.Id) && !map.IsStored(node.Id)) break;
                    _places[node.Id] = new Place(Declare(node, node.Type.IsRowScalar && node.Type.Heads == 0 && node.Op is not (AttentionLse or AttentionDelta) ? Array.Empty<Extent>() : new Extent[] { node.Type.Columns }), 0, node.Type.Columns, true);
                    break;
            }
        }
    }

    public View View(int id)
    {
        var place = Of(id);
        return place.Whole ? new View(place.Tensor) : new View(place.Tensor, null, new ExtentRange(place.Start, place.Start + place.Count));
    }

    public string Tensor(int id) => Of(id).Tensor;

    Place Of(int id) => _places.TryGetValue(id, out var place) ? place : throw new InvalidOperationException("placement: " + GraphText.Line(_graph, _graph[id]) + " is read but has no place");

    /// <summary>Walks back through views and in-place ops to the value's producer and gives the whole chain the consumer's rectangle.</summary>
    void Force(int id, Place place)
    {
        while (true)
        {
            if (_places.TryGetValue(id, out var other) && other != place)
                throw new ShapeError("layout: " + _graph[id].Name + " (" + _graph[id].Scope + ") would have to lie in two places, " + other.Tensor + " and " + place.Tensor + "; in the model, give one of its readers, or one of the outputs whose gradient it is, a copy: x * 1.0");
            _places[id] = place;
            if (_graph[id].Op is not (Heads or Rope)) break;
            id = _graph[id].Inputs[0];
        }
        if (!_map.IsStored(id) && !_map.IsAnchor(id))
            throw new ShapeError("layout: " + _graph[id].Name + " (" + _graph[id].Scope + ") is read by a linear but no kernel writes it");
    }

    static Extent Rank(LinearFamily family, int columns) => new(columns, family.HasAdapters ? family.Id : -1);

    string Declare(Node node, Extent[] dims)
    {
        var backward = _map.FromLoss(node.Id);
        // Depth orders names with the same text inside one layer: the first sum of a layer is "sum", the next "sum2".
        var name = Unique((node.Layer >= 0 ? "layers." + node.Layer + "." : "") + node.Name);
        var type = node.Type.DType == DType.F32 ? ElementType.F32 : ElementType.Act;
        Add(new ScheduleTensor(name, backward ? TensorKind.Gradient : TensorKind.Activation, type, true, dims, node.Layer));
        return name;
    }

    void Fixed(Node node, string name, TensorKind kind, ElementType type)
    {
        if (!_tensors.ContainsKey(name))
            Add(new ScheduleTensor(name, kind, type, node.Type.IsPerToken, node.Type.Shape.Skip(node.Type.IsPerToken ? 1 : 0).Select(d => (Extent)d.Size).ToArray()));
        _places[node.Id] = new Place(name, 0, node.Type.Rank > 0 ? node.Type.Columns : 1, true);
    }

    public void Add(ScheduleTensor tensor)
    {
        _tensors.Add(tensor.Name, tensor);
        _order.Add(tensor.Name);
    }

    string Unique(string name)
    {
        var unique = name;
        for (var i = 2; _tensors.ContainsKey(unique); i++) unique = name + i;
        return unique;
    }
}
