using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Commands;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

public class ConfigTests
{
    static string Schema() => ConfigSchema.Text(CommandLine.Root(GraphModels.All, new Terminal(TextWriter.Null, TextWriter.Null, false), out _));

    [Fact]
    public void Schema_OfTheOptions_IsTheFileInDocs()
    {
        var path = Path.Combine(Fixture.Repository(), "docs", "config.schema.json");
        var schema = Schema();
        if (File.Exists(path) && File.ReadAllText(path) == schema) return;
        File.WriteAllText(path.Replace(".json", ".received.json"), schema);
        Assert.Fail("docs/config.schema.json differs from the options; read docs/config.schema.received.json, then eng/approve.sh accepts it");
    }

    [Fact]
    public void Config_WithEveryOption_IsTheSameRunAsOptions()
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        string fromFile = Path.Combine(scratch.Path, "file"), fromOptions = Path.Combine(scratch.Path, "options");
        var config = scratch.File("run.jsonc", $$"""
            {
                // every kind of value
                "variant": "nano", "model": "{{Fixture.Checkpoint}}", "data": ["{{data}}"], "out": "{{fromFile}}", "device": "cpu",
                "seq": 48, "batch-tokens": 96, "lr": 1e-3, "rslora": true, "concat": false, /* and */ "rank": 4, "alpha": 12.5, "targets": ["q_proj", "up_proj"],
                "steps": 3, "schedule": "cosine", "seed": 5, "dump-every": 3,
            }
            """);
        Succeed("train", "--config", config);
        Succeed(Train(data, fromOptions, "--seq", "48", "--batch-tokens", "96", "--lr", "1e-3", "--rslora", "--rank", "4", "--alpha", "12.5",
            "--targets", "q_proj,up_proj", "--steps", "3", "--schedule", "cosine", "--seed", "5"));
        Assert.Equal(Losses(fromOptions), Losses(fromFile));
        Assert.Equal(File.ReadAllBytes(Adapter(fromOptions)), File.ReadAllBytes(Adapter(fromFile)));
        Assert.Equal(File.ReadAllText(Path.Combine(fromOptions, "adapter_config.json")), File.ReadAllText(Path.Combine(fromFile, "adapter_config.json")));

        // Options win over the file.
        var again = Path.Combine(scratch.Path, "again");
        Succeed("train", "--config", config, "--steps", "2", "--out", again);
        Assert.Equal(Losses(fromFile)[..1], Losses(again)[..1]);
        Assert.Equal(2, Losses(again).Length);
    }

    [Fact]
    public void Schema_EveryOptionOfTrain_CanStandInAFile()
    {
        var properties = JsonDocument.Parse(Schema()).RootElement.GetProperty("properties");
        var help = Succeed("train", "--help");
        foreach (var option in System.Text.RegularExpressions.Regex.Matches(help, @"^  (--[a-z-]+)", System.Text.RegularExpressions.RegexOptions.Multiline)
            .Select(m => m.Groups[1].Value).Where(o => o is not "--config"))
            Assert.True(properties.TryGetProperty(option[2..], out _), option);
    }
}
