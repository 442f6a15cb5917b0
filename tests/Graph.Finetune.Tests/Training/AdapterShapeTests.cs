using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json.Nodes;
using Graph.Finetune.Adapters;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Training;

/// <summary>Which linears get an adapter, and rank and alpha of each.</summary>
public class AdapterShapeTests
{
    static readonly Schedule Nano = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());

    static readonly string[] Seven = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

    public static TheoryData<string[], int[], string[]> Choices => new()
    {
        { ["q_proj"], [1, 3], ["1.self_attn.q_proj", "3.self_attn.q_proj"] },
        { ["mlp.down_proj"], [], ["0.mlp.down_proj", "1.mlp.down_proj", "2.mlp.down_proj", "3.mlp.down_proj"] },
        { ["layers.2.mlp.*"], [], ["2.mlp.gate_proj", "2.mlp.up_proj", "2.mlp.down_proj"] },
        { ["*k_proj"], [0], ["0.self_attn.k_proj"] },
        { [".*k_proj", "model.layers.3.mlp.up_proj"], [0, 3], ["0.self_attn.k_proj", "3.self_attn.k_proj", "3.mlp.up_proj"] },
        { [@"layers\.[12]\..*(gate|up)_proj"], [], ["1.mlp.gate_proj", "1.mlp.up_proj", "2.mlp.gate_proj", "2.mlp.up_proj"] },
        { [], [2], [.. Seven.Select(l => "2." + l)] },
        { ["*"], [0], [.. Seven.Select(l => "0." + l)] },
    };

    [Theory, MemberData(nameof(Choices))]
    public void Create_NamesPatternsAndLayers_MeanTheseLinearsAndSoDoesTheFile(string[] targets, int[] layers, string[] expected)
    {
        using var scratch = new Scratch();
        var settings = AdapterSettings.Create(Nano, new AdapterShape(4, 8, false, targets) { Layers = layers.Length == 0 ? null : layers });
        Assert.Equal(expected.Select(e => "model.layers." + e).Order(), settings.Ranks.Adapters.Select(a => a.Linear).Order());
        PeftAdapter.Save(scratch.Path, Zeros(settings), null);
        Assert.Equal(settings.Ranks.Adapters.Select(a => a.Linear), PeftAdapter.Load(scratch.Path, Nano).Modules.Select(m => m.Linear));
    }

    public static TheoryData<string, AdapterShape> Wrong => new()
    {
        { "no linear of nano is named 'z_proj'", new AdapterShape(4, 8, false, ["z_proj"]) },
        { "--targets has 'layers.9.*', which means none of the linears", new AdapterShape(4, 8, false, ["q_proj", "layers.9.*"]) },
        { "--targets has 'layers.3.mlp.up_proj', which means none", new AdapterShape(4, 8, false, ["q_proj", "layers.3.mlp.up_proj"]) { Layers = [0] } },
        { "--targets has '(q', which is no name", new AdapterShape(4, 8, false, ["(q"]) },
        { "--layers has 4, but nano has layers 0 to 3", new AdapterShape(4, 8, false, []) { Layers = [1, 4] } },
        { "--rank-pattern has 'up_proj', which means none of the linears q_proj", new AdapterShape(4, 8, false, ["q_proj"]) { Ranks = [("up_proj", 3)] } },
        { "--alpha-pattern has '[', which is no name", new AdapterShape(4, 8, false, []) { Alphas = [("[", 3)] } },
        { "no regular expression: it has 4097 characters, and at most 4096 are read.", new AdapterShape(4, 8, false, []) { Ranks = [(new string('p', 4097), 3)] } },
        { "--rank-pattern has '" + new string('p', 80) + "…', which means none", new AdapterShape(4, 8, false, []) { Ranks = [(new string('p', 4096), 3)] } },
        { "outside 0 to 256", new AdapterShape(4, 8, false, []) { Ranks = [("up_proj", 257)] } },
    };

    [Theory, MemberData(nameof(Wrong))]
    public void Create_WhatIsNotThere_IsRefusedByName(string says, AdapterShape shape) =>
        Assert.Contains(says, Assert.Throws<UsageException>(() => AdapterSettings.Create(Nano, shape)).Message);

    [Fact]
    public void Save_RanksAndAlphasOfTheirOwn_StandInBothPatternsAndComeBack()
    {
        using var scratch = new Scratch();
        var shape = new AdapterShape(4, 8, true, []) { Ranks = [("layers.1.mlp.up_proj", 2), ("o_proj", 7)], Alphas = [("q_proj", 3.5), ("*o_proj", 8)] };
        var settings = AdapterSettings.Create(Nano, shape);
        PeftAdapter.Save(scratch.Path, Zeros(settings), null);
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(scratch.Path, PeftAdapter.ConfigName)))!;
        Assert.Equal("{\"model.layers.1.mlp.up_proj\":2,\"o_proj\":7,\"q_proj\":4}", config["rank_pattern"]!.ToJsonString());
        Assert.Equal("{\"model.layers.1.mlp.up_proj\":8,\"o_proj\":8,\"q_proj\":3.5}", config["alpha_pattern"]!.ToJsonString());
        var loaded = AdapterSettings.Of(PeftAdapter.Load(scratch.Path, Nano), Nano);
        Assert.Equal(settings.Ranks.Adapters, loaded.Ranks.Adapters);
        Assert.Equal(3.5 / Math.Sqrt(4), loaded.Ranks.Adapters.First(a => a.Linear.EndsWith("q_proj", StringComparison.Ordinal)).Scale);
        Assert.Equal(8 / Math.Sqrt(7), loaded.Ranks.Adapters.First(a => a.Linear.EndsWith("o_proj", StringComparison.Ordinal)).Scale);
    }

    /// <summary>B twice as large is alpha twice as large: with powers of two to the bit, and dB is then half.</summary>
    [Theory, InlineData(8), InlineData(null)]
    public void Step_AlphaOfItsOwn_IsTheStepOfALargerB(int? otherRank)
    {
        var even = new AdapterShape(4, 8, false, ["q_proj", "k_proj", "v_proj", "down_proj"])
            { Ranks = otherRank is { } r ? [("k_proj", r)] : [], Alphas = otherRank is { } s ? [("k_proj", 2.0 * s)] : [] };
        var scaled = even with { Alphas = [.. even.Alphas, ("q_proj", 16), ("layers.2.mlp.down_proj", 2)] };
        static float FactorOf(string linear) => linear.EndsWith("q_proj", StringComparison.Ordinal) ? 2 : linear == "model.layers.2.mlp.down_proj" ? 0.25f : 1;
        var (loss, gradients) = Step(scaled, _ => 1);
        var (same, expected) = Step(even, FactorOf);
        Assert.Equal(same, loss);
        foreach (var (linear, (a, b)) in gradients)
        {
            Assert.Equal(expected[linear].A, a);
            Assert.Equal(expected[linear].B.Select(x => x * FactorOf(linear)), b);
            Assert.Contains(b, x => x != 0);
        }
        Assert.NotEqual(loss, Step(even, _ => 1).Loss);
    }

    static (double Loss, Dictionary<string, (float[] A, float[] B)> Gradients) Step(AdapterShape shape, Func<string, float> factor)
    {
        using var source = ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), Fixture.Checkpoint);
        var request = new SessionRequest(AdapterSettings.Create(source.Schedule, shape), 32, 32, 1, "none", new AdamOptions(), 5);
        using var session = ModelSession.Open(source, new DeviceRequest(DeviceKind.Cpu, null), request, _ => { });
        foreach (var (slot, number) in request.Adapter.Ranks.Adapters.Select((a, i) => (a, i)))
        {
            var random = new Random(number);
            float[] Values(int count, float size) => [.. Enumerable.Range(0, count).Select(_ => size * (random.NextSingle() - 0.5f))];
            session.Training.SetAdapter(slot.Linear, Values(slot.Rank * slot.In, 0.2f), [.. Values(slot.Out * slot.Rank, 0.2f).Select(b => b * factor(slot.Linear))]);
        }
        int[] ids = [.. Enumerable.Range(0, 32).Select(i => 7 * i + 3)];
        var loss = session.Training.Train([MicroBatch.Pack(32, [(ids, ids)])], 0).Loss;
        return (loss, request.Adapter.Ranks.Adapters.ToDictionary(a => a.Linear, a => session.Training.GetGradient(a.Linear)));
    }

    /// <summary>The first step of AdamW moves every weight by the learning rate.</summary>
    [Theory, InlineData("adamw"), InlineData("adamw8bit")]
    public void Train_LoraPlus_MovesBByTheRatio(string optimizer)
    {
        using var scratch = new Scratch();
        string[] Options(string ratio) => ["--steps", "1", "--lr", "0.001", "--weight-decay", "0",
            "--optimizer", optimizer, "--lora-plus-ratio", ratio, "--seq", "48", "--batch-tokens", "96"];
        string one = Path.Combine(scratch.Path, "one"), sixteen = Path.Combine(scratch.Path, "sixteen"), data = Commands.Goldens.Data(scratch);
        Succeed(Train(data, one, Options("1")));
        Succeed(Train(data, sixteen, Options("16")));
        PeftAdapter.Load(one, Nano).Modules.Zip(PeftAdapter.Load(sixteen, Nano).Modules, (a, b) => (a, b)).ToList().ForEach(m =>
        {
            Assert.Equal(m.a.A, m.b.A);
            Assert.InRange(Commands.Goldens.Distance(m.b.B, [.. m.a.B.Select(x => 16 * x)]), 0, 1e-6);
        });
    }

    /// <summary>The loss of a step is the mean over all labels of its micro-batches, so how rows are cut into micro-batches changes no more than the order of sums.</summary>
    [Fact]
    public void Train_FourRowsInOneOrFourMicroBatches_IsTheSameStep()
    {
        using var scratch = new Scratch();
        // Rows of very different numbers of labels: a mean of means would be far off.
        var data = scratch.File("rows.jsonl", Enumerable.Range(0, 8)
            .Select(i => $"{{\"input_ids\":[{string.Join(',', Enumerable.Range(0, 16).Select(t => 31 * i + 7 * t + 3))}],"
                + $"\"labels\":[{string.Join(',', Enumerable.Range(0, 16).Select(t => t < 15 - i * 2 ? -100 : 31 * i + 7 * t + 3))}]}}"));
        string one = Path.Combine(scratch.Path, "one"), four = Path.Combine(scratch.Path, "four");
        string[] options = ["--steps", "6", "--lr", "0.002", "--seq", "16", "--packing", "off"];
        Succeed(Train(data, one, [.. options, "--batch-tokens", "64"]));
        Succeed(Train(data, four, [.. options, "--batch-tokens", "16", "--grad-accum", "4"]));
        Assert.All(Losses(one).Zip(Losses(four)), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
        Assert.All(PeftAdapter.Load(one, Nano).Modules.Zip(PeftAdapter.Load(four, Nano).Modules),
            pair => Assert.InRange(Commands.Goldens.Distance(pair.First.B, pair.Second.B), 0, 1e-3));
    }

    static AdapterFile Zeros(AdapterSettings settings) => settings.Of(new TrainState(0, 0, 0,
        [.. settings.Ranks.Adapters.Select(a => new AdapterState(a.Linear, a.Rank, Matrix(a.Rank * a.In), Matrix(a.Out * a.Rank)))], default));

    static MatrixState Matrix(int count) => new(new float[count], new Fp32Moment([]), new Fp32Moment([]));
}
