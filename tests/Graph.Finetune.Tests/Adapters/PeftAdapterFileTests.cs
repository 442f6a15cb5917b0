using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json.Nodes;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Adapters;

public class PeftAdapterFileTests
{
    static readonly Schedule Nano = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());
    const string Q = "model.layers.0.self_attn.q_proj", KeyA = $"base_model.model.{Q}.lora_A.weight";

    static string Fixed(string name) => Path.Combine(Fixture.Reference, name);

    [Theory, InlineData("adapter_init"), InlineData("adapter_final")]
    public void LoadThenSave_WhatPeftWrote_IsTheSameFileByteForByte(string name)
    {
        using var scratch = new Scratch();
        var adapter = PeftAdapter.Load(Fixed(name), Nano);
        Assert.Equal((8, 16.0, false, 2.0, 28), (adapter.Rank, adapter.Alpha, adapter.RsLora, adapter.Scale, adapter.Modules.Count));
        PeftAdapter.Save(scratch.Path, adapter, null);
        Assert.Equal(File.ReadAllBytes(Path.Combine(Fixed(name), PeftAdapter.WeightsName)), File.ReadAllBytes(Path.Combine(scratch.Path, PeftAdapter.WeightsName)));
        JsonNode peft = JsonNode.Parse(File.ReadAllText(Path.Combine(Fixed(name), PeftAdapter.ConfigName)))!,
            ours = JsonNode.Parse(File.ReadAllText(Path.Combine(scratch.Path, PeftAdapter.ConfigName)))!;
        Assert.All(ours.AsObject(), field => Assert.True(JsonNode.DeepEquals(field.Value, peft[field.Key])
            || field.Key == "lora_dropout" && (double)field.Value! == (double)peft[field.Key]!, field.Key));
        Assert.Equal([PeftAdapter.ConfigName, PeftAdapter.WeightsName], Directory.GetFiles(scratch.Path).Select(f => Path.GetFileName(f)).Order());
    }

    [Fact]
    public void SaveThenLoad_FewTargetsOfFewLayersWithRsLora_IsTheSame()
    {
        using var scratch = new Scratch();
        var modules = new[] { 1, 3 }.Select(l => new AdapterModule($"model.layers.{l}.self_attn.q_proj", 4,
            [.. Enumerable.Range(0, 512).Select(i => i / 7f)], [.. Enumerable.Range(0, 512).Select(i => -i / 3f)])).ToArray();
        PeftAdapter.Save(scratch.Path, new AdapterFile(4, 12.5, true, ["q_proj"], modules, [1, 3], 0.1), "base");
        var loaded = PeftAdapter.Load(scratch.Path, Nano);
        Assert.Equal((4, 12.5, true, 6.25, 0.1), (loaded.Rank, loaded.Alpha, loaded.RsLora, loaded.Scale, loaded.Dropout));
        Assert.Equal([1, 3], loaded.Layers);
        Assert.Equal((4, 0), (loaded.RankOf(modules[0].Linear), loaded.RankOf(Q)));
        foreach (var (one, other) in modules.Zip(loaded.Modules))
        {
            Assert.Equal((one.Linear, one.Rank), (other.Linear, other.Rank));
            Assert.Equal(one.A, other.A);
            Assert.Equal(one.B, other.B);
        }
    }

    static readonly Dictionary<string, (string Says, Action<JsonObject> Apply)> Configs = new()
    {
        ["no r"] = ("has no r", c => c.Remove("r")),
        ["r of 0"] = ("r is 0", c => c["r"] = 0),
        ["another r"] = ("must be [4,", c => c["r"] = 4),
        ["alpha of text"] = ("lora_alpha is", c => c["lora_alpha"] = "16"),
        ["dropout without end"] = ("lora_dropout is", c => c["lora_dropout"] = JsonNode.Parse("1e999")),
        ["DoRA"] = ("use_dora is true", c => c["use_dora"] = true),
        ["rank pattern"] = ("lora_A.weight is [8,128] but must be [4,128]", c => c["rank_pattern"] = new JsonObject { ["q_proj"] = 4 }),
        ["PiSSA"] = ("init_lora_weights is", c => c["init_lora_weights"] = "pissa"),
        ["another method"] = ("peft_type is", c => c["peft_type"] = "IA3"),
        ["biases"] = ("bias is", c => c["bias"] = "all"),
        ["a setting of the future"] = ("use_new is true", c => c["use_new"] = true),
        ["no targets"] = ("target_modules is []", c => c["target_modules"] = new JsonArray()),
        ["a target too few"] = ("does not name it as a target", c => c["target_modules"]!.AsArray().RemoveAt(0)),
        ["layers too few"] = ("does not name it as a target", c => c["layers_to_transform"] = new JsonArray(0, 1)),
        ["all-linear"] = ("", c => c["target_modules"] = "all-linear"),
        ["a pattern"] = ("", c => c["target_modules"] = ".*_proj"),
        ["rsLoRA"] = ("", c => c["use_rslora"] = true),
    };

    public static TheoryData<string> ConfigNames => [.. Configs.Keys];

    [Theory, MemberData(nameof(ConfigNames))]
    public void Load_ChangedConfig_NamesTheField(string name)
    {
        using var scratch = new Scratch();
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(Fixed("adapter_final"), PeftAdapter.ConfigName)))!.AsObject();
        Configs[name].Apply(config);
        scratch.File(PeftAdapter.ConfigName, config.ToJsonString());
        File.Copy(Path.Combine(Fixed("adapter_final"), PeftAdapter.WeightsName), Path.Combine(scratch.Path, PeftAdapter.WeightsName));
        if (Configs[name].Says.Length == 0) Assert.Equal(28, PeftAdapter.Load(scratch.Path, Nano).Modules.Count);
        else Assert.Contains(Configs[name].Says, Assert.Throws<InputException>(() => PeftAdapter.Load(scratch.Path, Nano)).Message);
    }

    [Fact]
    public void SaveOfWhatWasLoaded_PatternOfFewLayers_NamesTheSameLinears()
    {
        using var scratch = new Scratch();
        using var again = new Scratch();
        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(Fixed("adapter_final"), PeftAdapter.ConfigName)))!.AsObject();
        config["target_modules"] = @".*(layers\.[01]\..*q_proj|up_proj)";
        scratch.File(PeftAdapter.ConfigName, config.ToJsonString());
        using (var source = SafetensorsFile.Open(Path.Combine(Fixed("adapter_final"), PeftAdapter.WeightsName)))
        {
            var hit = source.Tensors.Values.Where(t => t.Name.Contains(".up_proj.")
                || (t.Name.Contains(".q_proj.") && (t.Name.Contains("layers.0.") || t.Name.Contains("layers.1."))));
            SafetensorsWriter.Write(Path.Combine(scratch.Path, PeftAdapter.WeightsName),
                [.. hit.Select(t => new SafetensorsTensor(t.Name, t.DType, t.Shape, source.Bytes(t, 0, (int)t.Length).ToArray()))], new Dictionary<string, string>());
        }
        var loaded = PeftAdapter.Load(scratch.Path, Nano);
        PeftAdapter.Save(again.Path, loaded, null);
        Assert.Equal([Q, "model.layers.1.self_attn.q_proj", "up_proj"], loaded.Targets.Order());
        Assert.Equal(loaded.Modules.Select(m => m.Linear), PeftAdapter.Load(again.Path, Nano).Modules.Select(m => m.Linear));
    }

    [Fact]
    public void Load_ChangedTensors_NamesTheTensor()
    {
        using var scratch = new Scratch();
        File.Copy(Path.Combine(Fixed("adapter_final"), PeftAdapter.ConfigName), Path.Combine(scratch.Path, PeftAdapter.ConfigName));
        using var source = SafetensorsFile.Open(Path.Combine(Fixed("adapter_final"), PeftAdapter.WeightsName));
        SafetensorsTensor[] all = [.. source.Tensors.Values.Select(t => new SafetensorsTensor(t.Name, t.DType, t.Shape, source.Bytes(t, 0, (int)t.Length).ToArray()))];
        void Says(string text, IEnumerable<SafetensorsTensor> tensors)
        {
            SafetensorsWriter.Write(Path.Combine(scratch.Path, PeftAdapter.WeightsName), [.. tensors], new Dictionary<string, string>());
            Assert.Contains(text, Assert.Throws<InputException>(() => PeftAdapter.Load(scratch.Path, Nano)).Message);
        }
        var nan = new byte[8 * 128 * 4];
        BitConverter.TryWriteBytes(nan.AsSpan(4), float.NaN);
        Says($"lacks the tensor {KeyA}", all.Where(t => t.Name != KeyA));
        Says("has a tensor ghost", all.Append(new("ghost", "F32", [1], new byte[4])));
        Says("has no linear model.layers.9.self_attn.q_proj", all.Append(new("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight", "F32", [1], new byte[4])));
        Says($"{KeyA} is [128,8] but must be [8,128]", all.Select(t => t.Name == KeyA ? t with { Shape = [128, 8] } : t));
        Says($"{KeyA} is I32", all.Select(t => t.Name == KeyA ? t with { DType = "I32" } : t));
        Says($"{KeyA} has values that are not finite", all.Select(t => t.Name == KeyA ? t with { Data = nan } : t));
    }
}
