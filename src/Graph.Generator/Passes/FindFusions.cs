using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 12: neighbours that a device may run as one launch, found once and named in the schedule. Whether it does is the device's choice; the two launches stay what
/// they are.
/// </summary>
public static class FindFusions
{
    public static IReadOnlyList<(Step First, Step Second)> RankGradients(KernelGraph graph)
    {
        var stacks = Stacks(graph.Tensors);
        return graph.Neighbours().Where(n => n.First is GemmStep g && n.Second is GemmStep d && IsRankPair(stacks, g, d)).ToArray();
    }

    /// <summary>dk, dv and dq of one attention: all that dq reads, the other one reads too.</summary>
    public static IReadOnlyList<(Step First, Step Second)> ScoreGradients(KernelGraph graph) => graph.Neighbours().Where(n =>
        n.First is KernelStep { Body: AttentionBody { Part: AttentionPart.Dkdv } dkdv } first && n.Second is KernelStep { Body: AttentionBody { Part: AttentionPart.Dq } dq } second
        && dkdv with { Part = AttentionPart.Dq } == dq && Read(second).SequenceEqual(Read(first).Take(second.Arguments.Count - second.Outputs))).ToArray();

    /// <summary>G = s·dY·B, then dB += dYᵀ·S of the same adapters. (dX = G·A and dA += Gᵀ·x have the same layouts, but read G, which has no blocks.)</summary>
    internal static bool IsRankPair(IReadOnlyDictionary<string, (TensorKind Kind, int Stack)> stacks, GemmStep g, GemmStep gradient) =>
        g is { Layout: GemmLayout.Nn, Accumulate: false, Segments.Count: 1 } && gradient is { Layout: GemmLayout.Tn, Accumulate: true, Segments.Count: 1 }
        && gradient.Segments[0].A == g.Segments[0].A
        && stacks.TryGetValue(g.Segments[0].B.Tensor, out var b) && b.Kind == TensorKind.AdapterB && stacks[gradient.D.Tensor] == (TensorKind.GradB, b.Stack);

    /// <summary>What belongs to a set of adapters: kind and set of a tensor by its name.</summary>
    internal static IReadOnlyDictionary<string, (TensorKind Kind, int Stack)> Stacks(IEnumerable<ScheduleTensor> tensors) =>
        tensors.Where(t => t.Stack >= 0).ToDictionary(t => t.Name, t => (t.Kind, t.Stack));

    static IEnumerable<View> Read(KernelStep step) => step.Arguments.Skip(step.Outputs);
}
