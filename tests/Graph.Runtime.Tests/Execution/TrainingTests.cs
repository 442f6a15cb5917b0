using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public unsafe class TrainingTests
{
    const int H = TinySchedule.Hidden, V = TinySchedule.Vocabulary, Layers = 2;
    const double Scale = 1.5;
    static readonly Schedule Tiny = TinySchedule.Parse(Layers);

    readonly struct Identity : IScore
    {
        public static Vector<float> Value(Vector<float> s, Vector<float> distance, float head) => s;
        public static void ValueAndDerivative(Vector<float> s, Vector<float> distance, float head, out Vector<float> z, out Vector<float> dz) => (z, dz) = (s, Vector<float>.One);
    }

    internal static Dictionary<string, CpuKernelEntry> TinyKernels() => new()
    {
        ["cross_entropy"] = new((a, rows) => CpuCrossEntropy.Run<Identity>(a, rows, V, true), true),
        ["embedding"] = new((a, rows) =>
        {
            for (var t = 0; t < rows; t++) for (var c = 0; c < H; c++) a[0].Row(t)[c] = a[2].Row(a[1].Ints[t])[c];
        }, true),
        ["norm"] = new((a, rows) =>
        {
            for (var t = 0; t < rows; t++)
            {
                double squares = 0;
                for (var c = 0; c < H; c++) squares += a[1].Row(t)[c] * a[1].Row(t)[c];
                var r = 1 / Math.Sqrt(squares / H + TinySchedule.Epsilon);
                for (var c = 0; c < H; c++) a[0].Row(t)[c] = (float)(a[1].Row(t)[c] * r * a[2].Floats[c]);
            }
        }, true),
        ["glu_add"] = new((a, rows) =>
        {
            for (var t = 0; t < rows; t++) for (var c = 0; c < H; c++) a[0].Row(t)[c] = a[1].Row(t)[c] + MathF.Tanh(a[2].Row(t)[c]) * a[3].Row(t)[c];
        }, true),
        ["glu_adjoint"] = new((a, rows) =>
        {
            for (var t = 0; t < rows; t++)
                for (var c = 0; c < H; c++)
                {
                    var z = MathF.Tanh(a[3].Row(t)[c]);
                    a[0].Row(t)[c] = a[2].Row(t)[c] * (1 - z * z) * a[4].Row(t)[c];
                    a[1].Row(t)[c] = a[2].Row(t)[c] * z;
                }
        }, true),
        ["norm_adjoint"] = new((a, rows) =>
        {
            for (var t = 0; t < rows; t++)
            {
                double squares = 0, dot = 0;
                for (var c = 0; c < H; c++)
                {
                    squares += a[3].Row(t)[c] * a[3].Row(t)[c];
                    dot += (double)a[2].Row(t)[c] * a[4].Floats[c] * a[3].Row(t)[c];
                }
                var r = 1 / Math.Sqrt(squares / H + TinySchedule.Epsilon);
                for (var c = 0; c < H; c++) a[0].Row(t)[c] = (float)(a[1].Row(t)[c] + r * (a[2].Row(t)[c] * a[4].Floats[c] - a[3].Row(t)[c] * r * r * dot / H));
            }
        }, true),
    };

    /// <summary>Random weights of deviation 0.3, so that tanh bends and adapters matter.</summary>
    internal sealed class Source : IWeightSource
    {
        public StoredTensor Describe(string name) => new(StoredType.F32, name == "table" ? [V, H] : name.EndsWith("norm") ? [H] : [H, H]);

        public static float Value(string name, int i) => (float)((new Random(HashOf(name) + i).NextDouble() - 0.5) * (name.EndsWith("norm") ? 2 : 0.6));

        public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
        {
            var values = Enumerable.Range(row * H, rows * H).Select(i => Value(name, i)).ToArray();
            System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).CopyTo(scratch);
            return scratch[..(values.Length * 4)];
        }

        public static int HashOf(string name) => name.Aggregate(17, (h, c) => h * 31 + c) & 0xFFFFFF;
    }

    sealed class Ones : IWeightSource
    {
        public StoredTensor Describe(string name) => new Source().Describe(name);

        public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
        {
            System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(scratch).Fill(1);
            return scratch[..(rows * H * 4)];
        }
    }

    static (TrainingSession Session, CpuDevice Device) Start(RankTable ranks, int tokens, string decisions = "none", int microBatches = 1, double clip = 0, int? longest = null, int? tile = null, MomentFormat moments = MomentFormat.Fp32, LossScaling? scaling = null)
    {
        var shapes = new Shapes(Tiny, tokens, ranks, ActType.F32);
        return Start(new PlanOptions(tokens, ranks, ActType.F32, Scale)
        {
            Decisions = Decisions.Named(decisions, shapes), MicroBatches = microBatches, LogitsRows = 48, LongestDocument = longest,
            TokenUnit = 8, TokenTile = tile, ArenaBytes = 0, Moments = moments,
        }, clip, scaling: scaling);
    }

    static (TrainingSession Session, CpuDevice Device) Start(PlanOptions options, double clip, Func<CpuDevice, IDevice>? around = null, LossScaling? scaling = null)
    {
        var (device, ranks) = (new CpuDevice(poison: true), options.Ranks);
        device.Load(TinyKernels());
        var session = new TrainingSession(around?.Invoke(device) ?? device, ExecutionPlan.Create(Tiny, options), new AdamOptions(Clip: clip, Scaling: scaling));
        session.LoadWeights(new Source());
        session.InitializeAdapters(7);
        foreach (var slot in ranks.Adapters) session.SetAdapter(slot.Linear, session.GetAdapter(slot.Linear).A, InitialB(slot));
        return (session, device);
    }

    static float[] InitialB(AdapterSlot slot) => Enumerable.Range(0, slot.Out * slot.Rank).Select(i => Source.Value(slot.Linear + "B", i)).ToArray();

    internal static MicroBatch Batch(int tokens, int seed)
    {
        var random = new Random(seed);
        return MicroBatch.Pack(tokens, [(Enumerable.Range(0, tokens).Select(_ => random.Next(V)).ToArray(), Enumerable.Range(0, tokens).Select(i => i % 5 == 0 ? -100 : random.Next(V)).ToArray())]);
    }

    // The model in plain fp64 loops.
    static double Loss(MicroBatch batch, Dictionary<string, (double[] A, double[] B, int Rank)> adapters)
    {
        double W(string name, int i) => Source.Value(name, i);
        var table = Enumerable.Range(0, V * H).Select(i => W("table", i)).ToArray();
        var norms = Enumerable.Range(0, Layers).Select(l => Enumerable.Range(0, H).Select(i => W($"layers.{l}.norm", i)).ToArray()).ToArray();
        double total = 0;
        for (var t = 0; t < batch.Ids.Length; t++)
        {
            if (batch.Labels[t] < 0) continue;
            var x = table[(batch.Ids[t] * H)..((batch.Ids[t] + 1) * H)];
            for (var l = 0; l < Layers; l++)
            {
                var r = 1 / Math.Sqrt(x.Sum(v => v * v) / H + TinySchedule.Epsilon);
                var h = x.Select((v, c) => v * r * norms[l][c]).ToArray();
                double[] a = Linear($"layers.{l}.a", h), b = Linear($"layers.{l}.b", h);
                x = x.Select((v, c) => v + Math.Tanh(a[c]) * b[c]).ToArray();
            }
            var z = Enumerable.Range(0, V).Select(v => Enumerable.Range(0, H).Sum(c => x[c] * table[v * H + c])).ToArray();
            var most = z.Max();
            total += most + Math.Log(z.Sum(v => Math.Exp(v - most))) - z[batch.Labels[t]];
        }
        return total / batch.LabelCount;

        double[] Linear(string name, double[] h)
        {
            var weight = Matrices.GetOrAdd(name, n => Enumerable.Range(0, H * H).Select(i => (double)Source.Value(n + ".weight", i)).ToArray());
            var y = Enumerable.Range(0, H).Select(n => Enumerable.Range(0, H).Sum(c => h[c] * weight[n * H + c])).ToArray();
            if (!adapters.TryGetValue(name, out var m)) return y;
            var s = Enumerable.Range(0, m.Rank).Select(k => Scale * Enumerable.Range(0, H).Sum(c => h[c] * m.A[k * H + c])).ToArray();
            return y.Select((v, n) => v + Enumerable.Range(0, m.Rank).Sum(k => s[k] * m.B[n * m.Rank + k])).ToArray();
        }
    }

    static readonly System.Collections.Concurrent.ConcurrentDictionary<string, double[]> Matrices = new();

    [Theory]
    [InlineData(3, "a,b"), InlineData(16, "b"), InlineData(3, "layers.1.a")]
    public void Train_Gradients_MatchFiniteDifferencesOfFp64(int rank, string targets)
    {
        var ranks = RankTable.Create(Tiny, rank, targets.Split(','));
        var (session, device) = Start(ranks, 20);
        var batch = Batch(20, 1);
        var adapters = ranks.Adapters.ToDictionary(s => s.Linear, s => (session.GetAdapter(s.Linear).A.Select(v => (double)v).ToArray(), InitialB(s).Select(v => (double)v).ToArray(), s.Rank));
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
        (double[] Losses, float[] Bits, long Copied) Train(Dictionary<string, TensorAction> actions, TransferPace pace, IReadOnlyDictionary<string, WeightStorage> storage, int? tile, bool hostStates = false)
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
                WeightStorages.Streamed(Tiny, WeightStorages.Resident).Where(_ => seed == 1 || random.Next(2) == 0).ToDictionary(), random.Next(3) is > 0 and var tile ? 24 * tile : null, hostStates: random.Next(2) == 0);
            Assert.Equal(expected.Losses, got.Losses);
            Assert.Equal(expected.Bits, got.Bits);
            Assert.True(got.Copied > 0 || !actions.ContainsValue(TensorAction.Offload));
        }
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
    /// <summary>Launches in tiles, the last one shorter, whatever is built again and whichever adapters are there: the same bits, in training and evaluation.</summary>
    [Theory]
    [InlineData(8, "none", "a,b"), InlineData(40, "none", "b"), InlineData(40, "full", "a,b"), InlineData(96, "full", "layers.1.a"), InlineData(8, "cheap", "a"), InlineData(1000, "full", "a,b")]
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
                var state = session.State(0, 0).Adapters.SelectMany(a => new[] { a.A, a.B }).SelectMany(m => m.Master.Concat(((Fp32Moment)m.FirstMoment).Values).Concat(((Fp32Moment)m.SecondMoment).Values)).ToArray();
                return (evaluated, losses, state, Gradients: ranks.Adapters.SelectMany(a => session.GetGradient(a.Linear) is var g ? g.A.Concat(g.B) : []).ToArray(), session.Plan);
            }
        }).ToArray();
        Assert.Equal(tile < 100, results[1].Plan.MicroBatch.Tiled.Count > 0 && results[1].Plan.Evaluation.Tiled.Count > 0);
        Assert.Equal(results[0].evaluated, results[1].evaluated);
        Assert.Equal(results[0].losses, results[1].losses);
        Assert.Equal(results[0].Gradients, results[1].Gradients);
        Assert.Equal(results[0].state, results[1].state);
    }

    [Fact]
    public void Begin_DocumentLongerThanPlanned_IsRefused()
    {
        var (session, device) = Start(RankTable.Create(Tiny, 4, ["a"]), 96, longest: 8);
        Assert.Contains("a document of 65 tokens, but the plan is for documents of at most 64", Assert.Throws<ArgumentException>(() => session.Begin([MicroBatch.Pack(96, [(new int[65], new int[65])])])).Message);
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
            state with { Adapters = [.. state.Adapters.Take(1)] }, state with { Adapters = [.. state.Adapters, first] }, state with { Adapters = [first with { Linear = "other" }, .. state.Adapters.Skip(1)] },
            state with { Adapters = [first with { A = first.A with { FirstMoment = new Fp32Moment([.. ((Fp32Moment)first.A.FirstMoment).Values, 1]) } }, .. state.Adapters.Skip(1)] },
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

    [Fact]
    public void LoadWeights_ValueTooLargeForTheType_IsRefused()
    {
        Assert.Equal(-1, Elements.FirstNonFinite(Elements.Convert(Of(65504f), StoredType.F32, ActType.F16, new byte[2]), StoredType.F16));
        Assert.Equal(0, Elements.FirstNonFinite(Elements.Convert(Of(65520f), StoredType.F32, ActType.F16, new byte[2]), StoredType.F16));
        Assert.Equal(0, Elements.FirstNonFinite(Elements.Convert(Of(3.4e38f), StoredType.F32, ActType.Bf16, new byte[2]), StoredType.Bf16));
        static byte[] Of(float value) => BitConverter.GetBytes(value);
    }

    // Every place in a piece, beside the width of any vector.
    [Theory, InlineData(StoredType.F32), InlineData(StoredType.Bf16), InlineData(StoredType.F16)]
    public void FirstNonFinite_OneAmongMany_IsFound(StoredType type)
    {
        var size = type == StoredType.F32 ? 4 : 2;
        ulong[] finite = type switch { StoredType.F32 => [0, 0x7F7FFFFF, 0xFF7FFFFF, 1], StoredType.Bf16 => [0, 0x7F7F, 0xFF7F, 1], _ => [0, 0x7BFF, 0xFBFF, 1] };
        ulong[] others = type switch { StoredType.F32 => [0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001], StoredType.Bf16 => [0x7F80, 0xFF80, 0x7FC0, 0xFF81], _ => [0x7C00, 0xFC00, 0x7E00, 0xFC01] };
        for (var at = 0; at < 100; at++)
        {
            var bytes = Enumerable.Range(0, 100).SelectMany(i => BitConverter.GetBytes(finite[i % 4])[..size]).ToArray();
            Assert.Equal(-1, Elements.FirstNonFinite(bytes, type));
            BitConverter.GetBytes(others[at % 4]).AsSpan(0, size).CopyTo(bytes.AsSpan(at * size));
            Assert.Equal(at * size, Elements.FirstNonFinite(bytes, type));
        }
    }

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

    static byte[] Bytes(TrainingSession session) => [.. session.State(0, 0).Adapters.SelectMany(a => new[] { a.A, a.B }).SelectMany(m => new[] { m.FirstMoment, m.SecondMoment }).SelectMany(m => m switch
    {
        Fp32Moment fp32 => fp32.Values.SelectMany(BitConverter.GetBytes),
        Block8Moment block8 => block8.Codes.Concat(block8.Scales.SelectMany(BitConverter.GetBytes)),
        _ => throw new ArgumentException(m.ToString()),
    })];
}
