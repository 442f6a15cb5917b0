using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Commands;
using Graph.Finetune.Training;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Runs;

/// <summary>The checkpoint with the lowest evaluation loss stays and is named; a run ends when that gets no lower.</summary>
public class BestTests
{
    // Trained on one text and evaluated on another that contradicts it: the loss falls at first, then rises.
    static TestRun Overfitting(Scratch scratch, int steps, int? patience)
    {
        string Line(params int[] ids) => $"{{\"input_ids\":[{string.Join(',', ids)}]}}";
        var data = scratch.File("train.jsonl", Line(2, 5, 6, 7, 8, 9, 10, 11));
        var other = scratch.File("eval.jsonl", Line(2, 5, 6, 7, 8, 900, 901, 902), Line(2, 50, 60, 70, 80, 90, 100, 110));
        var run = TestRun.Small(scratch, steps, saveEvery: 100);
        DataSettings Of(string file) => run.Settings.Data with { Files = [file], BatchTokens = 16, Seq = 16 };
        return run with { Rank = 4, Alpha = 8, Targets = [],
            Settings = run.Settings with { Data = Of(data), Evaluation = (Of(other), 2),
                Peak = 2e-2, Shape = LearningRateShape.Constant, Warmup = 6, Keep = 1, Patience = patience } };
    }

    static (int Step, double Loss)[] Evaluations(string output) =>
        [.. Metrics(output).Where(m => m.TryGetProperty("eval_loss", out _))
            .Select(m => (m.GetProperty("step").GetInt32(), m.GetProperty("eval_loss") is { ValueKind: JsonValueKind.Number } loss ? loss.GetDouble() : double.PositiveInfinity))];

