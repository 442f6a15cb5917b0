using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Tests;

/// <summary>The schedule of <see cref="TinySchedule"/> as a model: its kernels, weights and batches, sessions of it, and its loss in plain fp64 loops.</summary>
static unsafe class TinyModel
{
    internal const int H = TinySchedule.Hidden, V = TinySchedule.Vocabulary, Layers = 2;
    internal const double Scale = 1.5;
    internal static readonly Schedule Tiny = TinySchedule.Parse(Layers);

    internal readonly struct Identity : IScore
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

    internal sealed class Ones : IWeightSource
    {
        public StoredTensor Describe(string name) => new Source().Describe(name);

        public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
        {
            System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(scratch).Fill(1);
            return scratch[..(rows * H * 4)];
        }
    }

    internal static (TrainingSession Session, CpuDevice Device) Start(RankTable ranks, int tokens, string decisions = "none", int microBatches = 1, double clip = 0,
        int? longest = null, int? tile = null, MomentFormat moments = MomentFormat.Fp32, LossScaling? scaling = null)
    {
        var shapes = new Shapes(Tiny, tokens, ranks, ActType.F32);
        return Start(new PlanOptions(tokens, ranks, ActType.F32, Scale)
        {
            Decisions = Decisions.Named(decisions, shapes), MicroBatches = microBatches, LogitsRows = 48, LongestDocument = longest,
            TokenUnit = 8, TokenTile = tile, ArenaBytes = 0, Moments = moments,
        }, clip, scaling: scaling);
    }

    internal static (TrainingSession Session, CpuDevice Device) Start(PlanOptions options, double clip, Func<CpuDevice, IDevice>? around = null, LossScaling? scaling = null)
    {
        var (device, ranks) = (new CpuDevice(poison: true), options.Ranks);
        device.Load(TinyKernels());
        var session = new TrainingSession(around?.Invoke(device) ?? device, ExecutionPlan.Create(Tiny, options), new AdamOptions(Clip: clip, Scaling: scaling));
        session.LoadWeights(new Source());
        session.InitializeAdapters(7);
        foreach (var slot in ranks.Adapters) session.SetAdapter(slot.Linear, session.GetAdapter(slot.Linear).A, InitialB(slot));
        return (session, device);
    }

    internal static float[] InitialB(AdapterSlot slot) => Enumerable.Range(0, slot.Out * slot.Rank).Select(i => Source.Value(slot.Linear + "B", i)).ToArray();

    internal static MicroBatch Batch(int tokens, int seed)
    {
        var random = new Random(seed);
        int[] ids = [.. Enumerable.Range(0, tokens).Select(_ => random.Next(V))];
        int[] labels = [.. Enumerable.Range(0, tokens).Select(i => i % 5 == 0 ? -100 : random.Next(V))];
        return MicroBatch.Pack(tokens, [(ids, labels)]);
    }

    // The model in plain fp64 loops.
    internal static double Loss(MicroBatch batch, Dictionary<string, (double[] A, double[] B, int Rank)> adapters)
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

    /// <summary>All moments of a session.</summary>
    internal static byte[] Bytes(TrainingSession session) => [.. session.State(0, 0).Adapters.SelectMany(a => new[] { a.A, a.B })
        .SelectMany(m => new[] { m.FirstMoment, m.SecondMoment }).SelectMany(m => m switch
        {
            Fp32Moment fp32 => fp32.Values.SelectMany(BitConverter.GetBytes),
            Block8Moment block8 => block8.Codes.Concat(block8.Scales.SelectMany(BitConverter.GetBytes)),
            _ => throw new ArgumentException(m.ToString()),
        })];
}
