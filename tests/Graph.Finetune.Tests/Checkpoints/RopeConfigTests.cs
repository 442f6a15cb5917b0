using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.Json.Nodes;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Tests.Commands;
using Graph.Runtime;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

/// <summary>Scaled rotary embeddings of config.json: every spelling means the same, and what cannot be read is refused by its field.</summary>
public class RopeConfigTests
{
    static readonly CompiledModel Nano = GraphModels.All.Single(m => m.Name == "nano");
    static readonly Schedule Schedule = ScheduleText.Parse(Nano.Schedule());

    static JsonObject Config() => JsonNode.Parse(File.ReadAllText(Path.Combine(Fixture.Checkpoint, "config.json")))!.AsObject();

    /// <summary>The scalings of the window's layers and of the others, with fields put in the place of rope_parameters.</summary>
    static (RopeScaling Sliding, RopeScaling Full) Read(string fields, CompiledModel? model = null, Schedule? schedule = null)
    {
        using var scratch = new Scratch();
        var config = Config();
        config.Remove("rope_parameters");
        foreach (var (name, value) in JsonNode.Parse("{" + fields + "}")!.AsObject()) config[name] = value?.DeepClone();
        scratch.File("config.json", config.ToJsonString());
        var ropes = ModelConfig.Check(scratch.Path, model ?? Nano, schedule ?? Schedule);
        return (ropes["rope.sliding_attention"], ropes["rope.full_attention"]);
    }

    static string Refusal(string fields)
    {
        var message = Assert.Throws<InputException>(() => Read(fields)).Message;
        Assert.DoesNotContain('\n', message);
        return message;
    }

    public static TheoryData<string, RopeScaling, RopeScaling> Spellings
    {
        get
        {
            RopeScaling none = new LinearRope(1), linear = new LinearRope(4), yarn = new YarnRope(4, 2048, 0.1 * Math.Log(4) + 1);
            return new()
            {
                { "", none, none },
                { "\"rope_scaling\": null, \"rope_theta\": 10000", none, none },
                { "\"rope_parameters\": {}", none, none },
                { "\"rope_parameters\": {\"rope_theta\": 10000.0}", none, none },
                { "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 10000, \"partial_rotary_factor\": 1.0}", none, none },
                { "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}", linear, linear },
                { "\"rope_scaling\": {\"rope_type\": \"linear\", \"type\": \"linear\", \"factor\": 4.0}, \"rope_theta\": 10000.0", linear, linear },
                { "\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 4, \"rope_theta\": 10000}", linear, linear },
                { "\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 4}, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}", linear, linear },
                { "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 4, \"rope_theta\": 10000}, "
                    + "\"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 10000}}", none, linear },
                { "\"rope_scaling\": {\"sliding_attention\": {\"type\": \"linear\", \"factor\": 4}, "
                    + "\"full_attention\": {\"type\": \"linear\", \"factor\": 4}, \"other\": {\"rope_type\": \"default\"}}", linear, linear },
                { "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}, \"max_position_embeddings\": 4096", new DynamicRope(2, 4096), new DynamicRope(2, 4096) },
                { "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 2048, \"attention_factor\": null}", yarn, yarn },
                { "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}, \"max_position_embeddings\": 2048", yarn, yarn },
                { "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": null, \"original_max_position_embeddings\": 2048}, \"max_position_embeddings\": 8192", yarn, yarn },
                { "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 9}, \"original_max_position_embeddings\": 2048", yarn, yarn },
                {
                    "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 512, "
                        + "\"attention_factor\": 1.5, \"beta_fast\": 16, \"beta_slow\": 2, \"truncate\": false}",
                    new YarnRope(4, 512, 1.5, 16, 2, false), new YarnRope(4, 512, 1.5, 16, 2, false)
                },
                {
                    "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 40, \"original_max_position_embeddings\": 4096, \"mscale\": 0.707, \"mscale_all_dim\": 1.0}",
                    new YarnRope(40, 4096, (0.0707 * Math.Log(40) + 1) / (0.1 * Math.Log(40) + 1)), new YarnRope(40, 4096, (0.0707 * Math.Log(40) + 1) / (0.1 * Math.Log(40) + 1))
                },
                {
                    "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}",
                    new Llama3Rope(8, 1, 4, 8192), new Llama3Rope(8, 1, 4, 8192)
                },
            };
        }
    }

    [Theory, MemberData(nameof(Spellings))]
    public void Read_EverySpelling_IsTheScalingOfEachTypeOfLayer(string fields, RopeScaling sliding, RopeScaling full)
    {
        var read = Read(fields);
        Same(sliding, read.Sliding);
        Same(full, read.Full);

        // A factor that was computed may differ in its last bit.
        static void Same(RopeScaling expected, RopeScaling actual)
        {
            if (expected is YarnRope a && actual is YarnRope b) Assert.Equal(a.AttentionFactor, b.AttentionFactor, 1e-12);
            Assert.Equal(expected is YarnRope e ? e with { AttentionFactor = 1 } : expected, actual is YarnRope y ? y with { AttentionFactor = 1 } : actual);
        }
    }

