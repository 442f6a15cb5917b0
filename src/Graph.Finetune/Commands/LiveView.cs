using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using Graph.Finetune.Training;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Graph.Finetune.Commands;

/// <summary>A run on a terminal: a few lines that are drawn again in their place as steps come; what else is said stands above them.</summary>
static class LiveView
{
    const int BarWidth = 40, CurveWidth = 60;
    const string Bars = "▁▂▃▄▅▆▇█";

    static readonly TimeSpan Redraw = TimeSpan.FromMilliseconds(100), Idle = TimeSpan.FromSeconds(1);

    /// <summary>Null: the terminal cannot move its cursor.</summary>
    public static IAnsiConsole? Console(TextWriter output)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output) });
        return console.Profile.Capabilities.Ansi ? console : null;
    }

    /// <summary>Draws until the last step.</summary>
    /// <param name="next">What comes next, waiting for it so long at most; null: nothing came.</param>
    public static void Run(IAnsiConsole console, WatchedRun run, Func<TimeSpan, Said?> next)
    {
        var (progress, since, drawn, hold) = (RunProgress.None, Stopwatch.GetTimestamp(), 0L, false);
        console.Live(Frame(run, progress, TimeSpan.Zero)).AutoClear(false).Start(context =>
        {
            for (var ended = false; !ended;)
            {
                var one = next(hold ? Left() : Idle);
                switch (one)
                {
                    case Line line: console.Write(new Text(line.Text + "\n")); break;
                    case Step step: progress = progress.After(step.Report); break;
                    case Ended: ended = true; break;
                }
                // Steps of a small model come faster than anybody reads.
                hold = one is not null && !ended && Left() > TimeSpan.Zero;
                if (hold) continue;
                context.UpdateTarget(Frame(run, progress, Stopwatch.GetElapsedTime(since)));
                drawn = Stopwatch.GetTimestamp();
            }
        });

        TimeSpan Left() => Redraw - Stopwatch.GetElapsedTime(drawn) is { Ticks: > 0 } left ? left : TimeSpan.Zero;
    }

    /// <summary>The lines at one moment.</summary>
    public static IRenderable Frame(WatchedRun run, RunProgress progress, TimeSpan elapsed)
    {
        if (progress.Last is not { } last) return new Markup($"{Markup.Escape(run.Name)} on {Markup.Escape(run.Device)} [grey]first step[/]");
        var share = (double)last.Step / run.Steps;
        var filled = (int)(BarWidth * share);
        List<string> lines =
        [
            $"{Markup.Escape(run.Name)} on {Markup.Escape(run.Device)}  [green]{new string('━', filled)}[/]"
                + $"[grey]{new string('━', BarWidth - filled)}[/] {Text($"{100 * share:F0}")} %",
            Items(("step", Text($"{last.Step:N0}/{run.Steps:N0}")), ("epoch", Text($"{last.Epoch:F2}")), ("gone", Duration(elapsed)), ("left", Duration(progress.Left(run.Steps)))),
            Items(("loss", Text($"{last.Loss:F4}")), ("smoothed", Text($"{progress.Loss.Value:F4}")), ("lr", Text($"{last.LearningRate:G3}")),
                ("grad norm", Text($"{last.GradientNorm:G4}")), (progress.Skipped > 0 ? "[red]skipped[/]" : "skipped", Text($"{progress.Skipped}"))),
        ];
        if (progress.Evaluation is { } evaluation)
            lines.Add(Items(("eval loss", Text($"{evaluation.Loss:F4} at step {evaluation.Step:N0}")),
                ("lowest", progress.Best is { } best ? Text($"{best.Loss:F4} at step {best.Step:N0}") : "none")));
        lines.Add(Items(("tokens/s", Text($"{last.TokensPerSecond:N0}")), ("ms a step", Text($"{last.Milliseconds:N0}")),
            ("of the device's peak", run.Tflops is { } peak ? Text($"{100 * last.Work / last.Milliseconds / 1e9 / peak:F1} %") : "–"),
                ("memory", $"{Bytes.Text(last.PeakBytes)} of {Bytes.Text(last.PlannedPeakBytes)} planned")));
        if (progress.Curve.Count > 1) lines.Add($"[green]{Curve(progress.Curve)}[/] [grey]smoothed loss {Text($"{progress.Curve.Min():F3} to {progress.Curve.Max():F3}")}[/]");
        return new Rows(lines.Select(l => new Markup(l)));
    }

    static string Items(params (string Name, string Value)[] items) => string.Join("   ", items.Select(i => $"[grey]{i.Name}[/] {i.Value}"));

    /// <summary>Days and hours, hours and minutes, minutes and seconds, or seconds.</summary>
    public static string Duration(TimeSpan time) => time switch
    {
        { TotalDays: >= 1 } => Text($"{time.Days} d {time.Hours} h"),
        { TotalHours: >= 1 } => Text($"{time.Hours} h {time.Minutes} min"),
        { TotalMinutes: >= 1 } => Text($"{time.Minutes} min {time.Seconds} s"),
        _ => Text($"{time.Seconds} s"),
    };

    // A column has the mean of its points, at a height between the lowest and the highest point.
    static string Curve(IReadOnlyList<double> points)
    {
        var columns = Math.Min(CurveWidth, points.Count);
        var means = Enumerable.Range(0, columns)
            .Select(c => points.Skip(points.Count * c / columns).Take(Math.Max(1, points.Count * (c + 1) / columns - points.Count * c / columns)).Average()).ToArray();
        var (low, high) = (means.Min(), means.Max());
        return string.Concat(means.Select(m => Bars[high > low ? (int)Math.Min(Bars.Length - 1, Bars.Length * (m - low) / (high - low)) : 0]));
    }

    static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
