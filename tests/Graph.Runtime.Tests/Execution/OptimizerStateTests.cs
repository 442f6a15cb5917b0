using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Runtime.Tests.TinyModel;

namespace Graph.Runtime.Tests;

/// <summary>Moments of 8 bits, and the loss scale.</summary>
public class OptimizerStateTests
{
    [Fact]
    public void Restore_MomentsOfAnotherFormat_AreRefused()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a"]);
        var (session, other) = (Start(ranks, 64).Session, Start(ranks, 64, moments: MomentFormat.Block8).Session);
        Assert.Contains("go on with the optimizer that the state was made by", Assert.Throws<ArgumentException>(() => other.Restore(session.State(0, 0))).Message);
        Assert.Contains("go on with the optimizer that the state was made by", Assert.Throws<ArgumentException>(() => session.Restore(other.State(0, 0))).Message);
    }

    /// <summary>Codes and scales train as fp32 moments do: the same first step but for nothing, later ones within what rounding of the moments may move a loss.</summary>
    [Fact]
    public void Train_WithMomentsOf8Bits_ConvergesAsWithFp32()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        var (exact, coded) = (Start(ranks, 64, clip: 1).Session, Start(ranks, 64, clip: 1, moments: MomentFormat.Block8).Session);
        var losses = Enumerable.Range(0, 30).Select(i => (Exact: exact.Train([Batch(64, i % 3)], 5e-3).Loss, Coded: coded.Train([Batch(64, i % 3)], 5e-3).Loss)).ToArray();
        // The first two steps read moments that were 0 and losses before the first rounding.
        Assert.Equal(losses[0].Exact, losses[0].Coded);
        Assert.Equal(losses[1].Exact, losses[1].Coded);
        Assert.NotEqual(losses[^1].Exact, losses[^1].Coded);
        Assert.All(losses, l => Assert.Equal(l.Exact, l.Coded, 0.01 * l.Exact));
        Assert.True(losses[^1].Coded < 0.9 * losses[0].Coded, $"{losses[0].Coded} to {losses[^1].Coded}");
        // 2 of 6 bytes of optimizer state an element are left of 12, and the scales.
        Assert.InRange((double)coded.Plan.Memory[MemoryBlock.Optimizer] / exact.Plan.Memory[MemoryBlock.Optimizer], 0.5, 0.75);
    }

    /// <summary>A power of two goes through the backward, and out again before norm, clip and update, without a rounding.</summary>
    [Theory, InlineData(MomentFormat.Fp32), InlineData(MomentFormat.Block8)]
    public void Train_WithALossScale_GivesTheBitsOfNone(MomentFormat moments)
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        var (plain, scaled) = (Start(ranks, 64, clip: 0.5, moments: moments).Session, Start(ranks, 64, clip: 0.5, moments: moments, scaling: new LossScaling(65536, 3)).Session);
        foreach (var scale in new[] { 65536, 65536, 131072, 131072, 131072, 262144, 262144 })
        {
            var (expected, got) = (plain.Train([Batch(64, 4)], 1e-2), scaled.Train([Batch(64, 4)], 1e-2));
            Assert.Equal((expected.Loss, expected.GradientNorm, false, (double)scale), (got.Loss, got.GradientNorm, got.Skipped, got.LossScale));
            Assert.Equal(1, expected.LossScale);
            Assert.Equal(plain.GetGradient("layers.1.b").B, scaled.GetGradient("layers.1.b").B);
            Assert.Equal(plain.GetAdapter("layers.0.a").A, scaled.GetAdapter("layers.0.a").A);
            Assert.Equal(Bytes(plain), Bytes(scaled));
        }
        Assert.Equal(new LossScaleState(262144, 1), scaled.State(0, 0).LossScale);
    }

    [Fact]
    public void Train_LossScaleThatIsTooLarge_HalvesAndChangesNothingElse()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        var start = MathF.ScaleB(1, 127);
        var (plain, scaled) = (Start(ranks, 64, clip: 1).Session, Start(ranks, 64, clip: 1, scaling: new LossScaling(start, 2000)).Session);
        var (before, master) = (Bytes(scaled), scaled.GetAdapter("layers.0.a").A);
        var skipped = 0;
        StepResult result;
        while ((result = scaled.Train([Batch(64, 4)], 1e-2)).Skipped)
        {
            Assert.Equal(MathF.ScaleB(start, -++skipped), result.LossScale);
            Assert.True(double.IsFinite(result.Loss));
            Assert.Equal(before, Bytes(scaled));
            Assert.Equal(master, scaled.GetAdapter("layers.0.a").A);
            Assert.Equal(0, scaled.Step);
        }
        Assert.InRange(skipped, 1, 126);
        Assert.Equal(plain.Train([Batch(64, 4)], 1e-2).Loss, result.Loss);
        // Squares of the largest scale that does not overflow still fit fp32, so that no bit differs.
        Assert.Equal(Bytes(plain), Bytes(scaled));
        Assert.Equal(1, scaled.Step);
    }

    [Fact]
    public void Train_GradientThatIsNeverFinite_LeavesAScaleOfOne()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a"]);
        var session = Start(ranks, 64, scaling: new LossScaling(8, 2000)).Session;
        session.SetAdapter("layers.0.a", session.GetAdapter("layers.0.a").A, [.. Enumerable.Repeat(float.NaN, H * 3)]);
        Assert.Equal([4, 2, 1, 1, 1], Enumerable.Range(0, 5).Select(_ => session.Train([Batch(64, 4)], 1e-2)).Select(r => r.Skipped ? r.LossScale : 0));
    }

    [Fact]
    public void Restore_State_KeepsTheLossScaleAndItsCount()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a"]);
        TrainingSession New() => Start(ranks, 64, scaling: new LossScaling(1024, 3)).Session;
        var (session, other) = (New(), New());
        for (var i = 0; i < 4; i++) session.Train([Batch(64, 4)], 1e-2);
        other.Restore(session.State(0, 0));
        for (var i = 0; i < 3; i++) Assert.Equal(session.Train([Batch(64, 5)], 1e-2) with { Milliseconds = 0 }, other.Train([Batch(64, 5)], 1e-2) with { Milliseconds = 0 });
        Assert.Equal(new LossScaleState(4096, 1), other.State(0, 0).LossScale);
    }
}
