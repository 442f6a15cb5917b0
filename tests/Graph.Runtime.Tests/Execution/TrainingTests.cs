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

/// <summary>Steps of a session: gradients, order, micro-batches, states, devices that fail.</summary>
public class TrainingTests
{
    [Theory]
    [InlineData(3, "a,b"), InlineData(16, "b"), InlineData(3, "layers.1.a")]
    public void Train_Gradients_MatchFiniteDifferencesOfFp64(int rank, string targets)
    {
        var ranks = RankTable.Create(Tiny, rank, targets.Split(','));
        var (session, device) = Start(ranks, 20);
        var batch = Batch(20, 1);
        var adapters = ranks.Adapters.ToDictionary(s => s.Linear, s => (session.GetAdapter(s.Linear).A.Select(v => (double)v).ToArray(),
            InitialB(s).Select(v => (double)v).ToArray(), s.Rank));
        var result = session.Train([batch], 0);
        Assert.Equal(Loss(batch, adapters), result.Loss, 1e-5);
        double squares = 0;
        foreach (var slot in ranks.Adapters)
        {
            var gradient = session.GetGradient(slot.Linear);
            squares += gradient.A.Concat(gradient.B).Sum(g => (double)g * g);
            foreach (var (values, got) in new[] { (adapters[slot.Linear].Item1, gradient.A), (adapters[slot.Linear].Item2, gradient.B) })
                for (var i = 0; i < values.Length; i += values.Length / 4 + 1)
                {
                    var saved = values[i];
                    values[i] = saved + 1e-5;
                    var up = Loss(batch, adapters);
                    values[i] = saved - 1e-5;
                    var slope = (up - Loss(batch, adapters)) / 2e-5;
                    values[i] = saved;
                    Assert.Equal(slope, got[i], 1e-4 * Math.Max(1, Math.Abs(slope)));
                }
        }
        Assert.Equal(Math.Sqrt(squares), result.GradientNorm, 1e-4 * Math.Sqrt(squares));
        Assert.Equal(session.Plan.Memory.PeakBytes, device.PeakBytes);
        session.Dispose();
        Assert.Equal(0, device.AllocatedBytes);
    }

    [Fact]
    public void Begin_BeforeTheStepBeforeHasFinished_ChangesNothing()
    {
        var ranks = RankTable.Create(Tiny, 4, ["a", "b"]);
        var batches = Enumerable.Range(0, 5).Select(seed => Batch(96, seed)).ToArray();
        var (oneByOne, device) = Start(ranks, 96, clip: 1);
        var (ahead, other) = Start(ranks, 96, clip: 1);
        var expected = batches.Select((b, i) => oneByOne.Train([b], 0.01 * (i + 1)) with { Milliseconds = 0 }).ToArray();
        var results = new List<StepResult>();
        ahead.Begin([batches[0]]);
        for (var i = 0; i < batches.Length; i++)
        {
            ahead.Update(0.01 * (i + 1));
            if (i + 1 < batches.Length) ahead.Begin([batches[i + 1]]);
            results.Add(ahead.Finish());
        }
        Assert.Equal(expected, results);
        Assert.Equal(5, ahead.Step);
        foreach (var (one, two) in oneByOne.State(0, 0).Adapters.Zip(ahead.State(0, 0).Adapters))
        {
            Assert.Equal(one.A.Master, two.A.Master);
            Assert.Equal(((Fp32Moment)one.B.SecondMoment).Values, ((Fp32Moment)two.B.SecondMoment).Values);
        }
        using (device) using (other) using (oneByOne) ahead.Dispose();
    }

    /// <summary>Memory is planned for documents of a certain length; the short ones that fill a micro-batch up always fit.</summary>
    [Fact]
    public void Begin_DocumentLongerThanPlanned_IsRefused()
    {
        var (session, device) = Start(RankTable.Create(Tiny, 4, ["a"]), 96, longest: 8);
        Assert.Contains("a document of 65 tokens, but the plan is for documents of at most 64",
            Assert.Throws<ArgumentException>(() => session.Begin([MicroBatch.Pack(96, [(new int[65], new int[65])])])).Message);
        session.Begin([MicroBatch.Pack(96, [(new int[8], new int[8])])]);
        session.Update(0.01);
        session.Finish();
        session.Dispose();
        device.Dispose();
    }

