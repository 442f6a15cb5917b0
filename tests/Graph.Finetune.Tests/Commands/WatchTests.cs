using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using Graph.Finetune.Adapters;
using Graph.Finetune.Commands;
using Graph.Finetune.Training;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Spectre.Console;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>What a person sees of a run.</summary>
public class WatchTests
{
    /// <summary>Stands still at a line until it is let go.</summary>
    sealed class Still(string at) : TextWriter
    {
        public ManualResetEventSlim Reached { get; } = new();
        public ManualResetEventSlim Free { get; } = new();
        public List<string> Lines { get; } = [];

        public override Encoding Encoding => Encoding.UTF8;

        public override void WriteLine(string? value)
        {
            if (value!.StartsWith(at, StringComparison.Ordinal))
            {
                Reached.Set();
                if (!Free.Wait(TimeSpan.FromMinutes(2))) throw new InvalidOperationException("the run waits for its terminal");
            }
            lock (Lines) Lines.Add(value);
        }
    }

    [Fact]
    public void Train_TerminalThatStandsStill_HoldsNothingUpAndSaysWhatItLeftOut()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        const int steps = RunOutput.MostWaiting + 40;
        using var still = new Still("step 2/");
        var seen = 0;
        var terminal = new Terminal(still, TextWriter.Null, Interactive: false)
        {
            AfterStep = report =>
            {
                if (report.Step == 2) still.Reached.Wait();
                seen = report.Step;
                // All steps came while nothing was written.
                if (report.Step == steps) still.Free.Set();
            },
        };
        Assert.Equal(0, CommandLine.Run(Train(scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7,8,9,10,1]}"), output,
            "--batch-tokens", "8", "--rank", "1", "--targets", "k_proj", "--steps", $"{steps}"), GraphModels.All, terminal));
        Assert.Equal(steps, seen);
        Assert.Equal(Enumerable.Range(1, steps), Metrics(output).Select(m => m.GetProperty("step").GetInt32()));
        var lines = still.Lines;
        Assert.StartsWith("the adapter is in ", lines[^1]);
        var shown = lines.Where(l => l.StartsWith("step ", StringComparison.Ordinal)).Select(l => int.Parse(l[5..l.IndexOf('/')])).ToArray();
        Assert.Equal(Enumerable.Range(1, shown.Length), shown);
        Assert.True(shown.Length < steps);
    }

    static StepReport Report(int step, double loss) => new(step, step / 10.0, loss, 1e-4, 0.5, 1000, 100, 3L << 30, 4L << 30, !double.IsFinite(loss)) { Work = 5e12 };

    static readonly WatchedRun Watched = new("9b", "a [big] card", 40, 100);

    static string Draw(Action<IAnsiConsole> draw, int width = 120)
    {
        using var text = new StringWriter();
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.Yes, ColorSystem = ColorSystemSupport.NoColors, Out = new AnsiConsoleOutput(text) });
        console.Profile.Width = width;
        draw(console);
        return text.ToString();
    }

    [Fact]
    public void Frame_OfARun_HasEverythingThatIsWatched()
    {
        var progress = new[] { 4.0, 3, double.NaN, 2 }
            .Select((loss, i) => Report(i + 1, loss) with { EvaluationLoss = i == 1 ? 2.5 : i == 3 ? 2.75 : null }).Aggregate(RunProgress.None, (p, r) => p.After(r));
        var text = Draw(console => console.Write(LiveView.Frame(Watched, progress, TimeSpan.FromSeconds(95))));
        // 5e12 operations in 100 ms of 100 TFLOP/s; 36 steps of 100 ms; the mean of three losses.
        var smoothed = (2 + 0.95 * 3 + 0.95 * 0.95 * 4) / (1 + 0.95 + 0.95 * 0.95);
        Assert.All(new[]
        {
            "9b on a [big] card", " 10 %", "step 4/40", "epoch 0.40", "gone 1 min 35 s", "left 3 s", "loss 2.0000", FormattableString.Invariant($"smoothed {smoothed:F4}"),
            "lr 0.0001", "grad norm 0.5", "skipped 1", "eval loss 2.7500 at step 4", "lowest 2.5000 at step 2",
            "tokens/s 10,000", "ms a step 100", "of the device's peak 50.0 %", "memory 3.00 GiB of 4.00 GiB planned", "smoothed loss ",
        }, part => Assert.Contains(part, text));
    }

    [Fact]
    public void Run_OfTheView_KeepsLinesAboveAndEndsWithTheLastStep()
    {
        var said = new Queue<Said?>([new Step(Report(1, 4), 0), null, new Line("note: something", true), new Step(Report(40, 3), 0), new Ended()]);
        var text = Draw(console => LiveView.Run(console, Watched, _ => said.Dequeue()));
        Assert.Single(text.Split("note: something")[1..]);
        Assert.True(text.IndexOf("note: something", StringComparison.Ordinal) < text.LastIndexOf("step 40/40", StringComparison.Ordinal));
        Assert.Contains("100 %", text[text.LastIndexOf("9b on", StringComparison.Ordinal)..]);
    }

    [Fact]
    public void Frame_OnANarrowTerminal_StillHasTheNumbers()
    {
        var text = Draw(console => console.Write(LiveView.Frame(Watched, RunProgress.None.After(Report(1, 4)), TimeSpan.Zero)), 30);
        Assert.All(text.Split('\n'), line => Assert.InRange(line.Length, 0, 30));
        Assert.Contains("loss 4.0000", text);
    }

    [Fact]
    public void Progress_OfALongRun_KeepsACurveOfAllOfIt()
    {
        var progress = Enumerable.Range(1, 5000).Select(i => Report(i, i)).Aggregate(RunProgress.None, (p, r) => p.After(r));
        Assert.InRange(progress.Curve.Count, 60, 120);
        Assert.Equal(progress.Curve.Order(), progress.Curve);
        Assert.InRange(progress.Curve[0], 1, 100);
        // A mean of about the last twenty.
        Assert.InRange(progress.Loss.Value, 4970, 4990);
        Assert.Equal(100, progress.Pace, 9);
    }

    [Theory, InlineData(59, "59 s"), InlineData(3599, "59 min 59 s"), InlineData(3600 * 24 - 1, "23 h 59 min"), InlineData(3600 * 25, "1 d 1 h")]
    public void Duration_HasTheTwoLargestParts(int seconds, string text) => Assert.Equal(text, LiveView.Duration(TimeSpan.FromSeconds(seconds)));

    /// <summary>A step needs the same however it is done: with activations built again, and with padding.</summary>
    [Fact]
    public void Work_OfAStep_IsThatOfAPlanWithoutRecompute()
    {
        var schedule = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());
        var adapter = AdapterSettings.Create(schedule, 4, 4, false, []);
        ExecutionPlan Plan(string recompute) => ExecutionPlan.Create(schedule, new PlanOptions(64, adapter.Ranks, ActType.F32, 1)
            { Decisions = Decisions.Named(recompute, new Shapes(schedule, 64, adapter.Ranks, ActType.F32)) });
        var whole = Plan("none");
        var ids = Enumerable.Range(0, 64).ToArray();
        var expected = whole.MicroBatch.Launches.Sum(l => (double)LaunchCost.Of(whole.Shapes, l, w => LaunchCost.Pairs(64, 64, w)).Flops);
        Assert.Equal(1, ModelWork.Of(whole).Of(64, [Graph.Runtime.Execution.MicroBatch.Pack(64, [(ids, ids)])]) / expected, 9);
        var again = Plan("full");
        Assert.True(again.MicroBatch.Launches.Count > whole.MicroBatch.Launches.Count);
        Assert.Equal(ModelWork.Of(whole).PerToken, ModelWork.Of(again).PerToken);
        Assert.Equal(ModelWork.Of(whole).PerPair, ModelWork.Of(again).PerPair);
    }
}
