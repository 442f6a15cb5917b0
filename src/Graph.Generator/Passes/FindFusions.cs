using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// Two steps that one kernel can do; Second null: the product of the logits with the sums that its loss starts from, and FromSums, what is then left of the
/// loss.
/// </summary>
/// <param name="Places">Where the second step's arguments are the product (<see cref="EpilogueFusion"/>).</param>
public sealed record FusedSteps(Step First, Step? Second, string Kernel, EquatableArray<int> Places, string FromSums);

/// <summary>
/// 12: neighbours that a device may run as one launch, found once and named in the schedule. Whether it does is the device's choice; the two launches stay what
/// they are.
/// </summary>
public static class FindFusions
{
    public static IReadOnlyList<(Step First, Step Second)> RankGradients(KernelGraph graph)
    {
        var stacks = Stacks(graph.Tensors);
        return Neighbours(graph).Where(n => n.First is GemmStep g && n.Second is GemmStep d && IsRankPair(stacks, g, d)).ToArray();
    }

    /// <summary>dk, dv and dq of one attention: all that dq reads, the other one reads too.</summary>
    public static IReadOnlyList<(Step First, Step Second)> ScoreGradients(KernelGraph graph) => Neighbours(graph).Where(n =>
        n.First is KernelStep { Body: AttentionBody { Part: AttentionPart.Dkdv } dkdv } first && n.Second is KernelStep { Body: AttentionBody { Part: AttentionPart.Dq } dq } second
        && dkdv with { Part = AttentionPart.Dq } == dq && Read(second).SequenceEqual(Read(first).Take(second.Arguments.Count - second.Outputs))).ToArray();

    /// <summary>G = s·dY·B, then dB += dYᵀ·S of the same adapters. (dX = G·A and dA += Gᵀ·x have the same layouts, but read G, which has no blocks.)</summary>
    internal static bool IsRankPair(IReadOnlyDictionary<string, (TensorKind Kind, int Stack)> stacks, GemmStep g, GemmStep gradient) =>
        g is { Layout: GemmLayout.Nn, Accumulate: false, Segments.Count: 1 } && gradient is { Layout: GemmLayout.Tn, Accumulate: true, Segments.Count: 1 } && gradient.Segments[0].A == g.Segments[0].A
        && stacks.TryGetValue(g.Segments[0].B.Tensor, out var b) && b.Kind == TensorKind.AdapterB && stacks[gradient.D.Tensor] == (TensorKind.GradB, b.Stack);

    /// <summary>What belongs to a set of adapters: kind and set of a tensor by its name.</summary>
    internal static IReadOnlyDictionary<string, (TensorKind Kind, int Stack)> Stacks(IEnumerable<ScheduleTensor> tensors) => tensors.Where(t => t.Stack >= 0).ToDictionary(t => t.Name, t => (t.Kind, t.Stack));

    internal static IEnumerable<(Step First, Step Second)> Neighbours(KernelGraph graph) => graph.Steps.Zip(graph.Steps.Skip(1), (a, b) => (a, b));

    static IEnumerable<View> Read(KernelStep step) => step.Arguments.Skip(step.Outputs);
}
