using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using static Graph.Finetune.Reports.Html;

namespace Graph.Finetune.Reports;

/// <summary>What a study found of a variant.</summary>
/// <param name="Differences">The fields in which the variants differ.</param>
/// <param name="Loss">Of the checkpoint as it is, mean over <paramref name="Labels"/> labels.</param>
/// <param name="Run">Its training; null: it was not trained.</param>
/// <param name="Ended">Why the training ended before its last step; null: it did not.</param>
public sealed record StudiedVariant(string Name, IReadOnlyList<Fact> Differences, double Loss, long Labels, RunReport? Run, string? Ended);

/// <summary>A study as a page and as numbers.</summary>
public static class StudyPage
{
    public static string Html(string title, IReadOnlyList<StudiedVariant> variants)
    {
        var body = new StringBuilder(RunReport.Table(["", .. variants.Select(v => v.Name)], Rows(variants).Select(r => ("", r))));
        var trained = variants.Where(v => v.Run is not null).Select(v => v.Run! with { Name = v.Name }).ToArray();
        if (trained.Length > 0) body.Append(RunReport.Charts(trained));
        foreach (var variant in variants.Where(v => v.Ended is not null)) body.Append($"<p><b>{Text(variant.Name)}</b>: {Text(variant.Ended!)}</p>");
        return Page(title, body.ToString(), RunReport.Style, trained.Length > 0 ? RunReport.Script : "");
    }

    static IEnumerable<string[]> Rows(IReadOnlyList<StudiedVariant> variants)
    {
        for (var i = 0; i < variants[0].Differences.Count; i++) yield return Row(variants[0].Differences[i].Name, v => v.Differences[i].Value);
        yield return Row("loss of the checkpoint", v => Number(v.Loss, "F4"));
        yield return Row("perplexity", v => Number(Math.Exp(v.Loss), "G5"));
        yield return Row($"against {variants[0].Name}", v => Number(v.Loss - variants[0].Loss, "+0.0000;-0.0000;0"));
        yield return Row("over labels", v => Number(v.Labels, "N0"));
        if (variants.All(v => v.Run is null)) yield break;
        yield return Row("steps trained", v => Of(v, s => Number(s.Steps, "N0") + (v.Ended is null ? "" : ", diverged")));
        yield return Row("loss then, smoothed", v => Of(v, s => Number(s.Last.Smoothed, "F4")));
        if (variants.Any(v => v.Run?.Series.Best is not null))
        {
            yield return Row("evaluation loss then", v => Of(v, s => s.Evaluation.Values.Count > 0 ? Number(s.Evaluation.Values[^1], "F4") : "–"));
            yield return Row("lowest evaluation loss", v => Of(v, s => s.Best is { } best ? $"{Number(best.Loss, "F4")} at step {Number(best.Step, "N0")}" : "–"));
        }
        yield return Row("tokens/s", v => Of(v, s => Number(s.TokensPerSecond, "N0")));
        yield return Row("peak memory", v => Of(v, s => Bytes.Text(s.PeakBytes)));
        yield return Row("steps skipped", v => Of(v, s => Number(s.Skipped, "N0")));

        string[] Row(string name, Func<StudiedVariant, string> cell) => [name, .. variants.Select(cell)];
        static string Of(StudiedVariant variant, Func<RunSeries, string> cell) => variant.Run is { } run ? cell(run.Series) : "–";
    }

    /// <summary>One object for each variant, in the order of the page.</summary>
    public static byte[] Json(IReadOnlyList<StudiedVariant> variants)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartArray();
            foreach (var variant in variants)
            {
                json.WriteStartObject();
                json.WriteString("variant", variant.Name);
                json.WriteStartObject("differs_in");
                foreach (var (name, value) in variant.Differences) json.WriteString(name, value);
                json.WriteEndObject();
                Write("loss", variant.Loss);
                Write("perplexity", Math.Exp(variant.Loss));
                Write("loss_change", variant.Loss - variants[0].Loss);
                json.WriteNumber("labels", variant.Labels);
                if (variant.Run?.Series is { } s)
                {
                    json.WriteNumber("steps", s.Steps);
                    Write("last_loss", s.Last.Loss);
                    Write("smoothed_loss", s.Last.Smoothed);
                    if (s.Evaluation.Values.Count > 0) Write("last_eval_loss", s.Evaluation.Values[^1]);
                    if (s.Best is { } best) Write("best_eval_loss", best.Loss);
                    Write("tokens_per_second", Math.Round(s.TokensPerSecond, 1));
                    json.WriteNumber("peak_bytes", s.PeakBytes);
                    json.WriteNumber("skipped", s.Skipped);
                    json.WriteBoolean("diverged", variant.Ended is not null);
                }
                json.WriteEndObject();
            }
            json.WriteEndArray();

            void Write(string name, double value)
            {
                if (double.IsFinite(value)) json.WriteNumber(name, value);
                else json.WriteNull(name);
            }
        }
        stream.Write("\n"u8);
        return stream.ToArray();
    }
}
