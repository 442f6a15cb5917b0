using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;

namespace Graph.Oracle.Tests;

/// <summary>Runs a graph in fp64 by its ops' own references, and derives backward graphs by their adjoints.</summary>
static class GraphEvaluator
{
    /// <summary>Values of all nodes, by id; <paramref name="leaves"/> has the values of nodes that no op computes.</summary>
    public static double[][] Run(IReadOnlyList<Node> nodes, ReferenceSizes sizes, IReadOnlyDictionary<int, double[]> leaves)
    {
        var values = new double[nodes.Count][];
        foreach (var node in nodes)
        {
            values[node.Id] = leaves.TryGetValue(node.Id, out var given)
                ? given
                : node.Op.Reference(sizes, node.Inputs.Select(i => nodes[i].Type).ToArray(), node.Inputs.Select(i => values[i]).ToArray());
        }
        return values;
    }

    /// <summary>
    /// Reverse mode over everything appended so far: gradients of <paramref name="wanted"/> leaves, given that of <paramref name="y"/>.
    /// Only paths from wanted leaves are walked, as some ops (a broadcast vector, an embedding) have no gradient.
    /// </summary>
    public static int[] Backward(GraphBuilder g, int y, int dy, IReadOnlyList<int> wanted)
    {
        var nodes = Enumerable.Range(0, y + 1).Select(i => g[i]).ToArray();
        var active = new bool[nodes.Length];
        foreach (var node in nodes) active[node.Id] = wanted.Contains(node.Id) || node.Inputs.Any(i => active[i]);
        var gradients = new int?[nodes.Length];
        gradients[y] = dy;
        foreach (var node in nodes.Reverse().Where(n => active[n.Id] && n.Inputs.Count > 0 && gradients[n.Id] is not null))
        {
            var adjoints = node.Op.Adjoint(g, node, gradients[node.Id]!.Value, node.Inputs.Select(i => active[i]).ToArray());
            for (var i = 0; i < adjoints.Length; i++)
            {
                var input = node.Inputs[i];
                if (adjoints[i] is { } adjoint && active[input]) gradients[input] = gradients[input] is { } sum ? g.Add(sum, adjoint) : adjoint;
            }
        }
        return wanted.Select(w => gradients[w]!.Value).ToArray();
    }
}
