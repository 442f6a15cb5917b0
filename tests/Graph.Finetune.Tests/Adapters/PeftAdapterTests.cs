using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Adapters;
using Graph.Finetune.Tests.Commands;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Adapters;

public class PeftAdapterTests
{
    static readonly Schedule Nano = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());

    [Fact]
    public void Save_OfWhatWasLoaded_IsPeftsOwnFile()
    {
        using var scratch = new Scratch();
        var loaded = PeftAdapter.Load(Goldens.AdapterInit, Nano);
        Assert.Equal((8, 16.0, 2.0, 28), (loaded.Rank, loaded.Alpha, loaded.Scale, loaded.Modules.Count));
        PeftAdapter.Save(scratch.Path, loaded, "base");
        string written = Path.Combine(scratch.Path, "adapter_model.safetensors"), peft = Path.Combine(Goldens.AdapterInit, "adapter_model.safetensors");
        Assert.Equal(Goldens.Names(peft), Goldens.Names(written));
        Assert.All(Goldens.Names(peft), name => Assert.Equal(Goldens.Read(peft, name), Goldens.Read(written, name)));

        JsonElement ours = Config(scratch.Path), theirs = Config(Goldens.AdapterInit);
        foreach (var field in new[] { "r", "lora_alpha", "bias", "peft_type", "task_type", "use_rslora", "use_dora", "fan_in_fan_out" })
            Assert.Equal(theirs.GetProperty(field).GetRawText(), ours.GetProperty(field).GetRawText());
        Assert.Equal(theirs.GetProperty("lora_dropout").GetDouble(), ours.GetProperty("lora_dropout").GetDouble());
        Assert.Equal(theirs.GetProperty("target_modules").EnumerateArray().Select(e => e.GetString()).Order(),
            ours.GetProperty("target_modules").EnumerateArray().Select(e => e.GetString()).Order());
        Assert.Equal("base", ours.GetProperty("base_model_name_or_path").GetString());

        static JsonElement Config(string directory) => JsonDocument.Parse(File.ReadAllBytes(Path.Combine(directory, "adapter_config.json"))).RootElement;
    }

    [Theory]
    [InlineData("\"use_dora\": false", "\"use_dora\": true"), InlineData("\"bias\": \"none\"", "\"bias\": \"all\""),
     InlineData("\"peft_type\": \"LORA\"", "\"peft_type\": \"LOHA\""),
     InlineData("\"r\": 8", "\"r\": 0"), InlineData("\"r\": 8", "\"r\": 4"), InlineData("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 4}"),
     InlineData("\"rank_pattern\": {}", "\"rank_pattern\": {\"(\": 8}"),
     InlineData("\"alpha_pattern\": {}", "\"alpha_pattern\": {\"q_proj\": \"8\"}"), InlineData("\"alpha_pattern\": {}", "\"alpha_pattern\": [8]"),
     InlineData("\"q_proj\"", "\"x_proj\""),
     InlineData("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]")]
    public void Load_SettingThatChangesTheComputation_IsRefused(string was, string becomes)
    {
        using var scratch = new Scratch();
        var config = File.ReadAllText(Path.Combine(Goldens.AdapterInit, "adapter_config.json"));
        Assert.Contains(was, config);
        scratch.File("adapter_config.json", config.Replace(was, becomes));
        File.Copy(Path.Combine(Goldens.AdapterInit, "adapter_model.safetensors"), Path.Combine(scratch.Path, "adapter_model.safetensors"));
        Assert.Throws<InputException>(() => PeftAdapter.Load(scratch.Path, Nano));
    }
}
