using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Commands;
using Graph.Finetune.Tests.Commands;
using Graph.Runtime;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

/// <summary>A checkpoint must be what the model reads, tensor by tensor and field by field, but for what the model's Changes name.</summary>
public class ChangesTests
{
    static readonly CompiledModel Nano = GraphModels.All.Single(m => m.Name == "nano");

    static readonly Schedule Schedule = ScheduleText.Parse(Nano.Schedule());

    static CompiledModel Changed(params string[] changes) => Nano with { Changes = () => new CheckpointChanges(changes, []) };

    static CompiledModel Short(params string[] changes) =>
        Changed(changes) with { Name = "nano-short", Config = () => [.. Nano.Config().Select(f => f.Key == "sliding_window" ? KeyValuePair.Create(f.Key, (object?)8) : f)] };

    /// <summary>The fixture's checkpoint without some tensors and with others.</summary>
    static string Model(Scratch scratch, Func<string, bool> without, params string[] more)
    {
        foreach (var file in Directory.GetFiles(Fixture.Checkpoint)) File.Copy(file, Path.Combine(scratch.Path, Path.GetFileName(file)), true);
        using var whole = SafetensorsFile.Open(Path.Combine(Fixture.Checkpoint, "model.safetensors"));
        SafetensorsWriter.Write(Path.Combine(scratch.Path, "model.safetensors"),
            [.. whole.Tensors.Values.Where(t => !without(t.Name)).Select(e => new SafetensorsTensor(e.Name, e.DType, e.Shape, whole.Bytes(e, 0, (int)e.Length).ToArray())),
             .. more.Select(name => new SafetensorsTensor(name, "F32", [2], new byte[8]))], new Dictionary<string, string>());
        return scratch.Path;
    }

    static string? Refusal(CompiledModel model, Func<string, bool> without, params string[] more)
    {
        using var scratch = new Scratch();
        using var checkpoint = Checkpoint.Open(Model(scratch, without, more));
        return Record.Exception(() => checkpoint.Check(ScheduleText.Parse(model.Schedule()), model))?.Message;
    }

    [Fact]
    public void Tensors_ThatTheModelDoesNotRead_AreNamedAndCounted()
    {
        var message = Refusal(Nano, _ => false, [.. Enumerable.Range(0, 5).Select(i => $"model.layers.{i}.gain")]);
        Assert.Contains("holds model.layers.0.gain, model.layers.1.gain, model.layers.2.gain and 2 more, which nano does not read", message);
        Assert.Contains("Changes", message);
        Assert.Contains("holds model.layers.4.gain, which", Refusal(Changed("model.layers.0.gain", "sliding_window"), _ => false, "model.layers.0.gain", "model.layers.4.gain"));
    }

    [Fact]
    public void Tensors_ThatAreMissing_AreNamedAndCounted() =>
        Assert.Contains("has no tensor model.layers.0.post_attention_layernorm.weight, model.layers.1.post_attention_layernorm.weight, "
            + "model.layers.2.post_attention_layernorm.weight and 1 more, which nano needs",
            Refusal(Changed("*"), n => n.Contains("post_attention")));

    [Fact]
    public void Tensors_LeftOutOnPurpose_AreNoDifference() => Assert.Null(Refusal(Changed("model.layers.*.gain"), _ => false, "model.layers.0.gain", "model.layers.11.gain"));

    [Fact]
    public void Tensors_ThatSayNothing_AreNoDifference()
    {
        Assert.Null(Refusal(Nano, _ => false, "lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"));
        var untied = Nano with { Config = () => [.. Nano.Config().Where(f => f.Key != "tie_word_embeddings")] };
        Assert.Contains("holds lm_head.weight, which", Refusal(untied, _ => false, "lm_head.weight"));
    }

    [Fact]
    public void Config_OfAFieldThatDiffersOnPurpose_IsNotCompared()
    {
        var message = Assert.Throws<InputException>(() => ModelConfig.Check(Fixture.Checkpoint, Short(), Schedule)).Message;
        Assert.Contains("sliding_window is 16 but the variant nano-short has 8; choose the variant of this checkpoint, or name sliding_window in the variant's Changes", message);
        ModelConfig.Check(Fixture.Checkpoint, Short("sliding_window"), Schedule);
        // The others still are.
        Assert.Throws<InputException>(() => ModelConfig.Check(Fixture.Checkpoint, Short("hidden_size", "model.norm.weight"), Schedule));
    }

    [Fact]
    public void Overrides_OfWhichNothingIsSaid_AreANote()
    {
        using var scratch = new Scratch();
        (int, string) Eval(params string[] changes)
        {
            using var error = new StringWriter();
            var model = Nano with { Changes = () => new CheckpointChanges(changes, ["DecoderLayer.Mlp"]) };
            return (CommandLine.Run(["eval", "--model", Fixture.Checkpoint, "--device", "cpu", "--data", Goldens.Data(scratch), "--seq", "48", "--batch-tokens", "96"], [model],
                new Terminal(TextWriter.Null, error, false)), error.ToString());
        }
        var (code, note) = Eval();
        Assert.Equal(0, code);
        Assert.StartsWith("note: nano overrides DecoderLayer.Mlp, of which a checkpoint says nothing", note);
        Assert.Equal((0, ""), Eval("DecoderLayer.Mlp"));
    }

    [Fact]
    public void Train_OnACheckpointOfAnotherStructure_EndsWithCode3()
    {
        using var scratch = new Scratch();
        using var data = new Scratch();
        var result = Gemma2Run.Run(Gemma2Run.Train(Goldens.Data(data), Path.Combine(data.Path, "out"), "--model", Model(scratch, _ => false, "model.layers.0.gain")));
        Assert.Equal(3, result.Code);
        Assert.Contains("model.layers.0.gain, which nano does not read", Assert.Single(result.Error.TrimEnd().Split('\n')));
    }
}
