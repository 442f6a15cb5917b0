using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>The launch lists of a run, with addresses.</summary>
/// <param name="MicroBatch">Forward, loss, backward into GradA and GradB.</param>
/// <param name="Evaluation">Forward and loss only.</param>
public sealed record BoundSchedule(IReadOnlyList<BoundLaunch> MicroBatch, IReadOnlyList<BoundLaunch> Evaluation);

/// <summary>Turns planned launches into numbers: addresses, pitches, sizes, costs. Pure; with all bases 0 it serves a plan without a device.</summary>
/// <param name="pairs">Attended pairs of a micro-batch with a window or none, for attention's cost; null: documents of <see cref="PlanOptions.LongestDocument"/>.</param>
public sealed class Binder(ExecutionPlan plan, IReadOnlyDictionary<MemoryBlock, nint> bases, Func<int?, long>? pairs = null)
{
    readonly Func<int?, long> attended = pairs ?? (window => LaunchCost.Pairs(plan.Shapes.Tokens, plan.LongestDocument, window));

    public static BoundSchedule Bind(ExecutionPlan plan, IReadOnlyDictionary<MemoryBlock, nint> bases)
    {
        var binder = new Binder(plan, bases);
        return new BoundSchedule(binder.Bind(plan.MicroBatch), binder.Bind(plan.Evaluation));
    }

    public IReadOnlyList<BoundLaunch> Bind(PlannedProgram program)
    {
        var launches = new LaunchBinder(plan.Shapes, plan.Options.LoraScale, plan.LogitsRows, attended);
        var partners = RankGradients.Pairs(plan.Shapes, program.Launches);
        var moved = partners.Values.ToHashSet();
        var bound = new List<BoundLaunch>();
        for (var at = 0; at < program.Launches.Count; at++)
        {
            // A product that its reader takes along, and G, which runs in dB's place: all that it reads still is there, dY is read by both and the group's matrix is permanent.
            if (moved.Contains(at) || GemmEpilogues.IsPair(plan.Shapes, program.Launches, at + 1)) continue;
            if (partners.TryGetValue(at, out var g)) bound.Add(RankGradients.Bind(plan.Shapes, Product(g, at), Product(at, at), (GemmLaunch)program.Launches[at]));
            else if (GemmEpilogues.IsPair(plan.Shapes, program.Launches, at))
            {
                var product = (GemmLaunch)program.Launches[at - 1];
                bound.Add(GemmEpilogues.Bind(plan.Shapes, product, (KernelLaunch)program.Launches[at], Product(at - 1, at - 1), (BoundKernel)One(at, at), program.IsNeededAfter(product.D.Tensor, at)));
            }
            else if (Reader(at) is { } dq)
                bound.Add(ScoreGradients.Bind(plan.Shapes, dq, (BoundKernel)One(at, at), Address(program, ScoreGradients.Scratch, at), plan.LongestDocument, attended(dq.Window)));
            else bound.AddRange(launches.Bind(program.Launches[at], tensor => Address(program, tensor, at)));
        }
        return bound;

        // Launch i with its tensors where launch `at` sees them.
        BoundLaunch One(int i, int at) => launches.Bind(program.Launches[i], tensor => Address(program, tensor, at)).Single();
        BoundGemm Product(int i, int at) => (BoundGemm)One(i, at);

        // dq's launch, of a launch that keeps dS or starts from it.
        KernelLaunch? Reader(int at) => !program.Has(ScoreGradients.Scratch, at) ? null : (KernelLaunch)program.Launches[ScoreGradients.IsPair(program.Launches, at) ? at : at + 1];
    }

    /// <summary>Address of a permanent tensor.</summary>
    public nint Address(string tensor) => Base(plan.Memory.Permanent[tensor]);

    /// <summary>Address of a tensor's first element as launch <paramref name="at"/> of a program sees it.</summary>
    public nint Address(PlannedProgram program, string tensor, int at) =>
        plan.Memory.Permanent.TryGetValue(tensor, out var location) ? Base(location) : Base(new Location(MemoryBlock.Arena, program.OffsetOf(tensor, at)));

    public nint Base(Location location) => bases.GetValueOrDefault(location.Block) + (nint)location.Offset;
}
