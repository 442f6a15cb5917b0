using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Oracle.Tests;

/// <summary>Adapters as a graph's stacks have them, all of one rank.</summary>
static class Stacks
{
    /// <summary>A under each other; B of every adapter in its own rows and ranks, zero elsewhere.</summary>
    public static double[] Value(AdapterStack stack, int rank, Func<string, double[]> adapter)
    {
        var set = stack.Set;
        if (stack.IsA) return set.Adapters.SelectMany(a => adapter(a.Name)).ToArray();
        var ranks = set.Adapters.Count * rank;
        var values = new double[set.Out * ranks];
        for (var i = 0; i < set.Adapters.Count; i++)
            for (var (n, b) = (0, adapter(set.Adapters[i].Name)); n < set.Adapters[i].Out; n++)
                Array.Copy(b, n * rank, values, (set.Adapters[i].OutStart + n) * ranks + i * rank, rank);
        return values;
    }

    /// <summary>Every adapter's gradient; one that several products read has as many terms.</summary>
    public static IReadOnlyDictionary<(string Name, bool IsA), double[]> Gradients(TensorGraph graph, double[][] values, int rank)
    {
        var gradients = new Dictionary<(string, bool), double[]>();
        foreach (var output in graph.Outputs.Skip(1))
        {
            var of = ((AdapterGradient)graph[output].Op).Of;
            foreach (var (name, term) in Parts(of, values[output], rank))
                gradients[(name, of.IsA)] = gradients.TryGetValue((name, of.IsA), out var sum) ? sum.Zip(term, (a, b) => a + b).ToArray() : term;
        }
        return gradients;
    }

    // What is beside B's diagonal is no gradient.
    static IEnumerable<(string Name, double[] Gradient)> Parts(AdapterStack of, double[] values, int rank)
    {
        var (set, ranks) = (of.Set, of.Set.Adapters.Count * rank);
        for (var i = 0; i < set.Adapters.Count; i++)
        {
            var (adapter, first) = (set.Adapters[i], i * rank);
            yield return (adapter.Name, of.IsA
                ? values[(first * set.In)..((first + rank) * set.In)]
                : Enumerable.Range(adapter.OutStart, adapter.Out).SelectMany(n => values[(n * ranks + first)..(n * ranks + first + rank)]).ToArray());
        }
    }
}
