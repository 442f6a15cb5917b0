using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.Json.Nodes;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

public class ShardAndConfigTests
{
    const string Index = "model.safetensors.index.json", First = "model-00001-of-00002.safetensors", Second = "model-00002-of-00002.safetensors";

    [Fact]
    public void Open_Shards_ReadsTheSameRowsAsOneFile()
    {
        using var scratch = new Scratch();
        using var whole = Checkpoint.Open(Fixture.Checkpoint);
        using var sharded = Checkpoint.Open(Shard(scratch, map => map));
        sharded.Check(ScheduleText.Parse(Gemma2Model().Schedule()), Gemma2Model());
        Assert.Equal(whole.Names.Order(), sharded.Names.Order());
        foreach (var name in whole.Names)
        {
            var stored = whole.Describe(name);
            Assert.Equal(stored.Shape, sharded.Describe(name).Shape);
            var (from, rows) = stored.Shape.Count == 1 ? (0, 1) : (1, stored.Shape[0] - 1);
            Assert.True(whole.Rows(name, from, rows, []).SequenceEqual(sharded.Rows(name, from, rows, [])), name);
        }
    }

    public static TheoryData<string> Paths => ["../other/a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..\\a.safetensors",
        "C:a.safetensors", ".safetensors", "..safetensors", "model.bin", "", "a.safetensors\0.safetensors"];

    [Theory, MemberData(nameof(Paths))]
    public void Open_ShardNameThatLeadsAway_IsRefusedBeforeAnythingIsOpened(string shard)
    {
        using var scratch = new Scratch();
        // The file is there, so that only the rule can refuse it.
        var directory = Shard(scratch, map => map.ToDictionary(m => m.Key, _ => shard));
        Directory.CreateDirectory(Path.Combine(scratch.Path, "other"));
        File.Copy(Path.Combine(Fixture.Checkpoint, "model.safetensors"), Path.Combine(scratch.Path, "other", "a.safetensors"));
        Assert.Contains("plain name", Assert.Throws<InputException>(() => Checkpoint.Open(directory)).Message);
    }

    [Fact]
    public void Open_IndexThatDisagrees_NamesTheTensor()
    {
        using var scratch = new Scratch();
        const string norm = "model.norm.weight";
        var directory = Shard(scratch, map => map);
        void Says(string text, Func<Dictionary<string, string>, Dictionary<string, string>> change)
        {
            Write(directory, change(Map(scratch)));
            Assert.Contains(text, Assert.Throws<InputException>(() => Checkpoint.Open(directory)).Message);
        }
        var home = Map(scratch)[norm];
        Says($"says that {norm} is in", m => new(m) { [norm] = home == First ? Second : First });
        Says($"holds {norm}", m => new(m.Where(t => t.Key != norm)));
        Says("says that ghost is in", m => new(m) { ["ghost"] = First });
        Says("missing.safetensors cannot be read", m => new(m) { ["ghost"] = "missing.safetensors" });
        Says("names no tensor", _ => []);
        foreach (var text in new[] { "[]", "{}", "{\"weight_map\":1}", "{\"weight_map\":{\"a\":1}}", "{",
            "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}", "{\"weight_map\":{\"\\ud800\":\"x.safetensors\"}}" })
        {
            File.WriteAllText(Path.Combine(directory, Index), text);
            Assert.StartsWith(Path.Combine(directory, Index), Assert.Throws<InputException>(() => Checkpoint.Open(directory)).Message);
        }
    }

