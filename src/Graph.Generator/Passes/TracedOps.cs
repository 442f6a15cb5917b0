using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>
/// Which of the model's ops a row kernel does, by the origin of its nodes: the primitives of one rms_norm are "RMSNorm norm" again. An op of the forward that a
/// backward kernel computes once more is "recomputed", and sums of gradients that come from several readers are an op of their own.
/// </summary>
public sealed class TracedOps
{
    enum Part { Forward, Recomputed, Gradient, Sum }

    /// <summary>Nodes of one kernel that are one op.</summary>
    sealed record Item(Part Part, int Origin, List<int> Nodes);

    readonly TensorGraph _graph, _imported;
    readonly Dictionary<int, Node> _traced;
    readonly Node _loss;

    /// <param name="imported">The graph whose nodes are the traced ops.</param>
    public TracedOps(TensorGraph graph, TensorGraph imported)
    {
        (_graph, _imported) = (graph, imported);
        _loss = imported[imported.Outputs[0]];
        _traced = imported.Nodes.Where(n => n.Origin >= 0 && n.Op is not CrossEntropy).GroupBy(n => n.Origin).ToDictionary(n => n.Key, n => n.Last());
    }

    /// <summary>A launch that is one op, or one of its gradients.</summary>
    public FusedOps Fused(Node node) => FusedOps.OfLines(
        node.Op is LinearCrossEntropy ? GraphText.Line(_imported, _loss)
        : !_traced.TryGetValue(node.Origin, out var traced) ? node.Name + " : " + node.Type
        : (node.Id < _graph.FirstBackward ? "" : "gradient of ") + GraphText.Line(_imported, traced));

    /// <param name="members">The nodes that the kernel computes, in order.</param>
    /// <param name="outputs">Those of them that it stores.</param>
    public FusedOps Fused(IReadOnlyList<int> members, IReadOnlyList<int> outputs)
    {
        var itemOf = Items(members);
        var reads = new Dictionary<Item, HashSet<int>>();
        // The last terms of a sum first: what one op adds to it in several terms, a kernel of its own would store as one.
        foreach (var id in members.Reverse())
        {
            if (!reads.TryGetValue(itemOf[id], out var read)) reads[itemOf[id]] = read = new HashSet<int>();
            foreach (var input in _graph[id].Inputs) Read(itemOf, itemOf[id], input, read);
        }
        var stored = new HashSet<int>(outputs);
        // What a gradient alone computes again of its own op is a part of it.
        bool IsRead(int id) => reads.Any(r => r.Key != itemOf[id] && r.Value.Contains(id));
        foreach (var item in reads.Keys.Where(i => i.Part == Part.Recomputed && !i.Nodes.Any(n => stored.Contains(n) || IsRead(n))).ToArray()) reads.Remove(item);
        var passed = new HashSet<int>(members.Where(IsRead));
        var items = itemOf.Values.Distinct().Where(reads.ContainsKey).OrderBy(i => i.Nodes[0]).ToArray();
        return new FusedOps(
            items.Select(Words).ToArray(),
            Kept(passed.Where(id => !stored.Contains(id)).OrderBy(id => id).Select(id => _graph[id].Name).ToArray(), outputs),
            items.SelectMany(i => reads[i]).Concat(members.Where(id => stored.Contains(id) || passed.Contains(id))).Select(Size)
                .Concat(items.SelectMany(i => i.Nodes).Where(id => _graph[id].Op is Embedding).Select(Size)).Aggregate(default(Traffic), (a, b) => a + b),
            items.Select(Line).ToArray());
    }

    string Kept(string[] names, IReadOnlyList<int> outputs)
    {
        var clear = names.Length < 3 && names.Distinct().Count() == names.Length && !names.Intersect(outputs.Select(id => _graph[id].Name)).Any();
        var values = clear ? string.Join(" and ", names) : names.Length == 1 ? "what passes between them" : NumberText.Int(names.Length) + " values between them";
        return names.Length == 0 ? "" : values + (names.Length == 1 ? " stays" : " stay") + " in registers";
    }

    /// <summary>What a kernel of the item would load. What it computes again of its own op it computes from that op's inputs.</summary>
    void Read(Dictionary<int, Item> itemOf, Item item, int id, HashSet<int> reads)
    {
        if (!itemOf.TryGetValue(id, out var from)) reads.Add(id);
        else if (item.Part == Part.Gradient && from.Part == Part.Recomputed && from.Origin == item.Origin)
            foreach (var input in _graph[id].Inputs) Read(itemOf, item, input, reads);
        else if (from != item && !(item.Part == Part.Sum && from.Nodes.Any(reads.Contains))) reads.Add(id);
    }

