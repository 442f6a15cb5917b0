using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json.Nodes;
using Graph.Finetune.Adapters;
using Graph.Finetune.Training;
using Graph.Runtime.Cpu;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Training;

public class DropoutTests
{
    const int Tokens = 32;

    static readonly int[] Ids = [.. Enumerable.Range(0, Tokens).Select(i => 7 * i + 3)];

    static readonly AdapterShape Shape = new(4, 8, false, ["q_proj", "k_proj", "v_proj", "down_proj", "o_proj", "gate_proj"]) { Alphas = [("layers.1.self_attn.q_proj", 16)] };

    static ModelSession Open(ModelSource source, AdapterShape shape, string recompute = "none", int seed = 5)
    {
        var request = new SessionRequest(AdapterSettings.Create(source.Schedule, shape), Tokens, Tokens, 1, recompute, new AdamOptions(), seed);
        var session = ModelSession.Open(source, new DeviceRequest(DeviceKind.Cpu, null) { Make = () => new CpuDevice(poison: true) }, request, _ => { });
        foreach (var (slot, number) in request.Adapter.Ranks.Adapters.Select((a, i) => (a, i)))
        {
            var random = new Random(number);
            float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => 0.2f * (random.NextSingle() - 0.5f))];
            session.Training.SetAdapter(slot.Linear, Values(slot.Rank * slot.In), Values(slot.Out * slot.Rank));
        }
        return session;
    }

    static ModelSource Source() => ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), Fixture.Checkpoint);

    static MicroBatch Batch => MicroBatch.Pack(Tokens, [(Ids, Ids)]);

    /// <summary>Known answers of Random123 (kat_vectors: philox4x32 10).</summary>
    [Fact]
    public void Philox_KnownCounters_GiveTheKnownAnswers()
    {
        Assert.Equal((0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u), CpuDropout.Philox(0, 0, 0, 0, 0, 0));
        Assert.Equal((0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu), CpuDropout.Philox(~0u, ~0u, ~0u, ~0u, ~0u, ~0u));
    }

    /// <summary>Central differences of the loss in elements of A and B of every linear: the mask of the backward is the forward's, whichever recomputation.</summary>
    [Theory, InlineData("none"), InlineData("full")]
    public void Gradients_WithDropout_AreThoseOfTheDroppedForward(string recompute)
    {
        using var source = Source();
        using var session = Open(source, Shape with { Dropout = 0.4 }, recompute);
        var training = session.Training;
        // Each step draws anew, so the number of the micro-batch is set back.
        double Loss(string linear, float[] a, float[] b)
        {
            training.SetAdapter(linear, a, b);
            training.Restore(training.State(5, 17));
            var result = training.Train([Batch], 0);
            return result.Loss;
        }
        foreach (var linear in session.Planned.Plan.Optimizer.Adapters.Where(a => a.Slot.Linear.Contains(".1.", StringComparison.Ordinal)).Select(a => a.Slot.Linear))
        {
            var (a, b) = training.GetAdapter(linear);
            Loss(linear, a, b);
            var (gradientA, gradientB) = training.GetGradient(linear);
            foreach (var ofA in new[] { true, false })
            {
                // Along the gradient, so that the difference is far above the rounding of the loss.
                var gradient = ofA ? gradientA : gradientB;
                var norm = Math.Sqrt(gradient.Sum(g => (double)g * g));
                Assert.True(norm > 1e-6, linear);
                float[] Moved(float[] from, double by) => [.. from.Zip(gradient, (x, g) => (float)(x + by * g / norm))];
                const double step = 0.004;
                var slope = (Loss(linear, ofA ? Moved(a, step) : a, ofA ? b : Moved(b, step)) - Loss(linear, ofA ? Moved(a, -step) : a, ofA ? b : Moved(b, -step))) / (2 * step);
                Assert.InRange(slope / norm, 0.98, 1.02);
                training.SetAdapter(linear, a, b);
            }
        }
    }

    [Fact]
    public void Train_MaskIsOfSeedMicroBatchAndAdapter_AndEvaluationHasNone()
    {
        using var source = Source();
        double[] Losses(double p, int seed, string recompute = "none")
        {
            using var session = Open(source, Shape with { Dropout = p }, recompute, seed);
            return [session.Training.Evaluate(Batch).LossSum, session.Training.Train([Batch], 0).Loss,
                session.Training.Train([Batch], 0).Loss, session.Training.Evaluate(Batch).LossSum];
        }
        var dropped = Losses(0.3, 5);
        var plain = Losses(0, 5);
        Assert.Equal(dropped, Losses(0.3, 5, "full"));
        Assert.Equal((plain[0], plain[3]), (dropped[0], dropped[3]));
        Assert.Equal(plain[1], plain[2]);
        Assert.NotEqual(dropped[1], dropped[2]);
        Assert.NotEqual(dropped[1], plain[1]);
        Assert.NotEqual(dropped[1], Losses(0.3, 6)[1]);
        // Without a mask on anything, the products by adapter are those of the stack but for the order of sums.
        Assert.Equal(plain[1], Losses(1e-12, 5)[1], 1e-5);
    }

    /// <summary>The share of zeros is p within five deviations, what stays is divided by 1 − p, and no two adapters or tokens share a mask.</summary>
    [Fact]
    public unsafe void Kernel_OfManyElements_DropsTheirShare()
    {
        const int rows = 64, columns = 512;
        const double p = 0.25;
        float[] from = [.. Enumerable.Repeat(3f, rows * columns)];
        float[] Run(uint adapter, long number, bool add = false)
        {
            float[] to = [.. Enumerable.Repeat(1f, rows * columns)];
            var table = new[] { new DroppedAdapter { Adapter = adapter, Threshold = 1u << 30, Scale = (float)(1 / (1 - p)), Columns = columns } };
            var key = AdapterDropout.KeyOf(9, number);
            fixed (float* a = to, b = from)
            fixed (DroppedAdapter* d = table)
            fixed (int* k = key)
            {
                var device = new CpuDevice();
                using var program = device.Prepare([new Graph.Runtime.Devices.BoundKernel("", 0, 0, 0, add ? AdapterDropout.AddKernel : AdapterDropout.Kernel,
                    [new((nint)a, columns), new((nint)b, columns), new((nint)d, 0), new((nint)k, 0)], rows)]);
                program.Run();
            }
            return to;
        }
        var one = Run(0, 3);
        Assert.All(one, x => Assert.True(x is 0 or 4));
        Assert.InRange(one.Count(x => x == 0) - p * one.Length, -5 * Math.Sqrt(one.Length * p * (1 - p)), 5 * Math.Sqrt(one.Length * p * (1 - p)));
        Assert.Equal(one.Select(x => 1 + x), Run(0, 3, add: true));
        Assert.Equal(rows, one.Chunk(columns).Select(r => string.Concat(r.Select(x => x == 0 ? '0' : '1'))).Distinct().Count());
        Assert.NotEqual(one, Run(1, 3));
        Assert.NotEqual(one, Run(0, 4));
        Assert.NotEqual(one, Run(0, 3 + (1L << 32)));
    }

    [Fact]
    public void Train_Dropout_StandsInTheConfigAndIsRefusedOutsideOfItsRange()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Train(Commands.Goldens.Data(scratch), output, "--dropout", "0.05", "--steps", "2", "--seq", "48", "--batch-tokens", "96"));
        Assert.Equal(0.05, (double)JsonNode.Parse(File.ReadAllText(Path.Combine(output, "adapter_config.json")))!["lora_dropout"]!);
        var result = Run(Train(Commands.Goldens.Data(scratch), Path.Combine(scratch.Path, "no"), "--dropout", "1", "--steps", "1"));
        Assert.Equal((2, true), (result.Code, result.Error.Contains("--dropout is '1'; it must be a number from 0 to below 1", StringComparison.Ordinal)));
    }
}