    [Fact]
    public void Check_AnotherModel_NamesTheTensorAndBothShapes()
    {
        using var scratch = new Scratch();
        var schedule = ScheduleText.Parse(Gemma2Model().Schedule());
        string Message(string name, string dtype, long[] shape)
        {
            using var source = SafetensorsFile.Open(Path.Combine(Fixture.Checkpoint, "model.safetensors"));
            var tensors = source.Tensors.Values.Where(t => t.Name != name)
                .Select(t => new SafetensorsTensor(t.Name, t.DType, t.Shape, source.Bytes(t, 0, (int)t.Length).ToArray())).ToList();
            if (shape.Length > 0) tensors.Add(new SafetensorsTensor(name, dtype, shape, new byte[shape.Aggregate(1L, (a, b) => a * b) * SafetensorsHeader.ElementBytes(dtype)]));
            SafetensorsWriter.Write(Path.Combine(scratch.Path, "model.safetensors"), tensors, new Dictionary<string, string>());
            using var checkpoint = Checkpoint.Open(scratch.Path);
            return Assert.Throws<InputException>(() => checkpoint.Check(schedule, Gemma2Model())).Message;
        }
        const string q = "model.layers.2.self_attn.q_proj.weight";
        Assert.Contains($"has no tensor {q}", Message(q, "F32", []));
        Assert.Contains($"{q} is [128,64] but nano needs [128,128]", Message(q, "F32", [128, 64]));
        Assert.Contains($"{q} is I8", Message(q, "I8", [128, 128]));
        Assert.Contains("model.norm.weight is [1,128] but nano needs [128]", Message("model.norm.weight", "BF16", [1, 128]));
    }

    sealed record Change(string Says, Action<JsonObject>? Apply);

    static readonly Dictionary<string, Change> Changes = new()
    {
        ["hidden_size"] = new("hidden_size is 256 but the variant nano has 128", c => c["hidden_size"] = 256),
        ["missing"] = new("head_dim is not there but the variant nano has 32", c => c.Remove("head_dim")),
        ["softcap off"] = new("attn_logit_softcapping is null but the variant nano has 50", c => c["attn_logit_softcapping"] = null),
        ["Gemma 1"] = new("model_type is \"gemma\" but", c => c["model_type"] = "gemma"),
        ["activation"] = new("hidden_activation is \"gelu\" but", c => c["hidden_activation"] = "gelu"),
        ["theta, new"] = new("rope_theta is 1000 but", c => c["rope_parameters"]!["rope_theta"] = 1000),
        ["theta, old"] = new("rope_theta is 5000 but", c => { c.Remove("rope_parameters"); c["rope_theta"] = 5000; }),
        ["theta, both, not the same"] = new("rope_theta is 5000 but", c => c["rope_theta"] = 5000),
        ["theta, the second of both"] = new("rope_theta is 1000 but", c => { c["rope_theta"] = 10000; c["rope_parameters"]!["rope_theta"] = 1000; }),
        ["quantized"] = new("quantization_config is", c => c["quantization_config"] = new JsonObject { ["bits"] = 4 }),
        ["bias"] = new("attention_bias is true but", c => c["attention_bias"] = true),
        ["dropout of attention"] = new("attention_dropout is 0.1 but the variant nano has 0", c => c["attention_dropout"] = 0.1),
        ["a part of a head turns"] = new("partial_rotary_factor is 0.5 but the variant nano has 1", c => c["partial_rotary_factor"] = 0.5),
        ["all of a head turns"] = new("", c => c["partial_rotary_factor"] = 1.0),
        ["layers all full"] = new("layer_types is", c => c["layer_types"] = new JsonArray("full_attention", "full_attention", "full_attention", "full_attention")),
        ["untied"] = new("tie_word_embeddings is false but", c => c["tie_word_embeddings"] = false),
        ["text for a number"] = new("hidden_size is \"128\" but", c => c["hidden_size"] = "128"),
        ["old spelling"] = new("", c => { c.Remove("rope_parameters"); c.Remove("dtype"); c.Remove("layer_types");
            c["rope_theta"] = 10000.0; c["torch_dtype"] = "float32"; c["hidden_act"] = "gelu_pytorch_tanh"; }),
        // As transformers' Gemma2Config: what is left out is its own default, which is nano's or is not.
        ["left out, as the defaults"] = new("",
            c => { foreach (var field in new[] { "attn_logit_softcapping", "final_logit_softcapping", "hidden_activation" }) c.Remove(field); }),
        ["left out, not as the default"] = new("sliding_window is not there but", c => c.Remove("sliding_window")),
        ["nothing of rope"] = new("", c => c.Remove("rope_parameters")),
        ["both spellings, the same"] = new("", c => c["rope_theta"] = 10000),
        ["layer_types null"] = new("", c => c["layer_types"] = null),
        ["whole number as a fraction"] = new("", c => c["hidden_size"] = 128.0),
    };

