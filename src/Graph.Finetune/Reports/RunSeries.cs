using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;

namespace Graph.Finetune.Reports;

/// <summary>A value at each of some steps; NaN: none that is finite.</summary>
public sealed record Curve(IReadOnlyList<double> Steps, IReadOnlyList<double> Values);

/// <summary>The steps of a run as its metrics.jsonl has them. A long run's curves have a mean for several steps in each point.</summary>
/// <param name="Last">The last loss and its mean over about twenty steps.</param>
/// <param name="Best">The lowest evaluation; null: there was none.</param>
/// <param name="TokensPerSecond">Of all steps but the first.</param>
public sealed record RunSeries(Curve Loss, Curve Smoothed, Curve Evaluation, Curve LearningRate, Curve GradientNorm, Curve Speed, int Steps, long Tokens, double Seconds,
    double TokensPerSecond, (double Loss, double Smoothed) Last,
    (double Step, double Loss)? Best, int Skipped, long PeakBytes, long PlannedPeakBytes)
{
    /// <summary>Points of a curve at most.</summary>
    const int MostPoints = 2000;

    sealed record Line(int Step, double Loss, double Rate, double Norm, long Tokens, double Milliseconds, double Speed, long Peak, long Planned, bool Skipped, double? Evaluation);

    /// <exception cref="InputException">The folder has no metrics.jsonl, or a line of it is damaged.</exception>
    public static RunSeries Read(string directory)
    {
        var path = Path.Combine(directory, MetricsFile.Name);
        if (!Directory.Exists(directory)) throw new InputException($"there is no folder '{directory}'; give the --out of a run.");
        if (!File.Exists(path)) throw new InputException($"'{directory}' has no {MetricsFile.Name}, so it is no run; give the --out of one.");
        try
        {
            return Of([.. Lines(path)]);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            throw new InputException($"{path} cannot be read: {e.Message.TrimEnd('.')}.");
        }
    }

    static RunSeries Of(IReadOnlyList<Line> lines)
    {
        var smoothed = new double[lines.Count];
        var mean = SmoothedLoss.None;
        for (var i = 0; i < smoothed.Length; i++) smoothed[i] = (mean = mean.After(lines[i].Loss)).Value;
        var evaluations = lines.Where(l => l.Evaluation is not null).ToArray();
        var best = evaluations.Where(l => double.IsFinite(l.Evaluation!.Value)).OrderBy(l => l.Evaluation).FirstOrDefault();
        // The first step of a start has what is made ready once.
        var timed = lines.Skip(lines.Count > 1 ? 1 : 0).ToArray();
        var seconds = timed.Sum(l => l.Milliseconds) / 1000;
        return new RunSeries(Curve(l => l.Loss),
            new Curve(Buckets(lines.Count).Select(b => (double)lines[b.End.Value - 1].Step).ToArray(), [.. Buckets(lines.Count).Select(b => smoothed[b.End.Value - 1])]),
            new Curve([.. evaluations.Select(l => (double)l.Step)], [.. evaluations.Select(l => l.Evaluation!.Value)]), Curve(l => l.Rate), Curve(l => l.Norm),
                Curve(l => l.Speed),
            lines.Count == 0 ? 0 : lines[^1].Step, lines.Sum(l => l.Tokens), lines.Sum(l => l.Milliseconds) / 1000, seconds > 0 ? timed.Sum(l => l.Tokens) / seconds : 0,
            lines.Count == 0 ? (double.NaN, double.NaN) : (lines[^1].Loss, smoothed[^1]), best is null ? null : (best.Step, best.Evaluation!.Value), lines.Count(l => l.Skipped),
            lines.Select(l => l.Peak).DefaultIfEmpty().Max(), lines.Select(l => l.Planned).DefaultIfEmpty().Max());

        Curve Curve(Func<Line, double> value) => new([.. Buckets(lines.Count).Select(b => (double)lines[b.End.Value - 1].Step)],
            [.. Buckets(lines.Count).Select(b => lines.Take(b).Select(value).Where(double.IsFinite).DefaultIfEmpty(double.NaN).Average())]);
    }

    static IEnumerable<Range> Buckets(int count)
    {
        var size = (count + MostPoints - 1) / MostPoints;
        for (var at = 0; at < count; at += size) yield return at..Math.Min(count, at + size);
    }

    // A part of a line at the end is one that is being written.
    static IEnumerable<Line> Lines(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite), Encoding.UTF8);
        string? text = reader.ReadLine();
        for (var number = 1; text is not null; number++)
        {
            var next = reader.ReadLine();
            if (Parse(text) is { } line) yield return line;
            else if (next is not null) throw new InputException($"{path}, line {number}, is no step of a run: {(text.Length > 60 ? text[..60] + "…" : text)}");
            text = next;
        }
    }

    static Line? Parse(string text)
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            var root = json.RootElement;
            return new Line(root.GetProperty("step").GetInt32(), Number("loss"), Number("lr"), Number("grad_norm"), Count("tokens"), Number("step_ms"),
                Number("tokens_per_second"), Count("peak_bytes"), Count("planned_peak_bytes"),
                root.GetProperty("skipped").GetBoolean(), root.TryGetProperty("eval_loss", out _) ? Number("eval_loss") : null);

            // More than any step has would overflow the sums.
            long Count(string name) => Number(name) is >= 0 and < 1e15 and var count ? (long)count : throw new FormatException(name);
            double Number(string name) => root.GetProperty(name) is { ValueKind: JsonValueKind.Null } ? double.NaN : root.GetProperty(name).GetDouble();
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }
}
