using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>
/// Sums as lists of terms: a + b + c is one sum of three, whatever the order of its additions. An inner sum is part of the outer one when nothing else reads it
/// and both have one type; addition commutes, so passes may give the terms another order.
/// </summary>
public sealed class Sums
{
    readonly TensorGraph _graph;
    readonly int[] _uses;

    public Sums(TensorGraph graph)
    {
        _graph = graph;
        _uses = new int[graph.Nodes.Count];
        foreach (var input in graph.Nodes.SelectMany(n => n.Inputs)) _uses[input]++;
        foreach (var output in graph.Outputs) _uses[output]++;
        Inner = new bool[graph.Nodes.Count];
        foreach (var node in graph.Nodes.Where(IsSum))
            foreach (var input in node.Inputs.Where(i => UsedOnce(i) && IsSum(graph[i]) && graph[i].Type.Equals(node.Type)))
                Inner[input] = true;
    }

    /// <summary>Sums that are part of a larger one.</summary>
    public bool[] Inner { get; }

    /// <summary>One input slot of one node reads the value, and it is no output.</summary>
    public bool UsedOnce(int id) => _uses[id] == 1;

    /// <summary>The terms of the sum with this head, in order; of any other node, the node itself.</summary>
    public IReadOnlyList<int> Terms(int head)
    {
        var terms = new List<int>();
        void Collect(int id)
        {
            if (id == head ? IsSum(_graph[id]) : Inner[id]) foreach (var input in _graph[id].Inputs) Collect(input);
            else terms.Add(id);
        }
        Collect(head);
        return terms;
    }

    static bool IsSum(Node node) => node.Op is Binary { Kind: BinaryKind.Add } && node.Type.IsPerToken;
}
