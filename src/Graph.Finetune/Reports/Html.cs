using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;

namespace Graph.Finetune.Reports;

/// <summary>A setting or figure with its name.</summary>
public sealed record Fact(string Name, string Value);

/// <summary>Pieces of pages that need no network, and the geometry of their drawings.</summary>
static class Html
{
    public const double Width = 960, Height = 340, Left = 64, Right = 130, Top = 18, Bottom = 44;
    public const double Gib = 1L << 30;

    /// <summary>A page that may load nothing: what it needs stands in it.</summary>
    /// <param name="script">What runs at its end.</param>
    public static string Page(string title, string body, string style, string script) => $"""
        <!doctype html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
        <title>{Text(title)}</title>
        <style>{style}</style></head><body><main>
        <h1>{Text(title)}</h1>
        {body}
        </main>{(script.Length > 0 ? $"<script>{script}</script>" : "")}</body></html>

        """.ReplaceLineEndings("\n");

    /// <summary>A file of Reports/web.</summary>
    public static string Resource(string name)
    {
        using var stream = typeof(Html).Assembly.GetManifestResourceStream("web/" + name) ?? throw new InvalidOperationException($"pages: the program lacks web/{name}.");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    public static string Facts(IEnumerable<Fact> facts) => $"<dl>{string.Concat(facts.Select(f => $"<div><dt>{Text(f.Name)}</dt><dd>{Text(f.Value)}</dd></div>"))}</dl>";

    public static string Open(string label, double height = Height) => $"<svg viewBox=\"0 0 {F(Width)} {F(height)}\" role=\"img\" aria-label=\"{Text(label)}\">";

    public static void Axis(StringBuilder svg, IEnumerable<(double Y, string Text)> ticks)
    {
        foreach (var (y, text) in ticks)
            svg.Append($"<line class=\"grid\" x1=\"{F(Left)}\" x2=\"{F(Width - Right)}\" y1=\"{F(y)}\" y2=\"{F(y)}\"/>"
                + $"<text x=\"{F(Left - 8)}\" y=\"{F(y + 4)}\" text-anchor=\"end\">{Text(text)}</text>");
    }

    /// <summary>Four to eight round numbers from 0.</summary>
    public static IEnumerable<double> Ticks(double top)
    {
        var step = new[] { 1, 2, 2.5, 5, 10 }.Select(m => m * Math.Pow(10, Math.Floor(Math.Log10(top / 5)))).First(s => top / s <= 8);
        for (var t = 0.0; t <= top; t += step) yield return t;
    }

    public static double X(double share) => Left + share * (Width - Left - Right);

    public static double Y(double share) => Height - Bottom - share * (Height - Top - Bottom);

    public static string Points(IEnumerable<(double X, double Y)> points) => string.Join(' ', points.Select(p => $"{F(p.X)},{F(p.Y)}"));

    public static string F(double value) => Number(value, "0.#");

    public static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    public static string Text(string text) => WebUtility.HtmlEncode(text);
}