    [Fact]
    public void Steps_OutOfOrder_AreRefused()
    {
        var (session, device) = Start(RankTable.Create(Tiny, 4, ["a"]), 96);
        var batch = Batch(96, 1);
        Assert.Throws<InvalidOperationException>(() => session.Update(0.01));
        Assert.Throws<InvalidOperationException>(session.Finish);
        session.Begin([batch]);
        Assert.Throws<InvalidOperationException>(() => session.Begin([batch]));
        session.Update(0.01);
        session.Begin([batch]);
        Assert.Throws<InvalidOperationException>(() => session.Update(0.01));
        Assert.Throws<InvalidOperationException>(() => session.Profile(batch, 0.01));
        // It would begin the step's sum of losses at 0.
        Assert.Throws<InvalidOperationException>(() => session.Evaluate(batch));
        session.Finish();
        Assert.Throws<InvalidOperationException>(() => session.Evaluate(batch));
        session.Update(0.01);
        session.Finish();
        session.Evaluate(batch);
        session.Dispose();
        device.Dispose();
    }

    [Fact]
    public void Busy_AStep_IsTheSameStep()
    {
        var ranks = RankTable.Create(Tiny, 4, ["a", "b"]);
        var (trained, device) = Start(ranks, 96);
        var (measured, other) = Start(ranks, 96);
        var batch = Batch(96, 1);
        trained.Train([batch], 0.01);
        trained.Train([batch], 0.01);
        Assert.True(measured.Busy(batch, 0.01) > 0);
        var profile = measured.Profile(batch, 0.01);
        Assert.Equal(["scalars", "gradients = 0", "inputs"], profile.Take(3).Select(p => p.Launch.Label));
        Assert.Equal(["optimizer scalars", "gradient_norm_partials", "gradient_norm", "adamw", "result"], profile.TakeLast(5).Select(p => p.Launch.Label));
        Assert.Equal(2, measured.Step);
        Assert.Equal(trained.GetAdapter("layers.0.a").B, measured.GetAdapter("layers.0.a").B);
        using (device) using (other) using (trained) measured.Dispose();
    }