    [Fact]
    public void Best_IsTheLowestLossOfAllAndStaysAfterKeep()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var said = Overfitting(scratch, 24, null).Run(output);
        var all = Evaluations(output);
        var best = all.MinBy(e => e.Loss);
        Assert.True(best.Step is > 3 and < 21, string.Join(' ', all));
        Assert.Equal(Path.Combine("checkpoints", $"step-{best.Step}"), TestRun.Best(output));
        Assert.Equal([24, best.Step], RunCheckpoint.Steps(Path.Combine(output, "checkpoints")));
        Assert.Contains(FormattableString.Invariant($"the lowest evaluation loss is {best.Loss:F4}, of step {best.Step}: {Path.Combine(output, "best")}\n"), said);
        // The link is an adapter like any other.
        var text = Succeed("eval", "--variant", "nano", "--model", Fixture.Checkpoint, "--device", "cpu", "--adapter", Path.Combine(output, "best"),
            "--data", Path.Combine(scratch.Path, "eval.jsonl"), "--seq", "16", "--batch-tokens", "16", "--json");
        Assert.Equal(JsonDocument.Parse(text).RootElement.GetProperty("eval_loss").GetDouble(), best.Loss);
    }

    [Theory, InlineData(1), InlineData(3)]
    public void Patience_OfSoManyEvaluations_EndsTheRunAndStaysOver(int patience)
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "out"), before = Path.Combine(scratch.Path, "before"), parts = Path.Combine(scratch.Path, "parts");
        var said = Overfitting(scratch, 60, patience).Run(output);
        var all = Evaluations(output);
        var best = all.MinBy(e => e.Loss);
        Assert.Equal(best.Step + 2 * patience, all[^1].Step);
        Assert.Equal(Metrics(output).Count, all[^1].Step);
        Assert.Contains($"ended early, after step {all[^1].Step}: {patience} evaluations in a row had no lower loss than step {best.Step} (--early-stopping-patience)\n", said);
        // It is over, whoever asks again, and a part at a time it ends at the same step.
        TestRun.Copy(output, before);
        Overfitting(scratch, 60, patience).Run(output, RunStart.Resume, _ => throw new InvalidOperationException("there is no step to do"));
        Assert.Equal(File.ReadAllLines(Path.Combine(before, "metrics.jsonl")), File.ReadAllLines(Path.Combine(output, "metrics.jsonl")));
        foreach (var last in new[] { 3, best.Step, best.Step + 1 }) Overfitting(scratch, 60, patience).RunUntil(parts, RunStart.Resume, last);
        Overfitting(scratch, 60, patience).Run(parts, RunStart.Resume);
        TestRun.AssertSame(output, parts);
        // More patience goes on.
        Assert.Contains("going on after step", Overfitting(scratch, 60, patience + 2).Run(output, RunStart.Resume));
        Assert.True(Metrics(output).Count > all[^1].Step);
    }

    [Fact]
    public void Resume_WithOtherEvaluationData_BeginsToCompareAnew()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Overfitting(scratch, 60, 1).Run(output);
        var done = Metrics(output).Count;
        File.WriteAllText(Path.Combine(scratch.Path, "eval.jsonl"), "{\"input_ids\":[2,5,6,7,8,9,10,11]}");
        var run = Overfitting(scratch, 60, 1);
        File.WriteAllText(Path.Combine(scratch.Path, "eval.jsonl"), "{\"input_ids\":[2,5,6,7,8,9,10,11]}");
        var said = run.Run(output, RunStart.Resume);
        Assert.Contains("note: the evaluation data is now sha256 ", said);
        Assert.True(Metrics(output).Count > done);
    }

    // The weights of skipped steps are not to be trusted, whatever an evaluation of them says.
    [Fact]
    public void Diverged_BestIsOneThatIsLeft()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var data = scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7,8,9,10,1]}");
        var result = Gemma2Run.Run(Train(data, output, "--batch-tokens", "16", "--rank", "2", "--steps", "50", "--lr", "3e3",
            "--save-every", "1", "--max-skipped", "3", "--eval-data", data, "--eval-every", "1"));
        Assert.Equal(6, result.Code);
        var good = Metrics(output).Count - 4;
        var best = Evaluations(output).Where(e => e.Step <= good).MinBy(e => e.Loss);
        Assert.Equal(Path.Combine("checkpoints", $"step-{best.Step}"), TestRun.Best(output));
        Assert.True(Directory.Exists(Path.Combine(output, "best")));
    }

    // What a copy that follows links leaves.
    [Fact]
    public void Best_ThatACopyMadeAFolder_IsALinkAgain()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var run = Overfitting(scratch, 8, null);
        run.Run(whole);
        run.RunUntil(output, RunStart.New, 3);
        var best = Path.Combine(output, "best");
        File.Delete(best);
        TestRun.Copy(RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), 2), best);
        run.Run(output, RunStart.Resume);
        TestRun.AssertSame(whole, output);
    }

    [Fact]
    public void Overwrite_TakesTheNameOfTheBestAway()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        Overfitting(scratch, 4, null).Run(output);
        Assert.NotNull(TestRun.Best(output));
        var run = Overfitting(scratch, 4, null);
        (run with { Settings = run.Settings with { Evaluation = null } }).Run(output, RunStart.Overwrite);
        Assert.Null(TestRun.Best(output));
    }

    [Fact]
    public void Patience_WithoutEvaluationData_IsRefused()
    {
        using var scratch = new Scratch();
        var result = Gemma2Run.Run(Train(scratch.File("d.jsonl", "{\"input_ids\":[2,5]}"), Path.Combine(scratch.Path, "out"), "--early-stopping-patience", "3"));
        Assert.Equal(2, result.Code);
        Assert.Contains("there are none without --eval-data", result.Error);
    }

    // What broke an evaluation off is mended: its step is not done again, and the line, the best and the end are those of a run that had no fault.
    [Theory, InlineData(4, null), InlineData(12, null), InlineData(null, 1)]
    public void Resume_AnEvaluationThatBrokeOff_IsDoneFirst(int? at, int? patience)
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var run = Overfitting(scratch, 12, patience);
        run = run with { Settings = run.Settings with { Peak = 5e-2, Evaluation = (run.Settings.Evaluation!.Value.Data with { HeldBytes = 16 }, 2) } };
        run.Run(whole);
        // By patience the run ends with an evaluation.
        var step = at ?? Metrics(whole).Count;
        Assert.Equal(patience is null, Metrics(whole).Count == 12);
        var file = Path.Combine(scratch.Path, "eval.jsonl");
        var content = File.ReadAllBytes(file);
        Assert.Contains("became shorter", Assert.Throws<InputException>(() => run.Run(output, RunStart.New, done =>
        {
            if (done != step - 1) return;
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            stream.SetLength(10);
        })).Message);
        File.WriteAllBytes(file, content);
        Assert.Equal(step, RunCheckpoint.Steps(Path.Combine(output, "checkpoints"))[0]);
        Assert.DoesNotContain("are lost", run.Run(output, RunStart.Resume));
        TestRun.AssertSame(whole, output);
    }
}
