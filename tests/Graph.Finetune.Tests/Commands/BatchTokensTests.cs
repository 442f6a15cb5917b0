using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>Micro-batches that are chosen, or follow from a step's tokens.</summary>
public sealed class BatchTokensTests
{
    static readonly string[] Lines = [.. Enumerable.Range(0, 60).Select(i => $"{{\"text\":\"{i} and {i * i} are {i + i * i}.\"}}")];

    static JsonElement Plan(params string[] args) =>
        JsonDocument.Parse(Succeed(["plan", "--json", "--variant", "2b", "--device-profile", "4090", "--vram", "9GiB", "--seq", "1024", "--offload", "off", .. args])).RootElement;

    /// <summary>What auto takes is as fast as the fastest of all that a person could give.</summary>
    [Fact]
    public void Plan_Auto_IsTheFastestMicroBatch()
    {
        var auto = Plan("--batch-tokens", "auto", "--step-tokens", "4096");
        Assert.Equal(4096, auto.GetProperty("tokens").GetInt32() * auto.GetProperty("micro_batches").GetInt32());
        var given = new[] { 4096, 2048, 1024 }.Select(tokens => Plan("--batch-tokens", $"{tokens}", "--step-tokens", "4096")).ToArray();
        Assert.Equal([1, 2, 4], given.Select(p => p.GetProperty("micro_batches").GetInt32()));
        Assert.Equal(given.Min(p => p.GetProperty("step_ms").GetDouble()), auto.GetProperty("step_ms").GetDouble());
    }

    /// <summary>A step's tokens say how many micro-batches it has; a resumed run has those that it began with.</summary>
    [Fact]
    public void Train_StepTokens_AreMicroBatchesOfAStep()
    {
        using var scratch = new Scratch();
        var data = scratch.File("texts.jsonl", Lines);
        var (two, same) = (Path.Combine(scratch.Path, "two"), Path.Combine(scratch.Path, "same"));
        Succeed(Train(data, two, "--seq", "48", "--batch-tokens", "64", "--step-tokens", "128", "--steps", "3"));
        Succeed(Train(data, same, "--seq", "48", "--batch-tokens", "64", "--grad-accum", "2", "--steps", "3"));
        Assert.Equal(Losses(same), Losses(two));
        var auto = Path.Combine(scratch.Path, "auto");
        string[] options = ["--seq", "48", "--batch-tokens", "auto", "--step-tokens", "128"];
        Succeed(Train(data, auto, [.. options, "--steps", "2"]));
        Succeed(Train(data, auto, [.. options, "--steps", "3", "--resume"]));
        Assert.Equal(3, Losses(auto).Length);
    }

    [Theory]
    [InlineData("--batch-tokens 96 --step-tokens 128", "a step must be 1 to 4096 whole micro-batches")]
    [InlineData("--batch-tokens 64 --step-tokens 128 --grad-accum 2", "leave one out")]
    [InlineData("--batch-tokens auto --grad-accum 2", "leave one out")]
    [InlineData("--batch-tokens auto --seq 256 --step-tokens 128", "give --step-tokens 256 or more")]
    [InlineData("--batch-tokens some", "it must be a whole number from 1 to 1073741824, or auto")]
    [InlineData("--batch-tokens 2147483647", "it must be a whole number from 1 to 1073741824, or auto")]
    [InlineData("--batch-tokens auto --step-tokens 2147483647", "a step that is cut by itself has at most 1073741824")]
    public void Train_TokensThatContradict_AreRefused(string options, string sentence)
    {
        using var scratch = new Scratch();
        var refused = Run(Train(scratch.File("texts.jsonl", Lines), Path.Combine(scratch.Path, "out"), ["--seq", "48", "--steps", "1", .. options.Split(' ')]));
        Assert.Equal(2, refused.Code);
        Assert.Contains(sentence, refused.Error);
    }
}
