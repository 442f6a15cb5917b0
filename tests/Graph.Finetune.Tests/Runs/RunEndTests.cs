using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Finetune.Adapters;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Commands;
using Graph.Finetune.Training;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Runs;

/// <summary>However a run ends, what it trained is there and is said.</summary>
public class RunEndTests
{
    static readonly Schedule Nano = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());

    static Result RunTo(TextWriter output, params string[] args)
    {
        using var error = new StringWriter();
        return new Result(CommandLine.Run(args, GraphModels.All, new Terminal(output, error, Interactive: false)), "", error.ToString());
    }

    static string[] Run(Scratch scratch, string output, params string[] more) =>
        Train(scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7,8,9,10,1]}"), output, ["--batch-tokens", "16", "--rank", "2", .. more]);

    [Fact]
    public void Train_StandardOutputThatFails_LosesNothing()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var result = RunTo(new FailingWriter("step 2/", () => new IOException("no space left")), Run(scratch, output, "--steps", "4"));
        Assert.Equal(0, result.Code);
        Assert.Equal("warning: standard output cannot be written (no space left); the run goes on without it\n", result.Error);
        Assert.Equal(4, Metrics(output).Count);
        Assert.Equal(28, PeftAdapter.Load(output, Nano).Modules.Count);
    }

    [Fact]
    public void Train_BothOutputsThatFail_LosesNothing()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        using var failing = new FailingWriter("", () => new IOException("gone"));
        Assert.Equal(0, CommandLine.Run(Run(scratch, output, "--steps", "3"), GraphModels.All, new Terminal(failing, failing, Interactive: false)));
        Assert.Equal(3, Metrics(output).Count);
    }

    [Fact]
    public void Train_FaultInTheMiddle_SavesTheStepsThatAreDone()
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), whole = Path.Combine(scratch.Path, "whole");
        using var error = new StringWriter();
        var terminal = new Terminal(TextWriter.Null, error, Interactive: false)
            { AfterStep = report => { if (report.Step == 3) throw new InvalidDataException("something else"); } };
        Assert.Equal(1, CommandLine.Run(Run(scratch, output, "--steps", "6"), GraphModels.All, terminal));
        Assert.Contains("3 steps were done; the last save, with its adapter, is " + Path.Combine(output, "checkpoints", "step-3"), error.ToString());
        Succeed(Run(scratch, output, "--steps", "6", "--resume"));
        Succeed(Run(scratch, whole, "--steps", "6"));
        Assert.Equal(File.ReadAllBytes(Adapter(whole)), File.ReadAllBytes(Adapter(output)));
    }

    [Theory, InlineData(50), InlineData(1)]
    public void Train_Diverged_EndsWithTheLastGoodSave(int keep)
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        // Of a bad learning rate some steps still are finite; which, the metrics say.
        var result = Gemma2Run.Run(Run(scratch, output, "--steps", "50", "--lr", "3e3", "--save-every", "1", "--keep", $"{keep}", "--max-skipped", "3"));
        Assert.Equal(6, result.Code);
        var skipped = Metrics(output).Select(m => m.GetProperty("skipped").GetBoolean()).ToArray();
        Assert.Equal([true, true, true], skipped[^3..]);
        var first = skipped.Length - 2;
        Assert.Contains($"steps in a row, {first} to {skipped.Length}, were not finite (--max-skipped 3)", result.Error);
        // The weights that the skipped steps used are those of the step before.
        var good = first - 2;
        Assert.True(good > 0, "the learning rate of this test must leave some steps");
        Assert.Contains($"is the one of step {good}, the last good save", result.Error);
        Assert.Equal(File.ReadAllBytes(Path.Combine(output, "checkpoints", $"step-{good}", "adapter_model.safetensors")), File.ReadAllBytes(Adapter(output)));
        Assert.Equal(Enumerable.Range(1, good).Reverse().Take(keep), RunCheckpoint.Steps(Path.Combine(output, "checkpoints")));
    }

    [Fact]
    public void Train_DivergedBeforeASave_LeavesNoAdapter()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var result = Gemma2Run.Run(Run(scratch, output, "--steps", "50", "--lr", "1e6"));
        Assert.Equal(6, result.Code);
        Assert.Contains("there was no good save before, so there is no adapter of this run", result.Error);
        Assert.False(File.Exists(Adapter(output)));
        Assert.Equal(5, Metrics(output).Reverse().TakeWhile(m => m.GetProperty("skipped").GetBoolean()).Count());
    }

    [Fact]
    public void Eval_LossThatIsNoNumber_IsAnError()
    {
        using var scratch = new Scratch();
        var data = scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7,8,9,10,1]}");
        var adapter = PeftAdapter.Load(Goldens.AdapterFinal, Nano);
        PeftAdapter.Save(Path.Combine(scratch.Path, "a"),
            adapter with { Modules = [.. adapter.Modules.Select(m => m with { A = [.. m.A.Select(_ => 3e38f)], B = [.. m.B.Select(_ => 3e38f)] })] }, null);
        var result = Gemma2Run.Run("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--device", "cpu", "--batch-tokens", "16",
            "--data", data, "--adapter", Path.Combine(scratch.Path, "a"), "--json");
        Assert.Equal((6, ""), (result.Code, result.Out));
        Assert.Contains("the adapter diverged", result.Error);
    }

    [Fact]
    public void Train_ExamplesAndMicroBatchesWithoutLabels_AreCounted()
    {
        using var scratch = new Scratch();
        var data = scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7]}", "{\"input_ids\":[2,5,6,7],\"labels\":[-100,-100,-100,-100]}",
            "{\"input_ids\":[2,5,6,8],\"labels\":[2,-100,-100,-100]}");
        var result = Gemma2Run.Run(Train(data, Path.Combine(scratch.Path, "out"), "--seq", "4", "--batch-tokens", "4", "--epochs", "1"));
        Assert.Equal(0, result.Code);
        Assert.Contains("note: 2 of 3 examples have no label and teach nothing; the first is line 2\n", result.Error);
        Assert.Contains("note: 2 of 3 micro-batches of the first epoch have no label and are passed over\n", result.Error);
        Assert.Contains("1 micro-batches an epoch, 1 steps", result.Out);
    }

    [Fact]
    public void Report_OfASkippedStep_SaysSoEverywhere()
    {
        var report = new Graph.Finetune.Training.StepReport(3, 1, double.NaN, 1, double.NaN, 8, 1, 0, 0, true);
        Assert.Contains("skipped", report.Text(5));
        Assert.Equal(1, RunProgress.None.After(report).Skipped);
    }

    // Every moment between the writing of a new adapter's folder and its end.
    [Theory, InlineData(0), InlineData(1), InlineData(2), InlineData(3)]
    public void Save_ThatDiedAtAnyMoment_IsTheOldOrTheNewAdapter(int moment)
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), old = Path.Combine(scratch.Path, "old"), other = Path.Combine(scratch.Path, "new");
        var adapter = PeftAdapter.Load(Goldens.AdapterFinal, Nano);
        PeftAdapter.Save(old, adapter with { Alpha = 32 }, null);
        PeftAdapter.Save(other, adapter with { Modules = [.. adapter.Modules.Select(m => m with { B = [.. m.B.Select(b => b / 2)] })] }, null);
        PeftAdapter.Save(output, adapter with { Alpha = 32 }, null);
        string Next(string name) => Path.Combine(output, "adapter.next", name);
        Directory.CreateDirectory(Path.Combine(output, "adapter.next"));
        foreach (var name in new[] { PeftAdapter.ConfigName, PeftAdapter.WeightsName }) File.Copy(Path.Combine(other, name), Next(name));
        if (moment > 0) File.Delete(Path.Combine(output, PeftAdapter.ConfigName));
        if (moment > 1) File.Move(Next(PeftAdapter.WeightsName), Path.Combine(output, PeftAdapter.WeightsName), true);
        if (moment > 2) File.Move(Next(PeftAdapter.ConfigName), Path.Combine(output, PeftAdapter.ConfigName));
        // PEFT, which knows nothing of it, never sees new weights beside the old config.
        if (File.Exists(Path.Combine(output, PeftAdapter.ConfigName)))
            Assert.Equal(new[] { PeftAdapter.ConfigName, PeftAdapter.WeightsName }.Select(n => File.ReadAllBytes(Path.Combine(moment == 0 ? old : other, n))),
                new[] { PeftAdapter.ConfigName, PeftAdapter.WeightsName }.Select(n => File.ReadAllBytes(Path.Combine(output, n))));
        var loaded = PeftAdapter.Load(output, Nano);
        Assert.Equal((16.0, adapter.Modules[0].B[0] / 2), (loaded.Alpha, loaded.Modules[0].B[0]));
        PeftAdapter.Complete(output);
        Assert.Equal([PeftAdapter.ConfigName, PeftAdapter.WeightsName], Directory.GetFileSystemEntries(output).Select(f => Path.GetFileName(f)).Order());
        Assert.All([PeftAdapter.ConfigName, PeftAdapter.WeightsName],
            name => Assert.Equal(File.ReadAllBytes(Path.Combine(other, name)), File.ReadAllBytes(Path.Combine(output, name))));
    }
}
