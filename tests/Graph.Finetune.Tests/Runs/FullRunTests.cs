using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Runs;

/// <summary>Runs that train all weights: the model they write, and going on.</summary>
public class FullRunTests
{
    static readonly string[] Options = ["--full", "--seq", "48", "--batch-tokens", "96", "--lr", "1e-3"];

    [Fact]
    public void Train_Full_WritesAModelWhoseLossIsTheLastEvaluationAndThatTrainsOn()
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), again = Path.Combine(scratch.Path, "again"), data = Commands.Goldens.Data(scratch);
        Succeed(Train(data, output, [.. Options, "--steps", "4", "--eval-data", data, "--eval-every", "4"]));
        Assert.Equal(Directory.GetFiles(Fixture.Checkpoint).Select(f => Path.GetFileName(f)).Order(),
            Directory.GetFiles(output).Select(f => Path.GetFileName(f))
                .Where(f => f is not ("metrics.jsonl" or ".lock") && f is not ("report.html" or "run-facts.json") && !f.StartsWith("events.", StringComparison.Ordinal)).Order());
        Assert.Equal(File.ReadAllBytes(Path.Combine(Fixture.Checkpoint, "config.json")), File.ReadAllBytes(Path.Combine(output, "config.json")));
        Assert.Equal(Names(Path.Combine(Fixture.Checkpoint, "model.safetensors")), Names(Path.Combine(output, "model.safetensors")));
        Assert.All(Names(Path.Combine(output, "model.safetensors")),
            name => Assert.NotEqual(Commands.Goldens.Read(Path.Combine(Fixture.Checkpoint, "model.safetensors"), name),
                Commands.Goldens.Read(Path.Combine(output, "model.safetensors"), name)));

        var losses = Losses(output);
        Assert.True(losses[3] < losses[0] - 1, $"{losses[0]} to {losses[3]}");
        var evaluated = JsonDocument.Parse(Succeed("eval", "--variant", "nano", "--model", output, "--device", "cpu",
            "--data", data, "--seq", "48", "--batch-tokens", "96", "--json")).RootElement.GetProperty("eval_loss").GetDouble();
        Assert.Equal(Metrics(output)[3].GetProperty("eval_loss").GetDouble(), evaluated, 1e-6);
        // A fifth step without moments begins at that loss.
        Succeed(["train", "--variant", "nano", "--model", output, "--device", "cpu", "--data", data, "--out", again, .. Options, "--steps", "1"]);
        Assert.Equal(evaluated, Losses(again)[0], 1e-6);
    }

    [Fact]
    public void Train_FullOnRandomWeights_WritesAConfigThatTheModelAccepts()
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), data = Commands.Goldens.Data(scratch);
        Succeed(["train", "--variant", "nano", "--model", "random:3", "--device", "cpu", "--data", data, "--out", output, .. Options, "--steps", "1"]);
        // Stored as the source has them, in bf16.
        using (var file = SafetensorsFile.Open(Path.Combine(output, "model.safetensors"))) Assert.All(file.Tensors.Values, t => Assert.Equal("BF16", t.DType));
        Succeed("eval", "--variant", "nano", "--model", output, "--device", "cpu", "--data", data, "--seq", "48", "--batch-tokens", "96");
    }

    static TestRun Full(Scratch scratch, int seed)
    {
        var (run, random) = (TestRun.Small(scratch, 7, 3), new Random(seed));
        return run with
        {
            Full = true, Ahead = seed % 2 == 0,
            Settings = run.Settings with { Moments = (MomentFormat)(seed / 2 % 2), PerStep = 1 + seed % 3, Recompute = new[] { "none", "full" }[random.Next(2)],
                Shape = (LearningRateShape)random.Next(3), Restarts = random.Next(2), Evaluation = seed % 2 == 0 ? (run.Settings.Data, 2) : null },
        };
    }

    [Theory, InlineData(0), InlineData(1), InlineData(2), InlineData(3)]
    public void Resume_Full_GivesTheBytesOfTheWholeRun(int seed)
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), ended = Path.Combine(scratch.Path, "ended");
        var run = Full(scratch, seed);
        run.Run(whole);
        run.RunUntil(ended, RunStart.New, 4);
        Assert.Contains("going on after step 4, ", run.Run(ended, RunStart.Resume));
        TestRun.AssertSame(whole, ended);
        // A checkpoint's masters are part of what its manifest holds.
        var weights = Path.Combine(RunCheckpoint.FolderOf(Path.Combine(ended, "checkpoints"), 7), ModelProduct.MastersName);
        var bytes = File.ReadAllBytes(weights);
        bytes[^1] ^= 1;
        File.WriteAllBytes(weights, bytes);
        Assert.Contains("weights.safetensors", RunCheckpoint.Fault(Path.GetDirectoryName(weights)!));
        File.Delete(weights);
        Assert.Contains("lacks weights.safetensors", RunCheckpoint.Fault(Path.GetDirectoryName(weights)!));
    }

    /// <summary>What a process that died at any rename leaves, the next one completes; until then there is no config beside weights that are not all there.</summary>
    [Fact]
    public void Complete_AfterAnyRename_GivesTheNewModel()
    {
        using var scratch = new Scratch();
        TrainedTensor Tensor(string name, float value) => new(name, [2, 4], StoredType.F32, [.. Enumerable.Repeat(value, 8)], 0);
        string old = Path.Combine(scratch.Path, "old"), next = Path.Combine(scratch.Path, "next");
        SavedModel.Save(old, [Tensor("a", 1)], "{}"u8.ToArray(), Fixture.Checkpoint);
        SavedModel.Save(next, [Tensor("a", 2)], "{\"new\":1}"u8.ToArray(), Fixture.Checkpoint);
        string[] order = [.. Directory.GetFiles(next).Select(f => Path.GetFileName(f)).OrderBy(n => n == "config.json" ? 1 : 0)];
        for (var moved = 0; moved <= order.Length; moved++)
        {
            var at = Path.Combine(scratch.Path, $"at{moved}");
            TestRun.Copy(old, at);
            TestRun.Copy(next, Path.Combine(at, "model.next"));
            File.Delete(Path.Combine(at, "config.json"));
            foreach (var name in order.Take(moved)) File.Move(Path.Combine(at, "model.next", name), Path.Combine(at, name), overwrite: true);
            SavedModel.Complete(at);
            Assert.False(Directory.Exists(Path.Combine(at, "model.next")));
            Assert.Equal(order.Order(), Directory.GetFiles(at).Select(f => Path.GetFileName(f)).Order());
            Assert.All(order, name => Assert.Equal(File.ReadAllBytes(Path.Combine(next, name)), File.ReadAllBytes(Path.Combine(at, name))));
        }
    }

    public static TheoryData<string, string[]> Wrong => new()
    {
        { "--rank shapes an adapter, but nano-full trains all weights", ["--rank", "4"] },
        { "weights in 4 bits cannot be trained", ["--quant", "nf4"] },
        { "--stream-weights rest in host memory", ["--stream-weights", "on"] },
        { "--lora-plus-ratio has nothing to act on", ["--lora-plus-ratio", "4"] },
        { "the executable must hold a variant 'nano-no-attn-softcap-full'", ["--variant", "nano-no-attn-softcap"] },
        { "--out is the directory of --model", ["--out", Fixture.Checkpoint, "--overwrite"] },
    };

    [Theory, MemberData(nameof(Wrong))]
    public void Train_FullWithWhatItCannotHave_IsRefused(string says, string[] more)
    {
        using var scratch = new Scratch();
        var result = Run(Train(Commands.Goldens.Data(scratch), Path.Combine(scratch.Path, "out"), [.. Options, "--steps", "1", .. more]));
        Assert.Equal(2, result.Code);
        Assert.Contains(says, result.Error);
        Assert.False(File.Exists(Path.Combine(Fixture.Checkpoint, ".lock")));
    }

    static IReadOnlyList<string> Names(string path) => Commands.Goldens.Names(path);
}
