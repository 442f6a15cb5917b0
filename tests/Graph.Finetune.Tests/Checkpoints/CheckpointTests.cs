using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

public class CheckpointTests
{
    static readonly Graph.Runtime.CompiledModel Model = GraphModels.All.Single(m => m.Name == "nano");
    static readonly Schedule Nano = ScheduleText.Parse(Model.Schedule());

    /// <summary>The fixture's tensors in two shards with an index; <paramref name="change"/> edits the map before it is written.</summary>
    static string Sharded(Scratch scratch, Action<Dictionary<string, string>>? change = null)
    {
        using var whole = SafetensorsFile.Open(Path.Combine(Fixture.Checkpoint, "model.safetensors"));
        var names = whole.Tensors.Keys.Order(StringComparer.Ordinal).ToArray();
        var map = names.Select((name, i) => (name, Shard: $"model-0000{1 + i % 2}-of-00002.safetensors")).ToDictionary(t => t.name, t => t.Shard);
        foreach (var shard in map.GroupBy(t => t.Value))
            SafetensorsWriter.Write(Path.Combine(scratch.Path, shard.Key),
                [.. shard.Select(t => whole.Tensors[t.Key]).Select(e => new SafetensorsTensor(e.Name, e.DType, e.Shape, whole.Bytes(e, 0, (int)e.Length).ToArray()))],
                new Dictionary<string, string>());
        change?.Invoke(map);
        scratch.File("model.safetensors.index.json", "{\"metadata\":{},\"weight_map\":{"
            + string.Join(',', map.Select(t => $"\"{t.Key}\":{JsonSerializer.Serialize(t.Value)}")) + "}}");
        return scratch.Path;
    }

    [Fact]
    public void Open_Shards_GiveTheRowsOfTheWhole()
    {
        using var scratch = new Scratch();
        using var shards = Checkpoint.Open(Sharded(scratch));
        using var whole = Checkpoint.Open(Fixture.Checkpoint);
        shards.Check(Nano, Model);
        Assert.Equal(whole.Names.Order(), shards.Names.Order());
        foreach (var name in whole.Names)
        {
            var shape = whole.Describe(name).Shape;
            var rows = shape.Count > 1 ? shape[0] : 1;
            Assert.Equal(whole.Rows(name, rows / 2, rows - rows / 2, []).ToArray(), shards.Rows(name, rows / 2, rows - rows / 2, []).ToArray());
        }
    }

    [Theory]
    [InlineData("../model-00001-of-00002.safetensors"), InlineData("/etc/passwd"), InlineData("a/b.safetensors"),
     InlineData("..\\b.safetensors"), InlineData("model.bin"), InlineData(".safetensors")]
    public void Open_ShardNameThatLeavesTheDirectory_IsRefused(string shard)
    {
        using var scratch = new Scratch();
        Assert.Contains("plain name", Assert.Throws<InputException>(() => Checkpoint.Open(Sharded(scratch, map => map["model.norm.weight"] = shard)).Dispose()).Message);
    }

    [Fact]
    public void Open_IndexAndShardsThatDisagree_AreRefused()
    {
        foreach (var (change, says) in new (Action<Dictionary<string, string>>, string)[]
        {
            (map => map["model.norm.weight"] = map["model.norm.weight"].Contains("00001-")
                ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors", "different downloads"),
            (map => map.Remove("model.norm.weight"), "nothing of it"),
            (map => map["model.norm.weight"] = "model-00003-of-00003.safetensors", "cannot be read"),
            (map => map.Clear(), "names no tensor"),
        })
        {
            using var scratch = new Scratch();
            Assert.Contains(says, Assert.Throws<InputException>(() => Checkpoint.Open(Sharded(scratch, change)).Dispose()).Message);
        }
    }

    [Theory]
    [InlineData("missing", "has no tensor model.norm.weight"), InlineData("shape", "model.norm.weight is [64]"), InlineData("dtype", "weights must be F32, BF16 or F16")]
    public void Check_TensorThatDoesNotFit_IsNamed(string fault, string says)
    {
        using var scratch = new Scratch();
        using (var whole = SafetensorsFile.Open(Path.Combine(Fixture.Checkpoint, "model.safetensors")))
            SafetensorsWriter.Write(Path.Combine(scratch.Path, "model.safetensors"), [.. whole.Tensors.Values.Where(e => fault != "missing" || e.Name != "model.norm.weight")
                .Select(e => (e.Name, fault) switch
            {
                ("model.norm.weight", "shape") => new SafetensorsTensor(e.Name, "F32", [64], new byte[256]),
                ("model.norm.weight", "dtype") => new SafetensorsTensor(e.Name, "I32", [128], new byte[512]),
                _ => new SafetensorsTensor(e.Name, e.DType, e.Shape, whole.Bytes(e, 0, (int)e.Length).ToArray()),
            })], new Dictionary<string, string>());
        using var checkpoint = Checkpoint.Open(scratch.Path);
        Assert.Contains(says, Assert.Throws<InputException>(() => checkpoint.Check(Nano, Model)).Message);
    }

    [Theory]
    [InlineData("\"rope_theta\": 10000.0", "\"rope_theta\": 5000.0", "rope_theta"),
     InlineData("\"rope_type\": \"default\"", "\"rope_type\": \"linear\"", "rope_parameters.factor is not there"),
     InlineData("\"final_logit_softcapping\": 30.0", "\"final_logit_softcapping\": null", "final_logit_softcapping"),
     InlineData("\"head_dim\": 32", "\"head_dim\": 64", "head_dim"),
     InlineData("\"sliding_window\": 16", "\"sliding_window\": 17", "sliding_window"),
     InlineData("\"num_key_value_heads\": 2", "\"num_key_value_heads\": \"2\"", "num_key_value_heads"),
     InlineData("\"use_cache\": true", "\"rope_scaling\": {\"factor\": 2}", "rope_scaling"), InlineData("\"attention_bias\": false", "\"attention_bias\": true", "attention_bias")]
    public void Config_ThatDiffersFromTheVariant_IsRefusedByField(string was, string becomes, string field)
    {
        using var scratch = new Scratch();
        var config = File.ReadAllText(Path.Combine(Fixture.Checkpoint, "config.json"));
        Assert.Contains(was, config);
        scratch.File("config.json", config.Replace(was, becomes));
        Assert.Contains(field, Assert.Throws<InputException>(() => ModelConfig.Check(scratch.Path, Model, Nano)).Message);
    }

    [Fact]
    public void Config_InTheOldSpelling_IsRead()
    {
        using var scratch = new Scratch();
        var config = File.ReadAllText(Path.Combine(Fixture.Checkpoint, "config.json")).ReplaceLineEndings("\n").Replace("\"dtype\"", "\"torch_dtype\"");
        var at = config.IndexOf("  \"rope_parameters\"", StringComparison.Ordinal);
        config = config[..at] + "  \"rope_theta\": 10000.0" + config[(config.IndexOf('}', at) + 1)..];
        scratch.File("config.json", config);
        ModelConfig.Check(scratch.Path, Model, Nano);
    }
}
