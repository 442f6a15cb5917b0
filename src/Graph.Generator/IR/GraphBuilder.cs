using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>
/// Appends nodes and infers their types. Passes read one graph and build the next one through it; equal nodes (same op, same inputs) become one,
/// which is all the common-subexpression elimination there is.
/// </summary>
public sealed class GraphBuilder
{
    readonly List<Node> _nodes = new();
    readonly Dictionary<(Op, EquatableArray<int>), int> _known = new();

    /// <summary>Scope given to new nodes.</summary>
    public string Scope { get; set; } = "";

    /// <summary>The traced op that new nodes are made of; -1: unknown.</summary>
    public int Origin { get; set; } = -1;
    /// <summary>New nodes come from where this one does.</summary>
    public void At(Node node) => (Scope, Origin) = (node.Scope, node.Origin);

    public int Count => _nodes.Count;
    public Node this[int id] => _nodes[id];
    public TensorType Type(int id) => _nodes[id].Type;

    public int Add(Op op, params int[] inputs) => Named(null, op, inputs);

    /// <summary>As Add, with a name for people; null: the op's.</summary>
    public int Named(string? name, Op op, params int[] inputs)
    {
        if (_known.TryGetValue((op, inputs), out var known)) return known;
        var type = op.Infer(inputs.Select(i => _nodes[i].Type).ToArray());
        _nodes.Add(new Node(_nodes.Count, op, inputs, type, Scope, name ?? op.Name, Origin));
        _known.Add((op, inputs), _nodes.Count - 1);
        return _nodes.Count - 1;
    }

    public void Rename(int id, string name) => _nodes[id] = _nodes[id] with { Name = name };

    public TensorGraph Build(IEnumerable<int> outputs, int firstBackward) => new(_nodes.ToArray(), outputs.ToArray(), firstBackward);

    /// <summary>
    /// Copies the nodes that the outputs need; <paramref name="rewrite"/> may return another value for a node (given its new inputs), or null to copy it.
    /// </summary>
    public static TensorGraph Rewrite(TensorGraph graph, Func<GraphBuilder, Node, int[], int?> rewrite)
    {
        var live = new bool[graph.Nodes.Count];
        foreach (var output in graph.Outputs) live[output] = true;
        for (var id = graph.Nodes.Count - 1; id >= 0; id--)
            if (live[id])
                foreach (var input in graph[id].Inputs) live[input] = true;
        var builder = new GraphBuilder();
        var map = new int[graph.Nodes.Count];
        int firstBackward = -1;
        foreach (var node in graph.Nodes)
        {
            if (node.Id == graph.FirstBackward) firstBackward = builder.Count;
            if (!live[node.Id]) continue;
            builder.At(node);
            var inputs = node.Inputs.Select(i => map[i]).ToArray();
            map[node.Id] = rewrite(builder, node, inputs) ?? builder.Named(node.Name, node.Op, inputs);
        }
        return builder.Build(graph.Outputs.Select(o => map[o]), firstBackward < 0 ? builder.Count : firstBackward);
    }
}
