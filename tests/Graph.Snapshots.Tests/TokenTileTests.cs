using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>What token tiles save of 9B's arena with full recompute.</summary>
public sealed class TokenTileTests
{
    const int Hidden = 3584, Layers = 42;

    static readonly Lazy<Schedule> Nine = new(() => ScheduleText.Parse(Emitted.Model("9b").ScheduleText));

    static ExecutionPlan Plan(int tokens, int? tile, long? arena = null)
    {
        var ranks = RankTable.Create(Nine.Value, _ => 16);
        return ExecutionPlan.Create(Nine.Value, new PlanOptions(tokens, ranks, ActType.Bf16, 2)
        {
            Decisions = Decisions.Named("full", new Shapes(Nine.Value, tokens, ranks, ActType.Bf16)), LogitsRows = 1024, Multiprocessors = 132,
            TokenTile = tile, ArenaBytes = arena,
        });
    }

    // The most alive at a launch; dS takes only what is free.
    static long Alive(ExecutionPlan plan) => Arena.LowerBound([.. plan.MicroBatch.Arena.Placements.Select(p => p.Lifetime).Where(l => l.Tensor != ScoreGradients.Scratch)]);

    static int Tiled(ExecutionPlan plan) => plan.MicroBatch.Tiled.Sum(r => r.Last - r.First + 1);

    /// <summary>
    /// With T = 32,768: besides the layers' inputs (42 × 7,168 bytes a token) and statistics (less than 4,096),
    /// the step works on 211,200 bytes a token without tiles: gate and up, their gradients and GeGLU's
    /// (57,344 + 57,344 + 28,672), q, k, v, attention and the gradients of the residual stream. By tiles what crosses a run's border is left of it.
    /// </summary>
    [Fact]
    public void Arena_OfFullRecompute_WorksOnLessThanAThirdOfTheBytesAToken()
    {
        const long saved = Layers * Hidden * 2;
        double untiled = Alive(Plan(32768, null)) / 32768.0 - saved;
        Assert.InRange(untiled, 211_000, 215_500);
        // Growth from one T to twice as many is what is whole; a tile's own part does not grow.
        long once = Alive(Plan(32768, 2048)), twice = Alive(Plan(65536, 2048));
        Assert.InRange((twice - once) / 32768.0 - saved, 50_000, 66_000);
        Assert.InRange(2.0 * once - twice, 0, 2048 * 215_500);
    }

    /// <summary>1,048,576 tokens: what is whole a token, a tile's part, and every place and size in its block; nothing has run over 32 bits.</summary>
    [Fact]
    public void Bind_AMillionTokens_FitsNumbersOf64Bits()
    {
        var (few, many) = (Plan(1 << 15, 16384), Plan(1 << 20, 16384));
        Assert.InRange(Alive(many), 360_000L << 20, 372_000L << 20);
        var bound = Binder.Bind(many, new Dictionary<MemoryBlock, nint>()).MicroBatch;
        Assert.Equal(32, bound.OfType<BoundGemm>().Where(g => g.Layout == GemmLayout.Nt && g.Limit is null).Sum(g => (double)g.M * g.N)
            / Binder.Bind(few, new Dictionary<MemoryBlock, nint>()).MicroBatch
                .OfType<BoundGemm>().Where(g => g.Layout == GemmLayout.Nt && g.Limit is null).Sum(g => (double)g.M * g.N), 1e-9);
        Assert.All(bound, l => Assert.True(l.Flops >= 0 && l.Bytes >= 0, l.Label));
        // Where row 0 of a tile's tensor would be lies before the arena; where a launch begins does not.
        Assert.All(bound.OfType<BoundGemm>(), g => Assert.InRange(g.D, 0, (nint)Math.Max(many.Memory[MemoryBlock.Arena], many.Memory[MemoryBlock.Gradients])));
        Assert.All(bound.OfType<BoundKernel>().SelectMany(k => k.Arguments), a => Assert.InRange(a.Address, 0, (nint)many.Memory.Blocks.Values.Max()));
    }

    /// <summary>The first layers of the backward need the least of what is saved, so only the last ones are tiled, and of the forward still fewer.</summary>
    [Fact]
    public void Choose_ForLessRoom_TilesMore()
    {
        var (none, least) = (Plan(8192, null), Plan(8192, 1024));
        var between = Plan(8192, 1024, (Alive(none) + Alive(least)) / 2);
        Assert.InRange(Alive(between), Alive(least), (Alive(none) + Alive(least)) / 2);
        Assert.True(0 < Tiled(between) && Tiled(between) < Tiled(least) && Tiled(least) < none.MicroBatch.Launches.Count / 8, $"{Tiled(between)} {Tiled(least)}");
        Assert.Equal(0, Tiled(Plan(8192, 1024, Alive(none))));
        Assert.InRange(least.Memory.PeakBytes, 0, none.Memory.PeakBytes - 890_000_000);
    }
}
