using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>dS of attention between the kernel of dk and dv and that of dq: where the arena has room for it, and how the two are bound.</summary>
public sealed class ScoreGradientsTests
{
    /// <summary>Where there are bytes for dS beside what is alive, the arena has a place for it, and is no larger.</summary>
    [Theory]
    [InlineData("9b", 2048, "none", 42), InlineData("9b", 8192, "none", 41), InlineData("9b", 2048, "cheap", 42), InlineData("9b", 2048, "full", 42),
     InlineData("9b", 8192, "full", 42)]
    [InlineData("2b", 2048, "none", 26), InlineData("2b", 8192, "none", 26), InlineData("27b", 2048, "cheap", 46), InlineData("27b", 8192, "cheap", 46),
     InlineData("27b", 2048, "full", 46)]
    public void Plan_EightThousandTokens_TheseLayersHaveRoom(string variant, int seq, string recompute, int layers)
    {
        var (plan, bound) = Bound(variant, seq, recompute, 8192);
        Assert.Equal(layers, bound.Count(k => k.ScoreGradients is { } kept && kept.Starts));
        Assert.Equal(layers, bound.Count(k => k.ScoreGradients is { } kept && !kept.Starts));
        Assert.Equal(plan.MicroBatch.Arena.Placements.Where(p => p.Lifetime.Tensor != ScoreGradients.Scratch).Max(p => p.Offset + Arena.Align(p.Lifetime.Bytes)),
            plan.MicroBatch.Arena.Bytes);
        Assert.All(plan.MicroBatch.Arena.Placements, p => Assert.True(p.Offset + p.Lifetime.Bytes <= plan.MicroBatch.Arena.Bytes));
    }

    /// <summary>A gap is one for both launches: nothing that either of them or a tensor alive meanwhile needs lies in it.</summary>
    [Theory]
    [InlineData("9b-2l", 512, "none", 1024, 2), InlineData("9b-2l", 512, "full", 1024, 2), InlineData("9b", 8192, "full", 8192, 42)]
    // What bench/sanitize.sh runs, which so watches these kernels.
    [InlineData("9b-2l", 150, "none", 251, 2), InlineData("27b-2l", 150, "none", 251, 2)]
    public void Plan_ScoreGradients_OverlapNothingAlive(string variant, int seq, string recompute, int tokens, int layers)
    {
        var arena = Bound(variant, seq, recompute, tokens).Plan.MicroBatch.Arena;
        var all = arena.Placements.Where(p => p.Lifetime.Tensor == ScoreGradients.Scratch).ToArray();
        Assert.Equal(layers, all.Length);
        foreach (var kept in all)
            foreach (var other in arena.Placements.Where(p => p != kept && p.Lifetime.First <= kept.Lifetime.Last && kept.Lifetime.First <= p.Lifetime.Last))
                Assert.True(other.Offset + other.Lifetime.Bytes <= kept.Offset || kept.Offset + kept.Lifetime.Bytes <= other.Offset, $"{other} overlaps {kept}");
    }

    /// <summary>The two kernels agree on where dS lies and on its shape; on a device that keeps it dq is one product of three, and dS's visible pairs are bytes of both.</summary>
    [Fact]
    public void Bind_ScoreGradients_BothLaunchesSeeTheSame()
    {
        var kept = Bound("9b", 8192, "none", 8192).Bound.Where(k => k.ScoreGradients is not null).TakeLast(4).ToArray();
        Assert.Equal([KernelKind.AttentionDkdv, KernelKind.AttentionDq, KernelKind.AttentionDkdv, KernelKind.AttentionDq], kept.Select(k => Launch("9b", k.Kernel).Kind));
        Assert.Equal([false, true, false, true], kept.Select(k => k.ScoreGradients!.Value.Starts));
        Assert.Equal(kept[0].ScoreGradients, kept[1].ScoreGradients!.Value with { Starts = false });
        Assert.Equal(kept[2].ScoreGradients, kept[3].ScoreGradients!.Value with { Starts = false });
        // All 128 tiles of 64 keys; a window of 4,096 reaches into 65.
        Assert.Equal((128, 65), (kept[0].ScoreGradients!.Value.Tiles, kept[2].ScoreGradients!.Value.Tiles));
        var pairs = LaunchCost.Pairs(8192, 8192, null);
        Assert.Equal((8 * pairs * 4096, 6 * pairs * 4096, 2 * pairs * 16), (kept[0].Flops, kept[1].Flops, kept[1].ScoreGradients!.Value.Bytes));
        var run = kept.Select(k => ScoreGradients.Keeping(k, k.ScoreGradients!.Value)).ToArray();
        Assert.Equal((8 * pairs * 4096, 2 * pairs * 4096), (run[0].Flops, run[1].Flops));
        var without = Bound("9b", 8192, "none", 8192, keep: false).Bound.Last(k => k.Kernel == kept[1].Kernel);
        Assert.Equal((without.Bytes, without.Bytes + 2 * pairs * 16), (kept[1].Bytes, run[1].Bytes));
    }

