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

/// <summary>Where and when a step keeps, builds, copies and tiles: the same bits in any plan.</summary>
public class TrainingPlacesTests
{
    [Fact]
    public void Train_EveryDecision_GivesTheSameBitsAndThePlannedPeak()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        var runs = new[] { "none", "cheap", "full" }.Select(decisions =>
        {
            var (session, device) = Start(ranks, 130, decisions, clip: 1);
            var losses = Enumerable.Range(0, 3).Select(i => session.Train([Batch(130, 2)], 1e-2).Loss).ToArray();
            Assert.Equal(session.Plan.Memory.PeakBytes, device.PeakBytes);
            Assert.True(losses[2] < losses[0], string.Join(" ", losses));
            return (losses, Bits: session.State(0, 0).Adapters.SelectMany(a => a.A.Master.Concat(a.B.Master).Concat(((Fp32Moment)a.B.SecondMoment).Values)).ToArray());
        }).ToArray();
        Assert.Equal(runs[0].Bits, runs[1].Bits);
        Assert.Equal(runs[0].Bits, runs[2].Bits);
        Assert.Equal(runs[0].losses, runs[2].losses);
    }

    /// <summary>Copies at either end of what a bus may do, with and without tiles of tokens, two micro-batches of one program a step, which share arena and host memory.</summary>
    [Theory]
    [InlineData(CopyTime.AtStart, CopyTime.AtStart), InlineData(CopyTime.AtStart, CopyTime.AtWait)]
    [InlineData(CopyTime.AtWait, CopyTime.AtStart), InlineData(CopyTime.AtWait, CopyTime.AtWait)]
    public void Train_RandomDecisionsAndStreamedWeights_GiveTheSameBitsWheneverCopiesHappen(CopyTime toHost, CopyTime toDevice)
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        (double[] Losses, float[] Bits, long Copied) Train(Dictionary<string, TensorAction> actions, TransferPace pace,
            IReadOnlyDictionary<string, WeightStorage> storage, int? tile, bool hostStates = false)
        {
            LateCopies? bus = null;
            var options = new PlanOptions(130, ranks, ActType.F32, Scale)
            {
                Decisions = new Decisions("drawn", actions), MicroBatches = 2, LogitsRows = 48, Pace = pace, Storage = storage,
                TokenUnit = 8, TokenTile = tile, ArenaBytes = 0, HostStates = hostStates,
            };
            var (session, device) = Start(options, 1, cpu => bus = new LateCopies(cpu, toHost, toDevice));
            var losses = Enumerable.Range(0, 3).Select(i => session.Train([Batch(130, 2), Batch(130, 3)], 1e-2).Loss).ToArray();
            Assert.Equal(session.Plan.Memory.PeakBytes, device.PeakBytes);
            losses = [.. losses, session.Evaluate(Batch(130, 4)).LossSum];
            var bits = session.State(0, 0).Adapters.SelectMany(a => a.A.Master.Concat(a.B.Master).Concat(((Fp32Moment)a.B.SecondMoment).Values)).ToArray();
            using (device) using (session) return (losses, bits, bus!.Copied);
        }

        var expected = Train([], new TransferPace(), WeightStorages.Resident, null);
        for (var seed = 0; seed < 12; seed++)
        {
            var random = new Random(seed);
            TensorAction Drawn(ScheduleTensor t) => seed == 0 ? TensorAction.Offload : t.Boundary ? (TensorAction)(2 * random.Next(2)) : (TensorAction)random.Next(3);
            var actions = Tiny.Tensors.Where(t => t.Kind == TensorKind.Activation && t.Name != "loss").ToDictionary(t => t.Name, Drawn);
            var pace = new TransferPace(Math.Pow(10, 3 * random.NextDouble() - 2), LaunchBytes: Math.Pow(10, 6 * random.NextDouble()), Landing: 1 + 2 * random.NextDouble());
            var got = Train(actions, pace,
                WeightStorages.Streamed(Tiny, WeightStorages.Resident).Where(_ => seed == 1 || random.Next(2) == 0)
                    .ToDictionary(), random.Next(3) is > 0 and var tile ? 24 * tile : null, hostStates: random.Next(2) == 0);
            Assert.Equal(expected.Losses, got.Losses);
            Assert.Equal(expected.Bits, got.Bits);
            Assert.True(got.Copied > 0 || !actions.ContainsValue(TensorAction.Offload));
        }
    }

    /// <summary>Launches in tiles, the last one shorter, whatever is built again and whichever adapters are there: the same bits, in training and evaluation.</summary>
    [Theory]
    [InlineData(8, "none", "a,b"), InlineData(40, "none", "b"), InlineData(40, "full", "a,b"), InlineData(96, "full", "layers.1.a"),
     InlineData(8, "cheap", "a"), InlineData(1000, "full", "a,b")]
    public void Train_InTiles_HasTheSameBits(int tile, string decisions, string targets)
    {
        var ranks = RankTable.Create(Tiny, 5, targets.Split(','));
        var results = new[] { (int?)null, tile }.Select(t =>
        {
            var (session, device) = Start(ranks, 100, decisions, microBatches: 2, tile: t);
            using (device) using (session)
            {
                var evaluated = session.Evaluate(Batch(100, 3)).LossSum;
                var losses = Enumerable.Range(0, 2).Select(i => session.Train([Batch(100, 2 * i), Batch(100, 2 * i + 1)], 1e-2).Loss).ToArray();
                var state = session.State(0, 0).Adapters.SelectMany(a => new[] { a.A, a.B })
                    .SelectMany(m => m.Master.Concat(((Fp32Moment)m.FirstMoment).Values).Concat(((Fp32Moment)m.SecondMoment).Values)).ToArray();
                return (evaluated, losses, state, Gradients: ranks.Adapters.SelectMany(a => session.GetGradient(a.Linear) is var g ? g.A.Concat(g.B) : [])
                    .ToArray(), session.Plan);
            }
        }).ToArray();
        Assert.Equal(tile < 100, results[1].Plan.MicroBatch.Tiled.Count > 0 && results[1].Plan.Evaluation.Tiled.Count > 0);
        Assert.Equal(results[0].evaluated, results[1].evaluated);
        Assert.Equal(results[0].losses, results[1].losses);
        Assert.Equal(results[0].Gradients, results[1].Gradients);
        Assert.Equal(results[0].state, results[1].state);
    }
}
