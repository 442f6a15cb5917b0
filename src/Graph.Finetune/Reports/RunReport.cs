using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using static Graph.Finetune.Reports.Html;

namespace Graph.Finetune.Reports;

/// <summary>A run as its folder tells it.</summary>
public sealed record RunReport(string Name, RunFacts? Facts, RunSeries Series)
{
    public const string FileName = "report.html";

    /// <exception cref="InputException">It is no folder of a run, or one of its files is damaged.</exception>
    public static RunReport Read(string directory) =>
        new(Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory))), RunFacts.Read(directory), RunSeries.Read(directory));

    /// <summary>One page of a run, or of several beside each other.</summary>
    public static string Page(IReadOnlyList<RunReport> runs)
    {
        var names = Names(runs);
        var body = new StringBuilder();
        if (runs is [var run]) body.Append($"<p class=\"lead\">{Text(Lead(run))}</p>{Html.Facts(Figures(run))}");
        else body.Append(Table(["", .. names], Rows(runs.Select(r => Figures(r)).ToArray())));
        body.Append(Charts([.. runs.Zip(names).Select(r => r.First with { Name = r.Second })]));
        if (runs is [{ Facts: { } facts }])
        {
            body.Append("<h2>Memory over a micro-batch, as planned</h2>").Append(facts.Memory.Figure());
            body.Append("<h2>Activations between forward and backward</h2>").Append(ActivationRow.Table(facts.Activations));
            body.Append("<h2>Data</h2>").Append(Html.Facts(facts.Data)).Append(Lengths(facts.Lengths));
            body.Append("<h2>Settings</h2>").Append(Table([], Rows([facts.Settings])));
        }
        else if (runs.Count > 1)
        {
            body.Append("<h2>Settings</h2>").Append(Table(["", .. names], Rows(runs.Select(r => r.Facts?.Settings ?? []).ToArray())));
            body.Append("<h2>Data</h2>").Append(Table(["", .. names], Rows(runs.Select(r => r.Facts?.Data ?? []).ToArray())));
        }
        return Html.Page(runs is [var one] ? one.Name : string.Join(" and ", names), body.ToString(), Style, Script);
    }

    /// <summary>What a page with <see cref="Charts"/> needs.</summary>
    public static string Style => Resource("uPlot.min.css") + Resource("page.css");

    public static string Script => Resource("uPlot.iife.min.js") + "\n" + Resource("report.js");

    /// <summary>The curves of runs with different names, and what they are drawn from.</summary>
    public static string Charts(IReadOnlyList<RunReport> runs) =>
        Chart("loss", "Loss") + (runs.Any(r => r.Series.Evaluation.Steps.Count > 0) ? Chart("eval", "Evaluation loss") : "")
        + Chart("lr", "Learning rate") + Chart("norm", "Norm of the gradient") + Chart("speed",
        "Tokens a second") + $"<script type=\"application/json\" id=\"runs\">{Json(runs)}</script>";

    static string Chart(string name, string title) =>
        $"<h2>{Text(title)}</h2><div class=\"chart\" data-chart=\"{name}\" role=\"img\" aria-label=\"{Text(title)} over the steps\"></div>";

    static string Lead(RunReport run) => run.Facts is not { } facts ? $"{run.Series.Steps} steps"
        : $"{facts.Variant} from {facts.Model} on {facts.Device}: {run.Series.Steps} of {facts.Steps} steps";

    static IReadOnlyList<Fact> Figures(RunReport run)
    {
        var s = run.Series;
        return
        [
            new("steps", Number(s.Steps, "N0")), new("loss", Number(s.Last.Loss, "F4")), new("smoothed", Number(s.Last.Smoothed, "F4")),
            .. s.Best is { } best ? [new Fact("lowest evaluation loss", $"{Number(best.Loss, "F4")} at step {Number(best.Step, "N0")}")] : Array.Empty<Fact>(),
            new("tokens", Number(s.Tokens, "N0")), new("tokens/s", Number(s.TokensPerSecond, "N0")), new("time", Duration(s.Seconds)), new("skipped", Number(s.Skipped, "N0")),
            new("peak memory", Bytes.Text(s.PeakBytes)), new("planned", Bytes.Text(s.PlannedPeakBytes)),
        ];
    }

    // A row for each name that one of the columns has, in the order of the first that has it. What columns do not agree on stands out.
    static IEnumerable<(string Class, string[] Cells)> Rows(IReadOnlyList<IReadOnlyList<Fact>> columns)
    {
        foreach (var name in columns.SelectMany(c => c.Select(f => f.Name)).Distinct())
        {
            string[] values = [.. columns.Select(c => c.FirstOrDefault(f => f.Name == name)?.Value ?? "–")];
            yield return (columns.Count == 1 ? "" : values.Distinct().Count() == 1 ? "same" : "differs", [name, .. values]);
        }
    }

    /// <param name="head">Of the columns; none: the table has no head.</param>
    public static string Table(IReadOnlyList<string> head, IEnumerable<(string Class, string[] Cells)> rows) =>
        $"<div class=\"scroll\"><table>{(head.Count > 0 ? $"<thead><tr>{string.Concat(head.Select(h => $"<th>{Text(h)}</th>"))}</tr></thead>" : "")}<tbody>"
        + string.Concat(rows.Select(r => $"<tr class=\"{r.Class}\">{string.Concat(r.Cells.Select((c, i) => $"<td{(i > 0 ? " class=\"wide\"" : "")}>{Text(c)}</td>"))}</tr>"))
        + "</tbody></table></div>";

    static string Lengths(IReadOnlyList<LengthBin> bins)
    {
        if (bins.Count == 0) return "";
        const double height = 200, bottom = 30;
        var most = Math.Max(1, bins.Max(b => b.Documents));
        var svg = new StringBuilder(Open("Documents by their length in tokens", height));
        var width = (Width - Left - Right) / bins.Count;
        for (var i = 0; i < bins.Count; i++)
        {
            var (x, bar) = (Left + i * width, (height - bottom - 24) * bins[i].Documents / most);
            svg.Append($"<rect class=\"bar\" x=\"{F(x + 2)}\" y=\"{F(height - bottom - bar)}\" width=\"{F(width - 4)}\" height=\"{F(bar)}\">"
                + $"<title>{bins[i].Documents} documents of {bins[i].Least} to {bins[i].Most} tokens</title></rect>");
            svg.Append($"<text x=\"{F(x + width / 2)}\" y=\"{F(height - bottom - bar - 5)}\" text-anchor=\"middle\">"
                + $"{(bins[i].Documents > 0 ? Number(bins[i].Documents, "N0") : "")}</text>");
            svg.Append($"<text x=\"{F(x + width / 2)}\" y=\"{F(height - bottom + 16)}\" text-anchor=\"middle\">"
                + $"{(bins[i].Least == bins[i].Most ? $"{bins[i].Least}" : $"{bins[i].Least}–{bins[i].Most}")}</text>");
        }
        return $"<figure>{svg}</svg><figcaption>Documents by their length in tokens.</figcaption></figure>";
    }

    static IReadOnlyList<string> Names(IReadOnlyList<RunReport> runs) => [.. runs.Select((r, i) => runs.Count(other => other.Name == r.Name) > 1 ? $"{r.Name} ({i + 1})" : r.Name)];

    // A file that somebody changed may say any number.
    static string Duration(double seconds) => seconds is >= 0 and < 1e11 ? Duration(TimeSpan.FromSeconds(seconds)) : "–";

    static string Duration(TimeSpan time) => time.TotalHours >= 1 ? $"{(int)time.TotalHours} h {time.Minutes} min"
        : time.TotalMinutes >= 1 ? $"{time.Minutes} min {time.Seconds} s" : $"{Number(time.TotalSeconds, "F1")} s";

    // What report.js draws.
    static string Json(IReadOnlyList<RunReport> runs)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartArray();
            foreach (var run in runs)
            {
                var s = run.Series;
                json.WriteStartObject();
                json.WriteString("name", run.Name);
                json.WriteStartObject("charts");
                // Of several runs single losses would hide each other.
                Write("loss", runs.Count > 1 ? [("", "line", s.Smoothed)] : [("loss", "faint", s.Loss), ("smoothed", "line", s.Smoothed)]);
                if (s.Evaluation.Steps.Count > 0) Write("eval", [(runs.Count > 1 ? "" : "evaluation loss", "points", s.Evaluation)]);
                Write("lr", [(runs.Count > 1 ? "" : "learning rate", "line", s.LearningRate)]);
                Write("norm", [(runs.Count > 1 ? "" : "gradient norm", "line", s.GradientNorm)]);
                Write("speed", [(runs.Count > 1 ? "" : "tokens/s", "line", s.Speed)]);
                json.WriteEndObject();
                json.WriteEndObject();
            }
            json.WriteEndArray();

            void Write(string chart, (string Label, string Style, Curve Curve)[] lines)
            {
                json.WriteStartArray(chart);
                foreach (var (label, style, curve) in lines)
                {
                    json.WriteStartObject();
                    json.WriteString("label", label);
                    json.WriteString("style", style);
                    Numbers("x", curve.Steps);
                    Numbers("y", curve.Values);
                    json.WriteEndObject();
                }
                json.WriteEndArray();
            }

            void Numbers(string name, IReadOnlyList<double> values)
            {
                json.WriteStartArray(name);
                foreach (var value in values)
                {
                    // Six digits are more than a picture shows.
                    if (double.IsFinite(value)) json.WriteRawValue(value.ToString("G6", System.Globalization.CultureInfo.InvariantCulture));
                    else json.WriteNullValue();
                }
                json.WriteEndArray();
            }
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
