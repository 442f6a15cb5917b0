using System;
using System.IO;
using System.Text.RegularExpressions;
using Graph.Finetune.Checkpoints;
using Graph.Runtime;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

/// <summary>Which layers see a window is in newer config.json files only; where it is, it must be the variant's.</summary>
public class LayerTypesTests
{
    static readonly CompiledModel Model = new("m", () => "schedule m layers=4", [], _ => throw new InvalidOperationException(), () => throw new InvalidOperationException(),
        () => [new("layer_types", new[] { "sliding_attention", "full_attention", "sliding_attention", "full_attention" })]);

    static void Check(Func<string, string> change)
    {
        var folder = Directory.CreateTempSubdirectory("graph-layer-types-").FullName;
        File.WriteAllText(Path.Combine(folder, "config.json"), change(File.ReadAllText(Path.Combine(Fixture.Checkpoint, "config.json"))));
        try
        {
            ModelConfig.Check(folder, Model, ScheduleText.Parse(Model.Schedule()));
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Fact]
    public void Check_SameLayerTypes_Passes() => Check(text => text);

    [Fact]
    public void Check_NoLayerTypes_Passes() => Check(text => Regex.Replace(text, "\"layer_types\": \\[[^\\]]*\\],", ""));

    [Fact]
    public void Check_AllLayersGlobal_IsRefusedWithTheField() =>
        Assert.Contains("layer_types is [\"full_attention\",\"full_attention\",",
            Assert.Throws<InputException>(() => Check(text => text.Replace("sliding_attention", "full_attention"))).Message);
}
