using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

/// <summary>A step on weights in NF4 is the step on the bf16 weights that they stand for, bit for bit, whatever is recomputed.</summary>
public class PackedTrainingTests
{
    const int Layers = 3, Tokens = 70, Unit = 16;
    static readonly Schedule Tiny = TinySchedule.Parse(Layers);

    /// <summary>The weights of the training tests; the linears as bf16 values of their codes.</summary>
    sealed class Dequantized : IWeightSource
    {
        readonly TinyModel.Source source = new();

        public StoredTensor Describe(string name) =>
            name.EndsWith(".weight", StringComparison.Ordinal) ? source.Describe(name) with { Type = StoredType.Bf16 } : source.Describe(name);

        public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
        {
            if (!name.EndsWith(".weight", StringComparison.Ordinal)) return source.Rows(name, row, rows, scratch);
            var (count, columns) = (source.Describe(name).Shape[0], source.Describe(name).Shape[1]);
            var quantizer = new Nf4Quantizer((long)count * columns);
            quantizer.Add(0, source.Rows(name, 0, count, new byte[4 * count * columns]), bf16: false);
            var values = new ushort[rows * columns];
            quantizer.Finish((long)count * columns).Dequantize((long)row * columns, values);
            MemoryMarshal.AsBytes(values.AsSpan()).CopyTo(scratch);
            return scratch[..(2 * values.Length)];
        }
    }

    /// <summary>The same with absmax in fp32: of the same values, so that both formats train to equal bits.</summary>
    sealed class Plain : IWeightSource
    {
        readonly TinyModel.Source source = new();
        readonly Dictionary<string, (byte[] Codes, float[] Absmax)> known = [];

        public StoredTensor Describe(string name) => source.Describe(name);
        public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch) => source.Rows(name, row, rows, scratch);

        public WeightFormat FormatOf(string name) => name.EndsWith(".weight", StringComparison.Ordinal) ? WeightFormat.Nf4Plain : WeightFormat.Act;

        public Nf4Tensor Codes(string name)
        {
            var shape = source.Describe(name).Shape;
            var elements = (long)shape[0] * shape[^1];
            if (!known.TryGetValue(name, out var stored))
            {
                var quantizer = new Nf4Quantizer(elements);
                quantizer.Add(0, source.Rows(name, 0, shape[0], new byte[4 * elements]), bf16: false);
                var packed = quantizer.Finish(elements);
                var absmax = new float[Nf4.Blocks(elements)];
                for (var b = 0; b < absmax.Length; b++) absmax[b] = packed.Absmax(b);
                known[name] = stored = (packed.Codes.ToArray(), absmax);
            }
            return new Nf4Tensor(elements, stored.Codes, [], stored.Absmax, [], 0);
        }
    }

    static (double[] Losses, float[] Bits) Run(IWeightSource source, WeightFormat format, Decisions decisions, int? tile = null, bool streamed = false)
    {
        var ranks = RankTable.Create(Tiny, 3, ["a", "b"]);
        using var device = new CpuDevice(poison: true);
        device.Load(TinyModel.TinyKernels());
        var storage = WeightStorages.Packed(Tiny, _ => format);
        if (streamed) storage = WeightStorages.Streamed(Tiny, storage);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(Tokens, ranks, ActType.F32, 1.5)
        {
            Decisions = decisions, LogitsRows = 48, TokenTile = tile, TokenUnit = Unit, ArenaBytes = tile is null ? null : 0, Storage = storage,
        });
        Assert.Equal(streamed, plan.MicroBatch.Launches.Any(l => l is TransferStart));
        using var session = new TrainingSession(device, plan, new AdamOptions(Clip: 1));
        session.LoadWeights(source);
        session.InitializeAdapters(7);
        if (tile is not null && !streamed)
        {
            // Where a run of launches is tiled, a weight in it is made anew for every tile, and its place is free between.
            Assert.Contains(plan.MicroBatch.Tiled, r => Enumerable.Range(r.First, r.Last - r.First + 1).Any(i => plan.MicroBatch.Launches[i] is DequantizeLaunch));
            Assert.All(plan.MicroBatch.Arena.Placements.Where(p => plan.Shapes.IsMaterialized(p.Lifetime.Tensor)),
                p => Assert.Equal(plan.Shapes[p.Lifetime.Tensor].Bytes, p.Lifetime.Bytes));
        }
        var losses = Enumerable.Range(0, 3).Select(i => (double)session.Train([TinyModel.Batch(Tokens, i)], 1e-2).Loss).ToList();
        losses.Add(session.Evaluate(TinyModel.Batch(Tokens, 9)).LossSum);
        Assert.Equal(plan.Memory.PeakBytes, device.PeakBytes);
        var gradients = ranks.Adapters.SelectMany(s => session.GetGradient(s.Linear) is var g ? g.A.Concat(g.B) : []);
        return ([.. losses], [.. session.State(0, 0).Adapters.SelectMany(a => a.A.Master.Concat(a.B.Master).Concat(((Fp32Moment)a.B.SecondMoment).Values)).Concat(gradients)]);
    }

    [Fact]
    public void Train_PackedWeights_GiveTheBitsOfTheDequantizedOnesUnderAnyDecisions()
    {
        var expected = Run(new Dequantized(), WeightFormat.Act, Decisions.None);
        // The weights that were quantised are others.
        Assert.NotEqual(expected.Losses, Run(new TinyModel.Source(), WeightFormat.Act, Decisions.None).Losses);
        var random = new Random(1);
        for (var i = 0; i < 12; i++)
        {
            var actions = Tiny.Recipes.Where(_ => random.Next(2) == 0).ToDictionary(r => r.Tensor, _ => TensorAction.Recompute);
            int? tile = i % 3 == 0 ? null : Unit * (i % 3);
            var (decisions, streamed) = (new Decisions("random", actions), i / 2 % 2 == 1);
            var got = i % 2 == 0 ? Run(new TinyModel.Source(), WeightFormat.Nf4, decisions, tile, streamed) : Run(new Plain(), WeightFormat.Nf4Plain, decisions, tile, streamed);
            Assert.Equal(expected.Losses, got.Losses);
            Assert.Equal(expected.Bits, got.Bits);
        }
    }

    [Fact]
    public void LoadWeights_AbsmaxOfAnotherKindThanPlanned_IsRefused() =>
        Assert.Contains("layers.0.a.weight has fp32 absmax, but the plan is for absmax of 8 bits",
        Assert.Throws<ArgumentException>(() => Run(new Plain(), WeightFormat.Nf4, Decisions.None)).Message);
}
