using System.Collections.Generic;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>
/// One SSA value: the op that makes it, the ids of its inputs, its type, the model code it comes from ("layers.3.self_attn"), and a name for people
/// ("q_proj", "input_layernorm", "d_up_proj") that becomes the tensor's name in the schedule and the variable's name in CUDA C.
/// Origin: the traced op that it was made of, for the place of an error; -1 where a pass does not say.
/// </summary>
public sealed record Node(int Id, Op Op, EquatableArray<int> Inputs, TensorType Type, string Scope, string Name, int Origin = -1)
{
    /// <summary>The decoder layer in the scope ("layers.3…"), or -1 outside of one.</summary>
    public int Layer => LayerScope.Of(Scope);
}

/// <summary>
/// An SSA list in execution order: a node's inputs have smaller ids. Nodes from <paramref name="FirstBackward"/> on were made by Differentiate.
/// Outputs are what must be computed: the loss rows first, then one gradient per trainable parameter.
/// </summary>
public sealed record TensorGraph(EquatableArray<Node> Nodes, EquatableArray<int> Outputs, int FirstBackward)
{
    public Node this[int id] => Nodes[id];

    /// <summary>Readers of every node, in order.</summary>
    public List<int>[] Readers()
    {
        var readers = Nodes.Select(_ => new List<int>()).ToArray();
        foreach (var node in Nodes)
            foreach (var input in node.Inputs.Distinct())
                readers[input].Add(node.Id);
        return readers;
    }
}
