using System;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>Checks a graph after every pass: ids in order, inputs before readers, types as inferred, outputs present. A failure is the pass's fault, never the user's.</summary>
public static class Verify
{
    /// <exception cref="InvalidOperationException">The graph is not well-formed; the message has the pass and the node.</exception>
    public static void Check(TensorGraph graph, string stage)
    {
        for (var id = 0; id < graph.Nodes.Count; id++)
        {
            var node = graph[id];
            if (node.Id != id) throw Fault(node, "has id " + node.Id + " at place " + id);
            if (node.Inputs.Any(i => i < 0 || i >= id)) throw Fault(node, "reads a node that does not precede it");
            var type = node.Op.Infer(node.Inputs.Select(i => graph[i].Type).ToArray());
            if (!type.Equals(node.Type)) throw Fault(node, "has type " + node.Type + " but infers " + type);
        }
        if (graph.Outputs.Count == 0 || graph.Outputs.Any(o => o < 0 || o >= graph.Nodes.Count)) throw new InvalidOperationException(stage + ": an output is not a node");

        InvalidOperationException Fault(Node node, string what) => new(stage + ": " + GraphText.Line(graph, node) + " " + what);
    }
}