    [Fact]
    public void Train_FourMicroBatches_IsOneBigOneUpToSummation()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a"]);
        var whole = Batch(128, 3);
        var parts = Enumerable.Range(0, 4).Select(i => MicroBatch.Pack(32, [(whole.Ids[(32 * i)..(32 * i + 32)], whole.Labels[(32 * i)..(32 * i + 32)])])).ToArray();
        var (one, _) = Start(ranks, 128);
        var (four, _) = Start(ranks, 32, microBatches: 4);
        StepResult a = one.Train([whole], 1e-3), b = four.Train(parts, 1e-3);
        Assert.Equal(a.Loss, b.Loss, 1e-5);
        Assert.Equal(a.GradientNorm, b.GradientNorm, 1e-5 * a.GradientNorm);
        Assert.Equal(a.Loss, parts.Sum(p => Start(ranks, 32).Session.Evaluate(p).LossSum) / whole.LabelCount, 1e-5);
    }

    [Fact]
    public void Train_AMicroBatchWithoutLabels_AddsNothing()
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        var batch = Batch(64, 6);
        var silent = MicroBatch.Pack(64, [(batch.Ids, [.. Enumerable.Repeat(-100, 64)])]);
        var (one, _) = Start(ranks, 64);
        var (both, _) = Start(ranks, 64, microBatches: 3);
        Assert.Equal(one.Train([batch], 0) with { Milliseconds = 0 }, both.Train([silent, batch, silent], 0) with { Milliseconds = 0 });
        foreach (var (expected, got) in ranks.Adapters.Select(slot => (one.GetGradient(slot.Linear), both.GetGradient(slot.Linear))))
        {
            Assert.Equal(expected.A, got.A);
            Assert.Equal(expected.B, got.B);
        }
        Assert.Equal((0, 0), both.Evaluate(silent));
    }

    [Theory, InlineData(MomentFormat.Fp32), InlineData(MomentFormat.Block8)]
    public void Restore_State_ContinuesWithTheSameBits(MomentFormat moments)
    {
        // 3 x 64 elements: a block that is not full.
        var ranks = RankTable.Create(Tiny, 3, ["a"]);
        var (session, _) = Start(ranks, 64, moments: moments);
        session.Train([Batch(64, 4)], 1e-2);
        var state = session.State(7, 1);
        var next = session.Train([Batch(64, 5)], 1e-2);
        var (other, _) = Start(ranks, 64, moments: moments);
        other.Restore(state);
        var again = other.Train([Batch(64, 5)], 1e-2);
        Assert.Equal((next.Loss, next.GradientNorm), (again.Loss, again.GradientNorm));
        Assert.Equal(session.GetAdapter("layers.0.a").B, other.GetAdapter("layers.0.a").B);
        Assert.Equal(Bytes(session), Bytes(other));
    }

    [Fact]
    public void Restore_StateOfAnotherShape_ChangesNothing()
    {
        var (session, _) = Start(RankTable.Create(Tiny, 3, ["a", "b"]), 64);
        session.Train([Batch(64, 4)], 1e-2);
        var state = session.State(7, 1);
        var first = state.Adapters[0];
        TrainState[] wrong =
        [
            state with { Adapters = [.. state.Adapters.Take(1)] }, state with { Adapters = [.. state.Adapters, first] },
                state with { Adapters = [first with { Linear = "other" }, .. state.Adapters.Skip(1)] },
            state with { Adapters = [first with { A = first.A with { FirstMoment = new Fp32Moment([.. ((Fp32Moment)first.A.FirstMoment).Values, 1]) } },
                .. state.Adapters.Skip(1)] },
            state with { Adapters = [.. state.Adapters.SkipLast(1), state.Adapters[^1] with { B = first.B with { SecondMoment = new Fp32Moment([]) } }] },
        ];
        var (other, _) = Start(RankTable.Create(Tiny, 3, ["a", "b"]), 64);
        var before = other.GetAdapter(first.Linear).B;
        Assert.All(wrong, w => Assert.Throws<ArgumentException>(() => other.Restore(w)));
        Assert.Equal(0, other.Step);
        Assert.Equal(before, other.GetAdapter(first.Linear).B);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Session_DeviceThatFailsAnywhere_ReportsThatErrorAndReleasesAll(bool once)
    {
        var ranks = RankTable.Create(Tiny, 4, ["a", "b"]);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(64, ranks, ActType.F32, Scale) { MicroBatches = 2 });
        var calls = Run(int.MaxValue);
        Assert.True(calls > 50, $"{calls} calls");
        for (var failsAt = 1; failsAt <= calls; failsAt++) Run(failsAt);

        int Run(int failsAt)
        {
            using var cpu = new CpuDevice();
            cpu.Load(TinyKernels());
            var device = new FaultyDevice(cpu, failsAt, once);
            var used = int.MaxValue;
            var error = Record.Exception(() =>
            {
                using var session = new TrainingSession(device, plan);
                session.LoadWeights(new Ones());
                session.InitializeAdapters(7);
                session.Begin([Batch(64, 1), Batch(64, 2)]);
                session.Update(1e-3);
                session.Begin([Batch(64, 3)]);
                session.Finish();
                session.Update(1e-3);
                session.Finish();
                session.Evaluate(Batch(64, 1));
                session.State(0, 0);
                used = device.Calls;
            });
            // What only gives back may fail unsaid.
            if (failsAt <= used && failsAt < int.MaxValue) Assert.StartsWith($"call {failsAt}, ", Assert.IsType<DeviceException>(error).Message);
            else Assert.Null(error);
            Assert.Equal((0, 0L), (device.Living, device.AllocatedBytes));
            return device.Calls;
        }
    }
}
