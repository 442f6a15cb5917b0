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
        var bound = new List<BoundLaunch>();
        var from = 0;
        foreach (var run in program.Tiled)
        {
            bound.AddRange(Bind(program, plan.Shapes, from, run.First));
            for (var token = 0; token < plan.Shapes.Tokens; token += run.Tokens)
                bound.AddRange(Bind(program, plan.Shapes.Window(token, Math.Min(run.Tokens, plan.Shapes.Tokens - token)), run.First, run.Last + 1, run));
            from = run.Last + 1;
        }
        bound.AddRange(Bind(program, plan.Shapes, from, program.Launches.Count));
        return bound;
    }

    // Some launches of a program, on the tokens of a window.
    List<BoundLaunch> Bind(PlannedProgram program, Shapes shapes, int first, int end, TiledRun? tiled = null)
    {
        var launches = new LaunchBinder(shapes, plan.Options.LoraScale, plan.LogitsRows, attended, plan.Options.TokenUnit) { Drops = !ReferenceEquals(program, plan.Evaluation) };
        var bound = new List<BoundLaunch>();
        for (var at = first; at < end; at++)
        {
            if (program.Launches[at] is TransferStart or TransferWait)
            {
                if (tiled is not { } run || IsHere(run, at)) bound.Add(Transfer(program.Launches[at], at));
                continue;
            }
            switch (shapes.FusionAt(program.Launches, at + 1))
            {
                case EpilogueFusion epilogue:
                    var (product, row) = ((GemmLaunch)program.Launches[at], (KernelLaunch)program.Launches[at + 1]);
                    bound.Add(GemmEpilogues.Bind(shapes, epilogue, product, row, (BoundGemm)One(at), (BoundKernel)One(at + 1), program.IsNeededAfter(product.D.Tensor, at + 1)));
                    at++;
                    break;
                case RankGradientsFusion:
                    bound.Add(RankGradients.Bind(shapes, (BoundGemm)One(at), (BoundGemm)One(at + 1), (GemmLaunch)program.Launches[at + 1]));
                    at++;
                    break;
                case ScoreGradientsFusion scores when program.Has(ScoreGradients.Scratch, at):
                    bound.Add(Keeping(scores, at));
                    bound.Add(Keeping(scores, ++at));
                    break;
                default:
                    bound.AddRange(launches.Bind(program.Launches[at], tensor => Address(tensor, at)));
                    break;
            }
        }
        return bound;

        BoundLaunch One(int at) => launches.Bind(program.Launches[at], tensor => Address(tensor, at)).Single();

        // Of a tensor that has a tile's rows: where its first row would be.
        nint Address(string tensor, int at) =>
            this.Address(program, tensor, at) - (!plan.Memory.Permanent.ContainsKey(tensor) && program.PlaceOf(tensor, at).Lifetime.PerTile
            ? (nint)(shapes.FirstToken * shapes.BytesPerToken(tensor)) : 0);

        // A run's copies are copies of all its tiles: each stands in one of them.
        bool IsHere(TiledRun run, int at) =>
            Transfers.InFirstTile(plan.Shapes, program.Launches, run, at) ? shapes.FirstToken == 0 : shapes.FirstToken + shapes.Tokens == plan.Shapes.Tokens;

        BoundLaunch Transfer(Launch launch, int at)
        {
            if (launch is TransferWait wait) return new BoundTransferWait(wait.Start.Tensor, wait.Layer, wait.Start.Number);
            var start = (TransferStart)launch;
            var resting = plan.Memory.Permanent.TryGetValue(start.Tensor, out var place) ? place.Offset : plan.Memory.StreamedBytes + program.HostOffsetOf(start.Tensor, at);
            nint host = Base(new Location(MemoryBlock.Host, resting)), arena = this.Address(program, start.Tensor, at);
            var (destination, source) = start.Lane == Lane.ToHost ? (host, arena) : (arena, host);
            return new BoundTransferStart(start.Tensor, start.Layer, start.Lane, start.Number, destination, source, plan.Shapes[start.Tensor].Bytes);
        }

        BoundKernel Keeping(ScoreGradientsFusion scores, int at)
        {
            var launch = (KernelLaunch)program.Launches[at];
            return ScoreGradients.Bind(shapes, scores, launch, (BoundKernel)One(at), Address(ScoreGradients.Scratch, at), plan.LongestDocument,
                attended(launch.Attention!.Window));
        }
    }

    /// <summary>Address of a permanent tensor; of a streamed weight that on the host.</summary>
    public nint Address(string tensor) => Base(plan.Memory.Permanent[tensor]);

    /// <summary>Address of a tensor's first element as launch <paramref name="at"/> of a program sees it.</summary>
    public nint Address(PlannedProgram program, string tensor, int at) =>
        plan.Memory.Permanent.TryGetValue(tensor, out var location) && location.Block != MemoryBlock.Host
            ? Base(location)
            : Base(new Location(MemoryBlock.Arena, program.OffsetOf(tensor, at)));

    public nint Base(Location location) => bases.GetValueOrDefault(location.Block) + (nint)location.Offset;
}
