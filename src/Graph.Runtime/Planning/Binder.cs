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
        var bound = new List<BoundLaunch>();
        for (var at = 0; at < program.Launches.Count; at++)
        {
            switch (plan.Shapes.FusionAt(program.Launches, at + 1))
            {
                case EpilogueFusion epilogue:
                    var (product, row) = ((GemmLaunch)program.Launches[at], (KernelLaunch)program.Launches[at + 1]);
                    bound.Add(GemmEpilogues.Bind(plan.Shapes, epilogue, product, row, (BoundGemm)One(at), (BoundKernel)One(at + 1), program.IsNeededAfter(product.D.Tensor, at + 1)));
                    at++;
                    break;
                case RankGradientsFusion:
                    bound.Add(RankGradients.Bind(plan.Shapes, (BoundGemm)One(at), (BoundGemm)One(at + 1), (GemmLaunch)program.Launches[at + 1]));
                    at++;
                    break;
                case ScoreGradientsFusion scores when program.Has(ScoreGradients.Scratch, at):
                    bound.Add(Keeping(scores, at));
                    bound.Add(Keeping(scores, ++at));
                    break;
                default:
                    bound.AddRange(launches.Bind(program.Launches[at], tensor => Address(program, tensor, at)));
                    break;
            }
        }
        return bound;

        BoundLaunch One(int at) => launches.Bind(program.Launches[at], tensor => Address(program, tensor, at)).Single();

        BoundKernel Keeping(ScoreGradientsFusion scores, int at)
        {
            var launch = (KernelLaunch)program.Launches[at];
            return ScoreGradients.Bind(plan.Shapes, scores, launch, (BoundKernel)One(at), Address(program, ScoreGradients.Scratch, at), plan.LongestDocument, attended(launch.Attention!.Window));
        }
    }

    /// <summary>Address of a permanent tensor.</summary>
    public nint Address(string tensor) => Base(plan.Memory.Permanent[tensor]);

    /// <summary>Address of a tensor's first element as launch <paramref name="at"/> of a program sees it.</summary>
    public nint Address(PlannedProgram program, string tensor, int at) =>
        plan.Memory.Permanent.TryGetValue(tensor, out var location) ? Base(location) : Base(new Location(MemoryBlock.Arena, program.OffsetOf(tensor, at)));

    public nint Base(Location location) => bases.GetValueOrDefault(location.Block) + (nint)location.Offset;
}
