using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Finetune.Commands;
using Graph.Finetune.Data;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Xunit;

namespace Graph.Finetune.Tests.Runs;

/// <summary>A run that was ended and goes on writes the bytes of one that was not.</summary>
public class ResumeTests
{
    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 24)];

    [Theory, MemberData(nameof(Seeds))]
    public void Resume_RandomSettings_GivesTheBytesOfTheWholeRun(int seed)
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), ended = Path.Combine(scratch.Path, "ended"), died = Path.Combine(scratch.Path, "died");
        var run = TestRun.Random(scratch, seed, TestRun.Spiked(scratch));
        var steps = 0;
        run.Run(whole, step: step => steps = step);

        // Ended twice between two steps, where the step is saved.
        var random = new Random(seed + 1000);
        var first = random.Next(1, steps);
        run.RunUntil(ended, RunStart.New, first);
        var second = random.Next(first + 1, steps + 1);
        if (second < steps) Assert.Contains($"going on after step {first}, ", run.RunUntil(ended, RunStart.Resume, second));
        run.Run(ended, RunStart.Resume);
        TestRun.AssertSame(whole, ended);

        // Died at a step, after its line of metrics and before its save: what was saved before is what there is.
        // A save that runs at that moment may move a file away, so the copy is made again.
        var at = random.Next(1, steps + 1);
        run.Run(Path.Combine(scratch.Path, "dying"), step: step =>
        {
            if (step != at) return;
            for (var tries = 0; ; tries++)
            {
                try
                {
                    if (Directory.Exists(died)) Directory.Delete(died, true);
                    TestRun.Copy(Path.Combine(scratch.Path, "dying"), died);
                    break;
                }
                catch (IOException) when (tries < 100)
                {
                }
            }
        });
        run.Run(died, RunStart.Resume);
        TestRun.AssertSame(whole, died);
        Assert.Equal(RunCheckpoint.Steps(Path.Combine(whole, "checkpoints")), RunCheckpoint.Steps(Path.Combine(died, "checkpoints")));
    }

    [Fact]
    public void Run_OnADeviceThatRunsAhead_WritesTheSameBytes()
    {
        using var scratch = new Scratch();
        string one = Path.Combine(scratch.Path, "one"), other = Path.Combine(scratch.Path, "other");
        var run = TestRun.Small(scratch, 7);
        run = run with { Settings = run.Settings with { Evaluation = (run.Settings.Data, 2) } };
        run.Run(one);
        (run with { Ahead = true }).Run(other);
        TestRun.AssertSame(one, other);
        Assert.Equal([2, 4, 6, 7], Commands.Gemma2Run.Metrics(one).Where(m => m.TryGetProperty("eval_loss", out _)).Select(m => m.GetProperty("step").GetInt32()));
    }

    [Fact]
    public void Evaluation_AfterAStep_IsTheLossOfItsAdapter()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 3);
        (run with { Settings = run.Settings with { Evaluation = (run.Settings.Data, 3) }, Ahead = true }).Run(output);
        var text = Commands.Gemma2Run.Succeed("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--device", "cpu", "--adapter", output,
            "--data", run.Settings.Data.Files[0].Path, "--seq", "32", "--batch-tokens", "32", "--json");
        Assert.Equal(System.Text.Json.JsonDocument.Parse(text).RootElement.GetProperty("eval_loss").GetDouble(),
            Commands.Gemma2Run.Metrics(output)[2].GetProperty("eval_loss").GetDouble());
    }

    [Fact]
    public void Resume_OfACompleteRun_ChangesNothing()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 4);
        run.Run(output);
        TestRun.Copy(output, Path.Combine(scratch.Path, "before"));
        // What a process that died at the very end leaves.
        File.Delete(Path.Combine(output, "adapter_config.json"));
        run.Run(output, RunStart.Resume, _ => throw new InvalidOperationException("there is no step to do"));
        TestRun.AssertSame(Path.Combine(scratch.Path, "before"), output);
    }

    [Fact]
    public void Resume_WithoutACheckpoint_BeginsTheRun()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 4);
        run.Run(whole);
        Assert.Contains("no checkpoint to go on from; the run begins with step 1", run.Run(output, RunStart.Resume));
        TestRun.AssertSame(whole, output);
    }

    [Fact]
    public void Resume_ConstantRate_MayGoOnForLonger()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        TestRun Of(int steps) => TestRun.Small(scratch, steps) is var run
            ? run with { Settings = run.Settings with { Shape = LearningRateShape.Constant } } : throw new InvalidOperationException();
        Of(8).Run(whole);
        Of(3).Run(output);
        Assert.Contains("note: the run is now 8 steps long; it began with 3\n", Of(8).Run(output, RunStart.Resume));
        TestRun.AssertSame(whole, output);
        Assert.Contains("has done 8 steps, more than the 5", Assert.Throws<UsageException>(() => Of(5).Run(output, RunStart.Resume)).Message);
    }

    static readonly Dictionary<string, (string Says, Func<TestRun, TestRun> Change)> Changes = new()
    {
        ["rate"] = ("the learning rate", r => r with { Settings = r.Settings with { Peak = 2e-3 } }),
        ["length of a falling rate"] = ("it was done with", r => r with { Settings = r.Settings with { Steps = 9 } }),
        ["warm-up"] = ("it was done with", r => r with { Settings = r.Settings with { Warmup = 1 } }),
        ["rank"] = ("--rank is 2 but the run began with 1", r => r with { Rank = 2 }),
        ["alpha"] = ("--alpha is 5 but the run began with 2", r => r with { Alpha = 5 }),
        ["scale"] = ("--rslora is true but the run began with false", r => r with { RsLora = true }),
        ["minimum"] = ("it was done with", r => r with { Settings = r.Settings with { MinimumRate = 5e-4 } }),
        ["restarts"] = ("it was done with", r => r with { Settings = r.Settings with { Restarts = 1 } }),
        ["rate of B"] = ("--lora-plus-ratio is 4 but the run began with 1", r => r with { Settings = r.Settings with { Adam = new AdamOptions(LoraPlus: 4) } }),
        ["a rank"] = ("--rank-pattern is model.layers.1.self_attn.k_proj=3 but the run began with nothing", r => r with { More = r.More with { Ranks = [("layers.1.*", 3)] } }),
        ["an alpha"] = ("--alpha-pattern is model.layers.1.self_attn.k_proj=3 but the run began with nothing", r => r with { More = r.More with { Alphas = [("layers.1.*", 3)] } }),
        ["dropout"] = ("--dropout is 0.5 but the run began with 0", r => r with { More = r.More with { Dropout = 0.5 } }),
        ["layers"] = ("--layers is 0,1 but the run began with all", r => r with { More = r.More with { Layers = [0, 1] } }),
        ["targets"] = ("--targets is", r => r with { Targets = ["q_proj"] }),
        ["seed"] = ("--seed is 6 but the run began with 5", r => r with { Settings = r.Settings with { Seed = 6 } }),
        ["row"] = ("--seq is 16", r => r with { Settings = r.Settings with { Data = r.Settings.Data with { Seq = 16 } } }),
        ["micro-batch"] = ("--batch-tokens is 64", r => r with { Settings = r.Settings with { Data = r.Settings.Data with { BatchTokens = 64 } } }),
        ["layout"] = ("--packing is off but the run began with on", r => r with { Settings = r.Settings with { Data = r.Settings.Data with { Layout = DataLayout.OnePerRow } } }),
        ["accumulation"] = ("--grad-accum is 2", r => r with { Settings = r.Settings with { PerStep = 2 } }),
        ["decay"] = ("--weight-decay is 0.5", r => r with { Settings = r.Settings with { Adam = new AdamOptions(WeightDecay: 0.5) } }),
        ["clipping"] = ("--clip is 3", r => r with { Settings = r.Settings with { Adam = new AdamOptions(Clip: 3) } }),
        ["loss"] = ("--loss-on is completion but the run began with all",
            r => r with { Settings = r.Settings with { Data = r.Settings.Data with { LossOn = LossOn.Completion } } }),
        ["weights of files"] = ("--data gives other ids and labels",
            r => r with { Settings = r.Settings with { Data = r.Settings.Data with { Files = [r.Settings.Data.Files[0] with { Weight = 2 }] } } }),
        ["weights"] = ("--model is", r => r with { Model = "random:1" }),
    };

    public static TheoryData<string> ChangeNames => [.. Changes.Keys];

    [Theory, MemberData(nameof(ChangeNames))]
    public void Resume_WithAnotherSetting_IsRefusedByName(string name)
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), before = Path.Combine(scratch.Path, "before");
        var run = TestRun.Small(scratch, 6);
        run.RunUntil(output, RunStart.New, 4);
        TestRun.Copy(output, before);
        Assert.Contains(Changes[name].Says, Assert.Throws<UsageException>(() => Changes[name].Change(run).Run(output, RunStart.Resume)).Message);
        Assert.All(Directory.GetFiles(before, "*", SearchOption.AllDirectories),
            file => Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(output, Path.GetRelativePath(before, file)))));
    }

    [Fact]
    public void Resume_WithOtherData_IsRefusedAndWithMovedDataGoesOn()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out"), moved = Path.Combine(scratch.Path, "moved.jsonl");
        var run = TestRun.Small(scratch, 6);
        run.Run(whole);
        run.RunUntil(output, RunStart.New, 4);
        File.WriteAllText(moved, File.ReadAllText(run.Settings.Data.Files[0].Path)
            .Replace("],\"labels\"", ",7],\"labels\"", StringComparison.Ordinal).Replace("]}", ",7]}", StringComparison.Ordinal));
        TestRun Moved() => run with { Settings = run.Settings with { Data = run.Settings.Data with { Files = [moved] } } };
        Assert.Contains("--data gives other ids and labels", Assert.Throws<UsageException>(() => Moved().Run(output, RunStart.Resume)).Message);
        File.Copy(run.Settings.Data.Files[0].Path, moved, true);
        Moved().Run(output, RunStart.Resume);
        TestRun.AssertSame(whole, output);
    }

    [Fact]
    public void Run_DeviceThatFails_NamesItsFirstErrorAndKeepsTheLastSave()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 8);
        run.Run(whole);
        // The cast of the masters; then per step scalars, gradients to zero, inputs, micro-batch and update.
        // So every life saves two steps more, and ends in another place of the third.
        var lives = 0;
        while (Record.Exception(() => run.Run(output, RunStart.Resume, failsAfter: 12 + lives % 5)) is { } error)
        {
            Assert.Equal("the device failed", Assert.IsType<DeviceException>(error).Message);
            lives++;
            if (RunCheckpoint.Steps(Path.Combine(output, "checkpoints")) is [var newest, ..])
                Assert.Equal(File.ReadAllBytes(Path.Combine(RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), newest), "adapter_model.safetensors")),
                    File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors")));
        }
        Assert.Equal(3, lives);
        TestRun.AssertSame(whole, output);
    }

    // What the run goes on from is its checkpoint, whatever --adapter names now.
    [Fact]
    public void Resume_WithAnotherAdapterToStartFrom_IsSaid()
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), fresh = Path.Combine(scratch.Path, "fresh"), data = Commands.Goldens.Data(scratch);
        Commands.Gemma2Run.Result Go(string to, params string[] options) =>
            Commands.Gemma2Run.Run(Commands.Gemma2Run.Train(data, to, [.. options, "--seq", "48", "--batch-tokens", "96"]));
        Assert.Equal(0, Go(output, "--steps", "1", "--adapter", Commands.Goldens.AdapterInit).Code);
        Assert.Equal("note: the run is now 2 steps long; it began with 1\n", Go(output, "--steps", "2", "--resume", "--adapter", Commands.Goldens.AdapterInit).Error);
        Assert.Contains("note: the adapter that the run began from is now sha256 ", Go(output, "--steps", "3", "--resume", "--adapter", Commands.Goldens.AdapterFinal).Error);
        Assert.Equal(0, Go(fresh, "--steps", "1", "--rank", "4", "--alpha", "8").Code);
        Assert.Contains("the adapter of --adapter is not used", Go(fresh, "--steps", "2", "--resume", "--adapter", fresh).Error);
    }
}