    Dictionary<int, Item> Items(IReadOnlyList<int> members)
    {
        var known = new Dictionary<(Part, int), Item>();
        var itemOf = new Dictionary<int, Item>();
        var backward = members.Any(id => id >= _graph.FirstBackward);
        foreach (var id in members)
        {
            var (node, part) = (_graph[id], backward ? Part.Recomputed : Part.Forward);
            var sum = node.Op is Binary { Kind: BinaryKind.Add } ? node.Inputs.Where(itemOf.ContainsKey).Select(i => itemOf[i]).FirstOrDefault(i => i.Part == Part.Sum) : null;
            if (id >= _graph.FirstBackward) part = sum is not null || IsSumOfGradients(node) ? Part.Sum : Part.Gradient;
            // One sum of all its terms; a node that no traced op stands for is one by itself.
            var key = part == Part.Sum ? sum?.Origin ?? id
                : node.Op is Copy || !_traced.ContainsKey(node.Origin) ? -1 - id : node.Origin;
            if (!known.TryGetValue((part, key), out var item)) known[(part, key)] = item = new Item(part, key, new List<int>());
            item.Nodes.Add(id);
            itemOf[id] = item;
        }
        return itemOf;
    }

    /// <summary>A sum that no op's derivative has: its terms come from different ops, or from outside.</summary>
    bool IsSumOfGradients(Node node) =>
        node.Op is Binary { Kind: BinaryKind.Add } && (_graph[node.Inputs[0]].Origin != _graph[node.Inputs[1]].Origin || node.Inputs.All(i => _graph[i].Op is Product));

    Traffic Size(int id)
    {
        var type = _graph[id].Type;
        if (!type.IsPerToken) return default;
        if (type.Rank == 1) return new Traffic(0, 1);
        return type.IsRowScalar ? new Traffic(0, type.Columns) : new Traffic(type.IsRankRow ? 1 : type.Columns, 0);
    }

    string Words(Item item) => item.Part switch
    {
        _ when item.Origin < 0 => _graph[item.Nodes[0]].Op is Copy ? "copy of " + _graph[item.Nodes[0]].Name : _graph[item.Nodes[0]].Name,
        Part.Forward => Words(_traced[item.Origin]),
        Part.Recomputed => Words(_traced[item.Origin]) + " recomputed",
        Part.Gradient => "gradient of " + Words(_traced[item.Origin]),
        Part.Sum => "sum of gradients",
        _ => throw new System.InvalidOperationException("fuse: unknown part " + item.Part),
    };

    string Words(Node node) => node.Op switch
    {
        RmsNorm => "RMSNorm " + node.Name,
        LayerNorm => "LayerNorm " + node.Name,
        Embedding => "embedding " + _imported[node.Inputs[1]].Name,
        GeluTanh => "GELU (tanh)",
        Gelu => "GELU",
        Silu => "SiLU",
        RowMean => "row mean",
        MatMul => "linear " + node.Name,
        Binary binary => Words(binary.Kind, node),
        _ => node.Op.Name,
    };

    string Words(BinaryKind kind, Node node)
    {
        var noun = kind switch
        {
            BinaryKind.Add => "sum",
            BinaryKind.Sub => "difference",
            BinaryKind.Mul => "product",
            BinaryKind.Div => "quotient",
            _ => throw Expr.Unknown(kind),
        };
        var other = node.Inputs.Select(i => _imported[i]).FirstOrDefault(i => !i.Type.IsPerToken);
        if (other is { Op: Const or TypedConst }) return noun + " with a number";
        if (other is not null) return noun + " with " + other.Name;
        return node.Name switch { "residual" => "residual sum", "geglu" => "product (GeGLU)", "swiglu" => "product (SwiGLU)", _ => noun };
    }

    string Line(Item item) => item.Part switch
    {
        _ when item.Part == Part.Sum || item.Origin < 0 => Words(item) + ": " + _graph[item.Nodes[item.Nodes.Count - 1]].Name + " : " + _graph[item.Nodes[0]].Type,
        Part.Forward => GraphText.Line(_imported, _traced[item.Origin]),
        Part.Recomputed => "recomputed: " + GraphText.Line(_imported, _traced[item.Origin]),
        Part.Gradient => "gradient of " + GraphText.Line(_imported, _traced[item.Origin]),
        _ => throw new System.InvalidOperationException("fuse: unknown part " + item.Part),
    };
}
