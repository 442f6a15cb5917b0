using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public class TokenTilesTests
{
    const int Tokens = 1000, Tile = 128;
    static readonly Schedule Tiny = TinySchedule.Parse();

    static ExecutionPlan Plan(int? tile, int rank = 8, int? unit = 32, long? arena = 0, int tokens = Tokens, string decisions = "full")
    {
        var ranks = RankTable.Create(Tiny, rank, ["a", "b"]);
        var shapes = new Shapes(Tiny, tokens, ranks, ActType.Bf16);
        return ExecutionPlan.Create(Tiny, new PlanOptions(tokens, ranks, ActType.Bf16, 2)
            { Decisions = Decisions.Named(decisions, shapes), LogitsRows = 64, TokenTile = tile, TokenUnit = unit, ArenaBytes = arena });
    }

    [Fact]
    public void Lifetimes_OfARun_AreATileOrReachItsBorders()
    {
        var plan = Plan(Tile);
        var program = plan.MicroBatch;
        Assert.NotEmpty(program.Tiled);
        foreach (var place in program.Arena.Placements)
        {
            var l = place.Lifetime;
            var (first, last) = (TokenTiles.At(program.Tiled, l.First), TokenTiles.At(program.Tiled, l.Last));
            if (l.PerTile)
            {
                Assert.True(first is not null && first == last, l.ToString());
                Assert.Equal(Arena.Align(Tile * plan.Shapes[l.Tensor].BytesPerToken), l.Bytes);
            }
            else Assert.True((first is null || first.Value.First == l.First) && (last is null || last.Value.Last == l.Last), l.ToString());
        }
        // A tensor has one place at a launch.
        foreach (var of in program.Arena.Placements.Select(p => p.Lifetime).GroupBy(l => l.Tensor))
            Assert.All(of.OrderBy(l => l.First).Zip(of.OrderBy(l => l.First).Skip(1)), pair => Assert.True(pair.First.Last < pair.Second.First, pair.ToString()));
        Assert.Contains(program.Arena.Placements, p => p.Lifetime.PerTile && p.Lifetime.Tensor == "layers.1.du");
        // The loss, what a later run reads, and the residual stream between runs are whole.
        Assert.All(program.Arena.Placements.Where(p => p.Lifetime.Tensor is "loss" or "dx.3" or "x.3"), p => Assert.False(p.Lifetime.PerTile));
    }

    /// <summary>Each launch of a run has all tokens once, in order, at the rows that are its.</summary>
    [Fact]
    public void Bind_ARun_HasEveryTokenOnce()
    {
        var plan = Plan(Tile);
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 30, [MemoryBlock.Inputs] = 1 << 20 }).MicroBatch;
        var run = plan.MicroBatch.Tiled.First(r => plan.MicroBatch.Launches.Skip(r.First).Take(r.Last - r.First + 1)
            .Any(l => l is KernelLaunch { Kernel: "glu_adjoint", Layer: 1 }));
        var tiles = bound.OfType<BoundKernel>().Where(k => k.Kernel == "glu_adjoint" && k.Layer == 1).ToArray();
        Assert.Equal([128, 128, 128, 128, 128, 128, 128, 104], tiles.Select(k => k.Rows));
        // du is a tile's: one place; what enters the run moves on.
        var at = plan.MicroBatch.Launches.ToList().FindIndex(l => l is KernelLaunch { Kernel: "glu_adjoint", Layer: 1 });
        Assert.All(Enumerable.Range(0, tiles[0].Arguments.Count), a =>
        {
            var view = ((KernelLaunch)plan.MicroBatch.Launches[at]).Arguments[a];
            var step = plan.MicroBatch.PlaceOf(view.Tensor, at).Lifetime.PerTile ? 0 : Tile * plan.Shapes[view.Tensor].BytesPerToken;
            Assert.All(tiles.Zip(tiles.Skip(1)), pair => Assert.Equal(step, pair.Second.Arguments[a].Address - pair.First.Arguments[a].Address));
        });
        Assert.Contains(tiles[0].Arguments, a => a.Address == tiles[1].Arguments[tiles[0].Arguments.ToList().IndexOf(a)].Address);
        // Sums over tokens: k of a tile, into one D; rows of a product: the kernel is that of all.
        var both = bound.OfType<BoundRankGradients>().Where(b => b.Layer == 1).ToArray();
        Assert.Equal(tiles.Select(t => t.Rows), both.Select(b => b.GradB.Operands.K));
        Assert.Equal(tiles.Select(t => t.Rows), both.Select(b => b.G.M));
        Assert.All(both, b => Assert.Equal((Tokens, 32, both[0].GradB.D, b.GradB.M), (b.G.WholeM, b.GradB.Unit, b.GradB.D, b.GradB.WholeM)));
        // The work is what it was.
        var untiled = Binder.Bind(Plan(null), new Dictionary<MemoryBlock, nint>()).MicroBatch;
        Assert.Equal(untiled.Sum(l => l.Flops), bound.Sum(l => l.Flops));
        Assert.True(run.Last > run.First);
    }

    /// <summary>With everything saved the head needs the most, which has chunks of its own.</summary>
    [Theory]
    [InlineData("cheap"), InlineData("full")]
    public void Arena_InTiles_IsSmaller(string decisions)
    {
        long Bytes(int? tile) => Plan(tile, decisions: decisions).Memory[MemoryBlock.Arena];
        Assert.True(Bytes(32) <= Bytes(256) && Bytes(256) < Bytes(null), $"{Bytes(32)} {Bytes(256)} {Bytes(null)}");
        Assert.Equal(Bytes(null), Bytes(1024));
        Assert.Equal(Bytes(null), Plan(32, decisions: decisions, arena: long.MaxValue).Memory[MemoryBlock.Arena]);
    }

    /// <summary>Two sums into one gradient would take turns, tile by tile.</summary>
    [Fact]
    public void Choose_TwoSumsIntoOneGradient_AreNotInOneRun()
    {
        var text = TinySchedule.Text(3)
            .Replace("gemm tn grad_a.1 += layers.1.g * layers.1.h\n", "gemm tn grad_a.1 += layers.1.g * layers.1.h\n  99 L1 gemm tn grad_a.1 += layers.1.g * dx.2\n");
        var schedule = ScheduleText.Parse(string.Join('\n', text.Split('\n')));
        var ranks = RankTable.Create(schedule, 8, ["a", "b"]);
        var program = ExecutionPlan.Create(schedule, new PlanOptions(Tokens, ranks, ActType.Bf16, 2)
            { TokenTile = 32, TokenUnit = 32, ArenaBytes = 0, LogitsRows = 64 }).MicroBatch;
        Assert.NotEmpty(program.Tiled);
        Assert.All(program.Tiled, r => Assert.True(program.Launches.Skip(r.First).Take(r.Last - r.First + 1).Count(l => l is GemmLaunch { D.Tensor: "grad_a.1" }) < 2));
    }

    [Theory]
    [InlineData(16, 1000, 1024), InlineData(16, 0, 1024), InlineData(48, 2048, 4096), InlineData(64, -4096, 4096)]
    public void Plan_ATileThatCutsAUnit_IsRefused(int rank, int tile, int unit)
    {
        var message = Assert.Throws<ArgumentException>(() => Plan(tile, rank, unit: null, tokens: 8192)).Message;
        Assert.Equal($"plan: a tile of {tile} tokens cuts sums of adapters' gradients, which are made of {unit} tokens each; use a multiple of that.", message);
        Assert.NotEmpty(Plan(unit, rank, unit: null, tokens: 8192).MicroBatch.Tiled);
    }
}