    public static TheoryData<string> ChangeNames => [.. Changes.Keys];

    [Theory, MemberData(nameof(ChangeNames))]
    public void Config_Changed_NamesTheFieldAndBothValues(string name)
    {
        using var scratch = new Scratch();
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(Fixture.Checkpoint, "config.json")))!.AsObject();
        Changes[name].Apply!(config);
        scratch.File("config.json", config.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
        if (Changes[name].Says.Length == 0)
        {
            ModelConfig.Check(scratch.Path, Gemma2Model(), ScheduleText.Parse(Gemma2Model().Schedule()));
            return;
        }
        var message = Assert.Throws<InputException>(() => ModelConfig.Check(scratch.Path, Gemma2Model(), ScheduleText.Parse(Gemma2Model().Schedule()))).Message;
        Assert.Contains(Changes[name].Says, message);
        Assert.DoesNotContain('\n', message);
    }

    [Fact]
    public void AtomicWrite_ThatFails_LeavesTheOldFilesAndNothingElse()
    {
        using var scratch = new Scratch();
        string a = scratch.File("a", "old a"), b = scratch.File("b", "old b");
        Assert.Throws<InputException>(() => AtomicFiles.Write((a, s => s.Write("new"u8)), (b, _ => throw new IOException("the disk is full"))));
        Assert.Throws<ArgumentException>(() => AtomicFiles.Write((a, s => s.Write("new"u8)), (b, _ => throw new ArgumentException("wrong"))));
        Assert.Equal(("old a", "old b"), (File.ReadAllText(a), File.ReadAllText(b)));
        Assert.Equal([a, b], Directory.GetFiles(scratch.Path).Order());
        Assert.Contains("cannot be written", Assert.Throws<InputException>(() => AtomicFiles.Write((Path.Combine(scratch.Path, "none", "c"), _ => { }))).Message);
        AtomicFiles.Write((a, s => s.Write("new"u8)), (b, s =>
        {
            // Until all are complete, none is there.
            Assert.Equal("old a", File.ReadAllText(a));
            s.Write("too"u8);
        }));
        Assert.Equal(("new", "too"), (File.ReadAllText(a), File.ReadAllText(b)));
        Assert.Equal([a, b], Directory.GetFiles(scratch.Path).Order());
    }

    static Graph.Runtime.CompiledModel Gemma2Model() => GraphModels.All.Single(m => m.Name == "nano");

    static Dictionary<string, string> Map(Scratch scratch)
    {
        using var source = SafetensorsFile.Open(Path.Combine(Fixture.Checkpoint, "model.safetensors"));
        return source.Tensors.Keys.Order(StringComparer.Ordinal).Select((name, i) => (name, i)).ToDictionary(t => t.name, t => t.i % 2 == 0 ? First : Second);
    }

    static string Shard(Scratch scratch, Func<Dictionary<string, string>, Dictionary<string, string>> change)
    {
        var directory = Directory.CreateDirectory(Path.Combine(scratch.Path, "model")).FullName;
        var map = Map(scratch);
        using var source = SafetensorsFile.Open(Path.Combine(Fixture.Checkpoint, "model.safetensors"));
        foreach (var shard in map.GroupBy(m => m.Value, m => source.Tensors[m.Key]))
            SafetensorsWriter.Write(Path.Combine(directory, shard.Key),
                [.. shard.Select(t => new SafetensorsTensor(t.Name, t.DType, t.Shape, source.Bytes(t, 0, (int)t.Length).ToArray()))],
                new Dictionary<string, string> { ["format"] = "pt" });
        Write(directory, change(map));
        return directory;
    }

    static void Write(string directory, Dictionary<string, string> map) =>
        File.WriteAllText(Path.Combine(directory, Index), new JsonObject { ["metadata"] = new JsonObject { ["total_size"] = 1 },
            ["weight_map"] = new JsonObject(map.Select(m => KeyValuePair.Create(m.Key, (JsonNode?)m.Value))) }.ToJsonString());
}