    [Theory]
    [InlineData("\"rope_scaling\": 4", "rope_scaling is 4, not an object")]
    [InlineData("\"rope_scaling\": {\"factor\": 2}", "rope_scaling has no rope_type")]
    [InlineData("\"rope_scaling\": {\"rope_type\": \"linear\", \"type\": \"yarn\", \"factor\": 2}", "rope_scaling.type is \"yarn\"; rope_type says \"linear\"")]
    [InlineData("\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2}", "rope_scaling.rope_type is \"longrope\"; default, linear, dynamic, yarn and llama3 can be read")]
    [InlineData("\"rope_scaling\": {\"type\": 7}", "rope_scaling.rope_type is 7;")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\"}", "rope_scaling.factor is not there")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\", \"factor\": \"2\"}", "rope_scaling.factor is \"2\"; it must be a number of at least 1")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", "rope_scaling.factor is 0; it must be a number of at least 1")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 1e999}", "rope_scaling.factor is 1e999;")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"beta_fast\": 32}",
        "rope_scaling.beta_fast is 32; a rotary embedding of type linear has no such setting")]
    [InlineData("\"rope_parameters\": {\"rope_type\": \"default\", \"factor\": 2}", "rope_parameters.factor is 2; a rotary embedding of type default has no such setting")]
    [InlineData("\"rope_parameters\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}", "rope_parameters.partial_rotary_factor is 0.5;")]
    [InlineData("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"beta_fast\": 1, \"beta_slow\": 2}", "rope_scaling.beta_fast is 1; it must be at least beta_slow, 2")]
    [InlineData("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"truncate\": 1}", "rope_scaling.truncate is 1; it must be true or false")]
    [InlineData("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4}, \"max_position_embeddings\": 0", "max_position_embeddings is 0; it must be a number of at least 1")]
    [InlineData("\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 4, \"low_freq_factor\": 4, \"high_freq_factor\": 1}",
        "rope_scaling.high_freq_factor is 1; it must be greater than low_freq_factor, 4")]
    [InlineData("\"rope_parameters\": {\"rope_type\": \"default\"}, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}", "rope_parameters and rope_scaling are not the same")]
    [InlineData("\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}", "rope_parameters has no entry for sliding_attention")]
    [InlineData("\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}, \"sliding_attention\": null}",
        "rope_parameters has settings of single types of layer beside sliding_attention, which is null")]
    [InlineData("\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}, \"rope_theta\": 10000}", "beside rope_theta, which is 10000")]
    [InlineData("\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1000000.0}, \"sliding_attention\": {\"rope_theta\": 10000.0}}",
        "rope_parameters.full_attention.rope_theta is 1000000.0 but the variant nano has 10000")]
    [InlineData("\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"su\"}, \"sliding_attention\": {\"rope_type\": \"default\"}}",
        "rope_parameters.full_attention.rope_type is \"su\"")]
    public void Read_WhatIsNoScaling_IsRefusedByItsField(string fields, string says) => Assert.Contains(says, Refusal(fields));

    [Fact]
    public void Read_ThetaThatDiffersOnPurpose_KeepsTheScaling()
    {
        var model = Nano with { Changes = () => new CheckpointChanges(["rope_theta"], []) };
        Assert.Equal(new LinearRope(2), Read("\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 5000}", model).Full);
    }

    [Fact]
    public void Read_LayersOfNoType_NeedOneScaling()
    {
        var schedule = Schedule with { Tensors = [.. Schedule.Tensors.Select(t => t.Rope is { } rope ? t with { Rope = rope with { Layers = null } } : t)] };
        string Both(int factor) =>
            $"\"rope_parameters\": {{\"full_attention\": {{\"type\": \"linear\", \"factor\": {factor}}}, \"sliding_attention\": {{\"type\": \"linear\", \"factor\": 2}}}}";
        Assert.Equal((new LinearRope(2), new LinearRope(2)), Read(Both(2), schedule: schedule));
        Assert.Contains("rope_parameters.full_attention and rope_parameters.sliding_attention are not the same",
            Assert.Throws<InputException>(() => Read(Both(3), schedule: schedule)).Message);
    }

    /// <summary>What reaches the kernels: a factor of 1 and a document within the trained positions change no bit, each type of layer is scaled by its own entry.</summary>
    [Fact]
    public void Eval_OfScaledCheckpoints_DiffersWhereTheAnglesDo()
    {
        using var scratch = new Scratch();
        foreach (var file in Directory.GetFiles(Fixture.Checkpoint)) File.Copy(file, Path.Combine(scratch.Path, Path.GetFileName(file)));
        var data = Goldens.Data(scratch);
        double Loss(string settings, int positions = 8192)
        {
            var config = Config();
            config["max_position_embeddings"] = positions;
            config["rope_parameters"] = JsonNode.Parse(settings);
            scratch.File("config.json", config.ToJsonString());
            var text = Gemma2Run.Succeed("eval", "--variant", "nano", "--model", scratch.Path, "--device", "cpu", "--data", data, "--seq", "48", "--batch-tokens", "96", "--json");
            return JsonDocument.Parse(text).RootElement.GetProperty("eval_loss").GetDouble();
        }
        const string linear = "{\"rope_type\":\"linear\",\"factor\":4}", none = "{\"rope_type\":\"default\"}", dynamic = "{\"rope_type\":\"dynamic\",\"factor\":2}";
        string Each(string full, string sliding) => $"{{\"full_attention\":{full},\"sliding_attention\":{sliding}}}";
        var plain = Loss(none);
        Assert.InRange(plain / Goldens.Numbers.GetProperty("base_loss").GetDouble(), 1 - 1e-5, 1 + 1e-5);
        Assert.Equal(plain, Loss("{\"rope_type\":\"yarn\",\"factor\":1}"));
        Assert.Equal(plain, Loss(dynamic, 48));
        Assert.Equal(Loss(linear), Loss(Each(linear, linear)));
        double[] different = [plain, Loss(dynamic, 47), Loss(linear), Loss(Each(linear, none)), Loss(Each(none, linear)),
            Loss("{\"rope_type\":\"yarn\",\"factor\":1,\"attention_factor\":1.1}")];
        Assert.Equal(different.Length, different.Distinct().Count());
    }
}
