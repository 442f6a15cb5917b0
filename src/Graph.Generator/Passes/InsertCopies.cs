using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>
/// 09: makes every claim on memory one that can be met. RoPE turns its input in place, so nothing else may read that input; the inputs of a Concat are written
/// straight into its column ranges, so each needs a writer of its own. Where that does not hold a copy is inserted: an identity that a row kernel stores.
/// </summary>
public static class InsertCopies
{
    public static TensorGraph Run(TensorGraph graph)
    {
        var readers = graph.Readers();
        var outputs = new HashSet<int>(graph.Outputs);
        var g = new GraphBuilder();
        var map = new int[graph.Nodes.Count];
        var claimed = new HashSet<int>();
        var copies = 0;
        var firstBackward = -1;
        foreach (var node in graph.Nodes)
        {
            if (node.Id == graph.FirstBackward) firstBackward = g.Count;
            g.At(node);
            var inputs = node.Inputs.Select(i => map[i]).ToArray();
            if (node.Op is Rope && !IsOwn(node.Inputs[0])) inputs[0] = Copy(node.Inputs[0]);
            if (node.Op is Concat)
                for (var i = 0; i < inputs.Length; i++)
                    if (!Claim(node.Inputs[i])) inputs[i] = Copy(node.Inputs[i]);
            map[node.Id] = g.Named(node.Name, node.Op, inputs);
        }
        return g.Build(graph.Outputs.Select(o => map[o]), firstBackward < 0 ? g.Count : firstBackward);

        int Copy(int id) => g.Named(graph[id].Name, new Copy(copies++), map[id]);

        // Read by this node alone, and so are the views of it up to the value that a launch writes.
        bool IsOwn(int id)
        {
            for (; ; id = graph[id].Inputs[0])
            {
                if (readers[id].Count != 1 || outputs.Contains(id)) return false;
                if (graph[id].Op is Columns) return readers[graph[id].Inputs[0]].All(r => graph[r].Op is Columns);
                if (graph[id].Op is not Heads) return IsWritten(id);
            }
        }

        // The memory of a value, of its views and of what turned it in place goes to one Concat at most.
        bool Claim(int id)
        {
            var chain = new List<int>();
            for (; ; id = graph[id].Inputs[0])
            {
                if (claimed.Contains(id)) return false;
                chain.Add(id);
                if (graph[id].Op is Heads || graph[id].Op is Rope && IsOwn(graph[id].Inputs[0])) continue;
                if (graph[id].Op is not Rope && !IsWritten(id)) return false;
                break;
            }
            claimed.UnionWith(chain);
            return true;
        }

        // A launch writes it, wherever it is told to.
        bool IsWritten(int id) => graph[id].Op is not (Leaf or Const or TypedConst or Columns or Concat or Heads) && graph[id].Type.IsPerToken;
    }
}