    /// <summary>Whatever has adapters, the launches that know of dS are neighbours and know the same; an evaluation, which has no backward, has none.</summary>
    [Theory]
    [InlineData("q_proj"), InlineData("k_proj"), InlineData("v_proj"), InlineData("o_proj"), InlineData("down_proj")]
    public void Bind_AdaptersOnSomeLinears_BothLaunchesOrNeither(string target)
    {
        var schedule = ScheduleText.Parse(Emitted.Model("9b-2l").ScheduleText);
        var plan = ExecutionPlan.Create(schedule,
            new PlanOptions(1024, RankTable.Create(schedule, name => name.EndsWith(target, StringComparison.Ordinal) ? 16 : 0), ActType.Bf16, 2) { LongestDocument = 512 });
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint>());
        var kept = bound.MicroBatch.Select((launch, at) => (At: at, (launch as BoundKernel)?.ScoreGradients)).Where(l => l.ScoreGradients is not null).ToArray();
        Assert.NotEmpty(kept);
        Assert.All(kept.Chunk(2), pair => Assert.Equal((pair[0].At + 1, pair[0].ScoreGradients!.Value with { Starts = true }), (pair[1].At, pair[1].ScoreGradients!.Value)));
        Assert.DoesNotContain(bound.Evaluation.OfType<BoundKernel>(), k => k.ScoreGradients is not null);
    }

    /// <summary>What the kernel of dq is given of its launch: dq, k, doc_start, and dS with the number of its tiles.</summary>
    [Fact]
    public void Arguments_OfDqFromDs_AreTheOnesItReads()
    {
        var dq = Bound("9b", 2048, "none", 8192).Bound.First(k => k.ScoreGradients is { Starts: true });
        var kept = dq.ScoreGradients!.Value;
        Assert.Equal([dq.Arguments[0], dq.Arguments[2], dq.Arguments[7], new BoundArgument(kept.Address, kept.Tiles)], KernelArguments.Of(dq, KernelKind.AttentionDqFromDs, true));
        Assert.Equal(["layers.41.q_proj+k_proj+v_proj", "doc_start"], new[] { 2, 7 }.Select(i => Launch("9b", dq.Kernel).Arguments[i].Tensor));
    }

    /// <summary>Two heads of a kv head share a block, so an odd number of them has no such kernel; no other target has one.</summary>
    [Fact]
    public void Emit_DqFromDs_OnHopperForAnEvenGroup()
    {
        Assert.NotNull(Graph.Generator.Kernels.AttentionTiles.DqFromDs(Graph.Generator.Schedules.Target.Named("sm_90a"), 256, 2));
        Assert.Null(Graph.Generator.Kernels.AttentionTiles.DqFromDs(Graph.Generator.Schedules.Target.Named("sm_90a"), 256, 1));
        Assert.Null(Graph.Generator.Kernels.AttentionTiles.DqFromDs(Graph.Generator.Schedules.Target.Named("sm_90a"), 32, 2));
        Assert.All(Emitted.Model("9b-2l").Targets,
            t => Assert.Equal(t.Target == "sm_90a" ? 2 : 0, t.Kernels.Count(k => k.Info.Kind == Graph.Generator.Schedules.KernelKind.AttentionDqFromDs)));
    }

    static KernelLaunch Launch(string variant, string kernel) =>
        ScheduleText.Parse(Emitted.Model(variant).ScheduleText).Backward.OfType<KernelLaunch>().First(l => l.Kernel == kernel);

    [Theory]
    [InlineData(1, 8192, null, 1), InlineData(2, 8192, null, 2), InlineData(65, 8192, null, 2), InlineData(66, 8192, null, 3),
     InlineData(8192, 8192, 4096, 65), InlineData(8192, 200, null, 4), InlineData(8192, 8192, null, 128)]
    public void Tiles_OfAQuery_ReachBackFromItsTilesFirstRow(int longest, int tokens, int? window, int tiles)
    {
        Assert.Equal(tiles, ScoreGradients.Tiles(tokens, longest, window));
        // Counted: query q sees keys down to q - reach + 1.
        var reach = Math.Min(longest, window ?? longest);
        Assert.Equal(tiles, Enumerable.Range(0, tokens).Max(q => q / 64 - Math.Max(0, q / 64 * 64 - reach + 1) / 64 + 1));
    }

    static (ExecutionPlan Plan, IReadOnlyList<BoundKernel> Bound) Bound(string variant, int seq, string recompute, int tokens, bool keep = true)
    {
        var plan = Plan(variant, seq, recompute, tokens);
        var (launches, start, arena) = plan.MicroBatch;
        var program = keep ? plan.MicroBatch
            : new PlannedProgram(launches, start, arena with { Placements = [.. arena.Placements.Where(p => p.Lifetime.Tensor != ScoreGradients.Scratch)] });
        return (plan, [.. new Binder(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 }).Bind(program).OfType<BoundKernel>()]);
    }

    static ExecutionPlan Plan(string variant, int seq, string recompute, int tokens)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var ranks = RankTable.Create(schedule, _ => 16);
        return ExecutionPlan.Create(schedule, new PlanOptions(tokens, ranks, ActType.Bf16, 2)
            { Decisions = Decisions.Named(recompute, new Shapes(schedule, tokens, ranks, ActType.Bf16)), LongestDocument = seq });
    }
}
