using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

public class TrainTests
{
    static readonly string[] AsGoldens = ["--adapter", Goldens.AdapterInit, "--seq", "48", "--lr", "5e-3", "--weight-decay", "0.01", "--clip", "1", "--steps", "10"];

    static string Texts(Scratch scratch, int lines = 40) =>
        scratch.File("texts.jsonl", Enumerable.Range(0, lines)
            .Select(i => $"{{\"instruction\":\"Add {i} and {i * i}.\",\"output\":\"{i + i * i}{string.Concat(Enumerable.Repeat(" so", i % 7))}\"}}"));

    // 1e-4 (losses), 1e-3 (norms, adapter): what ten steps of fp32 in another order of sums may differ by.
    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Train_GoldenBatch_ReproducesLossesNormsAndAdapter(string recompute)
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Train(Goldens.Data(scratch), output, [.. AsGoldens, "--batch-tokens", "96", "--recompute", recompute]));
        var train = Goldens.Numbers.GetProperty("train");
        Close(train.GetProperty("losses").EnumerateArray().Select(e => e.GetDouble()), Losses(output), 1e-4);
        Close(train.GetProperty("grad_norms").EnumerateArray().Select(e => e.GetDouble()), Metrics(output).Select(m => m.GetProperty("grad_norm").GetDouble()), 1e-3);
        var reference = Adapter(Goldens.AdapterFinal);
        Assert.Equal(Goldens.Names(reference), Goldens.Names(Adapter(output)));
        Assert.All(Goldens.Names(reference), name => Assert.InRange(Goldens.Distance(Goldens.Read(Adapter(output), name), Goldens.Read(reference, name)), 0, 1e-3));
    }

    /// <summary>The first two losses come before any code was read; later ones within 1%, which is what moments of two digits move the loss by in ten large steps.</summary>
    [Fact]
    public void Train_MomentsOf8Bits_HaveTheLossesOfFp32()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Train(Goldens.Data(scratch), output, [.. AsGoldens, "--batch-tokens", "96", "--optimizer", "adamw8bit"]));
        var losses = Goldens.Numbers.GetProperty("train").GetProperty("losses").EnumerateArray().Select(e => e.GetDouble()).ToArray();
        Close(losses.Take(2), Losses(output).Take(2), 1e-4);
        Close(losses, Losses(output), 0.01);
        Assert.NotEqual(losses[^1], Losses(output)[^1], 1e-5);
    }

    [Fact]
    public void Train_Metrics_HaveAllFieldsInWholeLines()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Train(Goldens.Data(scratch), output, [.. AsGoldens, "--batch-tokens", "100", "--steps", "3", "--schedule", "linear", "--warmup", "1"]));
        Assert.EndsWith("}\n", File.ReadAllText(Path.Combine(output, "metrics.jsonl")));
        var metrics = Metrics(output);
        Assert.Equal(3, metrics.Count);
        Assert.All(metrics, m => Assert.Equal(["step", "epoch", "loss", "lr", "grad_norm", "tokens", "tokens_per_second", "step_ms", "peak_bytes", "planned_peak_bytes", "skipped"],
            m.EnumerateObject().Select(p => p.Name)));
        Assert.Equal([1, 2, 3], metrics.Select(m => m.GetProperty("step").GetInt32()));
        Assert.Equal([1, 2, 3], metrics.Select(m => m.GetProperty("epoch").GetInt32()));
        // Four tokens of padding are not counted.
        Assert.All(metrics, m => Assert.Equal(96, m.GetProperty("tokens").GetInt32()));
        Assert.Equal([5e-3, 5e-3, 2.5e-3], metrics.Select(m => m.GetProperty("lr").GetDouble()));
        Assert.All(metrics, m => Assert.Equal(m.GetProperty("planned_peak_bytes").GetInt64(), m.GetProperty("peak_bytes").GetInt64()));
    }

    [Fact]
    public void Train_TwoMicroBatches_AreOneBigBatch()
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        string big = Path.Combine(scratch.Path, "big"), small = Path.Combine(scratch.Path, "small");
        Succeed(Train(data, big, [.. AsGoldens, "--batch-tokens", "96"]));
        Succeed(Train(data, small, [.. AsGoldens, "--batch-tokens", "48", "--grad-accum", "2"]));
        // The documents have different numbers of labels, so a mean of means would be off by far more than fp32's sums.
        Close(Losses(big), Losses(small), 1e-5);
        Assert.All(Goldens.Names(Adapter(big)), name => Assert.InRange(Goldens.Distance(Goldens.Read(Adapter(small), name), Goldens.Read(Adapter(big), name)), 0, 1e-4));
    }

    [Fact]
    public void Train_Twice_GivesTheSameBytes()
    {
        using var scratch = new Scratch();
        var data = Texts(scratch);
        string[] outputs = [.. new[] { "0", "0", "1" }.Select((seed, i) =>
        {
            var output = Path.Combine(scratch.Path, $"out{i}");
            Succeed(Train(data, output, "--seq", "128", "--batch-tokens", "256", "--epochs", "1", "--grad-accum", "2", "--seed", seed));
            return output;
        })];
        Assert.Equal(File.ReadAllBytes(Adapter(outputs[0])), File.ReadAllBytes(Adapter(outputs[1])));
        Assert.Equal(Losses(outputs[0]), Losses(outputs[1]));
        // B is zero at first, so another loss of the first step is another order of the data.
        Assert.NotEqual(Losses(outputs[0])[0], Losses(outputs[2])[0]);
    }

    [Fact]
    public void Train_Epochs_SeeEveryExampleOnceEach()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var data = Texts(scratch, 11);
        var ids = Succeed("tokenize", "--model", Fixture.Checkpoint, "--data", scratch.File("t.jsonl", Enumerable.Range(0, 11).Select(i => $"{{\"text\":\"line {i}\"}}")))
            .Split('\n').Length - 1;
        Assert.Equal(11, ids);
        Succeed(Train(data, output, "--seq", "128", "--batch-tokens", "128", "--epochs", "2", "--grad-accum", "3"));
        var metrics = Metrics(output);
        Assert.Equal(2, metrics[^1].GetProperty("epoch").GetDouble());
        var perEpoch = metrics.GroupBy(m => Math.Ceiling(m.GetProperty("epoch").GetDouble())).Select(g => g.Sum(m => m.GetProperty("tokens").GetInt32())).ToArray();
        Assert.Equal(2, perEpoch.Length);
        Assert.Equal(perEpoch[0], perEpoch[1]);
    }

    [Fact]
    public void Train_RandomWeightsAndConcat_LossFalls()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed("train", "--variant", "nano", "--model", "random:3", "--tokenizer", Fixture.Checkpoint, "--device", "cpu", "--data", Texts(scratch), "--out", output,
            "--seq", "64", "--batch-tokens", "128", "--concat", "--steps", "12", "--lr", "1e-2", "--rank", "4", "--targets", "q_proj,down_proj", "--rslora");
        var losses = Losses(output);
        Assert.True(losses[^3..].Average() < losses[..3].Average() - 0.2, string.Join(' ', losses));
        Assert.All(Goldens.Names(Adapter(output)), name => Assert.Matches(@"^base_model\.model\.model\.layers\.\d\.(self_attn\.q_proj|mlp\.down_proj)\.lora_[AB]\.weight$", name));
        Assert.Contains("\"use_rslora\": true", File.ReadAllText(Path.Combine(output, "adapter_config.json")));
    }

    [Fact]
    public void Readme_FirstCommand_TrainsTheSample()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var line = File.ReadAllLines(Path.Combine(Fixture.Repository(), "README.md")).Single(l => l.Contains("-- train --variant nano", StringComparison.Ordinal));
        // Three of its steps, from the repository's root, to another place.
        var args = line[(line.IndexOf("-- ", StringComparison.Ordinal) + 3)..].Replace("--steps 60", "--steps 3")
            .Replace("out/nano", output).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Succeed([.. args.Select(a => Path.Combine(Fixture.Repository(), a) is var path && Path.Exists(path) ? path : a), "--device", "cpu"]);
        var losses = Losses(output);
        Assert.True(losses.Length == 3 && losses[2] < losses[0], string.Join(' ', losses));
    }

    [Fact]
    public void Sample_Config_NamesTheSameRunAsTheReadme()
    {
        var config = System.Text.Json.JsonDocument.Parse(File.ReadAllText(Path.Combine(Fixture.Repository(), "samples", "nano.jsonc")),
            new() { CommentHandling = System.Text.Json.JsonCommentHandling.Skip, AllowTrailingCommas = true }).RootElement;
        var asArguments = config.EnumerateObject().Where(p => p.Name != "$schema")
            .Select(p => $"--{p.Name} {(p.Value.ValueKind == System.Text.Json.JsonValueKind.Array ? string.Join(' ', p.Value.EnumerateArray()) : p.Value)}");
        Assert.Contains("-- train " + string.Join(' ', asArguments), File.ReadAllText(Path.Combine(Fixture.Repository(), "README.md")));
    }

    [Fact]
    public void Train_LeavesNothingBesideTheOutputs()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Succeed(Train(Goldens.Data(scratch), output, [.. AsGoldens, "--batch-tokens", "96", "--steps", "1"]));
        var names = Directory.EnumerateFileSystemEntries(output).Select(f => Path.GetFileName(f)!)
            .Select(name => name.StartsWith("events.out.tfevents.", StringComparison.Ordinal) ? "events" : name);
        Assert.Equal([".lock", "adapter_config.json", "adapter_model.safetensors", "checkpoints", "events",
            "metrics.jsonl", "report.html", "run-facts.json"], names.Order(StringComparer.Ordinal));
        Assert.Equal(["step-1"], Directory.EnumerateFileSystemEntries(Path.Combine(output, "checkpoints")).Select(f => Path.GetFileName(f)!));
    }

    static void Close(IEnumerable<double> expected, IEnumerable<double> actual, double tolerance)
    {
        var (e, a) = (expected.ToArray(), actual.ToArray());
        Assert.Equal(e.Length, a.Length);
        for (var i = 0; i < e.Length; i++) Assert.True(Math.Abs(e[i] - a[i]) <= tolerance * Math.Abs(e[i]), $"value {i}: {a[i]} is not {e[i]} within {tolerance}");
    }

    [Theory]
    [InlineData("cuts the 3 steps behind the warm-up into 4 parts, less than a step each", "--schedule", "cosine", "--restarts", "3", "--warmup", "1")]
    [InlineData("the learning rate comes no further than 0.0004 of --lr 0.001", "--warmup", "10", "--lr", "1e-3")]
    [InlineData("", "--schedule", "cosine", "--restarts", "2", "--warmup", "1")]
    public void Train_ALearningRateThatTheStepsHaveNoRoomFor_IsSaid(string says, params string[] options)
    {
        using var scratch = new Scratch();
        var error = Run(Train(Goldens.Data(scratch), Path.Combine(scratch.Path, "out"), ["--steps", "4", "--dry-run", .. options])).Error;
        if (says.Length > 0) Assert.Contains(says, error);
        else Assert.Equal("", error);
    }
}
