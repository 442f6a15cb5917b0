using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.RegularExpressions;
using Graph.Finetune.Tests.Reports;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>Variants compared on one checkpoint and one data set.</summary>
public class StudyTests
{
    const string Two = "nano,nano-no-attn-softcap";

    static string[] Study(Scratch scratch, string output, params string[] more) =>
        ["study", "--model", "random:3", "--device", "cpu", "--data", scratch.File("d.jsonl", Enumerable.Range(0, 6).Select(i => $"{{\"input_ids\":[2,5,6,{7 + i},8,9,10,1]}}")),
            "--batch-tokens", "16", "--seq", "8", "--out", output, .. more];

    static JsonElement[] Numbers(string output) => [.. JsonDocument.Parse(File.ReadAllText(Path.Combine(output, "study.json"))).RootElement.EnumerateArray()];

    [Fact]
    public void Study_WithoutSteps_IsTheLossThatEvalTakes()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Assert.EndsWith(Path.Combine(output, "study.html") + "\n", Succeed(Study(scratch, output, "--variants", Two)));
        var numbers = Numbers(output);
        Assert.Equal(Two.Split(','), numbers.Select(n => n.GetProperty("variant").GetString()));
        foreach (var number in numbers)
        {
            var eval = JsonDocument.Parse(Succeed("eval", "--variant", number.GetProperty("variant").GetString()!, "--model", "random:3", "--device", "cpu",
                "--data", Path.Combine(scratch.Path, "d.jsonl"), "--batch-tokens", "16", "--seq", "8", "--json")).RootElement;
            Assert.Equal((eval.GetProperty("loss").GetDouble(), eval.GetProperty("labels").GetInt64()),
                (number.GetProperty("loss").GetDouble(), number.GetProperty("labels").GetInt64()));
        }
        Assert.Equal(["50", "none"], numbers.Select(n => n.GetProperty("differs_in").GetProperty("attn_logit_softcapping").GetString()));
        Assert.Equal(numbers[1].GetProperty("loss").GetDouble() - numbers[0].GetProperty("loss").GetDouble(), numbers[1].GetProperty("loss_change").GetDouble());
        Assert.Equal(["study.html", "study.json"], Directory.GetFileSystemEntries(output).Select(f => Path.GetFileName(f)).Order());
    }

    [Fact]
    public void Study_WithSteps_IsTheRunsThatTrainDoes()
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), alone = Path.Combine(scratch.Path, "alone");
        string[] training = ["--steps", "4", "--rank", "2", "--lr", "5e-3", "--seed", "7", "--eval-every", "2"];
        var args = Study(scratch, output, ["--variants", Two, .. training, "--eval-data", scratch.File("e.jsonl", "{\"input_ids\":[2,50,60,70]}")]);
        Succeed(args);
        Succeed("train", "--variant", "nano-no-attn-softcap", "--model", "random:3", "--device", "cpu",
            "--data", Path.Combine(scratch.Path, "d.jsonl"), "--batch-tokens", "16", "--seq", "8", "--out", alone, "--rank", "2", "--lr", "5e-3", "--seed", "7", "--steps", "4");
        Assert.Equal(File.ReadAllBytes(Adapter(alone)), File.ReadAllBytes(Path.Combine(output, "nano-no-attn-softcap", "adapter_model.safetensors")));
        var numbers = Numbers(output);
        Assert.Equal(Losses(Path.Combine(output, "nano"))[^1], numbers[0].GetProperty("last_loss").GetDouble());
        Assert.All(numbers, n => Assert.Equal((3L, 4), (n.GetProperty("labels").GetInt64(), n.GetProperty("steps").GetInt32())));
        var seen = Browser.Open(Path.Combine(output, "study.html"));
        Assert.Empty(seen.Console);
        Assert.Empty(seen.Addresses);
        Assert.Contains("data-charts=\"5\"", seen.Dom);
        Assert.Contains("<td>attn_logit_softcapping</td><td class=\"wide\">50</td><td class=\"wide\">none</td>", seen.Dom);
        Assert.Equal(2, Regex.Count(seen.Dom, "\"name\":\"nano"));
        // Ended anywhere, it goes on as its runs do.
        Assert.Equal(2, Gemma2Run.Run(args).Code);
        Directory.Delete(Path.Combine(output, "nano-no-attn-softcap"), true);
        Succeed([.. args, "--resume"]);
        Assert.Equal(File.ReadAllBytes(Adapter(alone)), File.ReadAllBytes(Path.Combine(output, "nano-no-attn-softcap", "adapter_model.safetensors")));
    }

    [Fact]
    public void Study_VariantThatDiverges_IsAResult()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var result = Gemma2Run.Run(Study(scratch, output, "--variants", Two, "--steps", "30", "--lr", "1e6", "--max-skipped", "2"));
        Assert.Equal(0, result.Code);
        Assert.Contains("note: nano: the run diverged", result.Error);
        Assert.All(Numbers(output), n => Assert.True(n.GetProperty("diverged").GetBoolean()));
        Assert.Contains(", diverged</td>", File.ReadAllText(Path.Combine(output, "study.html")));
    }

    [Theory]
    [InlineData("random:3", "nano", "only nano is there to compare"), InlineData("random:3", null, "name those to compare with --variants"),
     InlineData("random:3", "nano,none-such", "there is no variant 'none-such'")]
    public void Study_WithoutTwoVariants_IsRefused(string model, string? variants, string says)
    {
        using var scratch = new Scratch();
        var args = Study(scratch, Path.Combine(scratch.Path, "out"), variants is null ? [] : ["--variants", variants]);
        args[2] = model;
        var result = Gemma2Run.Run(args);
        Assert.Equal(2, result.Code);
        Assert.Contains(says, result.Error);
        Assert.False(Directory.Exists(Path.Combine(scratch.Path, "out")));
    }
}
