using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Net;
using System.Text;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>Longest context of one row at each of some budgets.</summary>
sealed record ContextCurve(string Variant, IReadOnlyList<(long Budget, int Tokens)> Points);

/// <summary>A plan as one HTML page that needs no network: memory over a step, what happens to each activation, longest context against memory.</summary>
static class PlanPage
{
    const double Width = 960, Height = 340, Left = 64, Right = 130, Top = 18, Bottom = 44;

    /// <summary>Columns of the memory chart at most; each shows the launch at which the most is alive.</summary>
    const int Columns = 480;

    const double Gib = 1L << 30;

    static readonly MemoryCategory[] Order =
        [MemoryCategory.Driver, MemoryCategory.Weights, MemoryCategory.Adapters, MemoryCategory.Optimizer, MemoryCategory.Saved, MemoryCategory.WorkingSet];

    public static string Html(string title, PlannedStep step, DeviceProfile device, long budget, IReadOnlyList<ContextCurve> curves)
    {
        var html = new StringBuilder();
        html.Append($"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{Text(title)}</title>
            <style>{Style}</style></head><body><main>
            <h1>{Text(title)}</h1>
            <p class="lead">{Text(PlanText.Line(step))}</p>
            <dl>{Fact("peak", Bytes.Text(step.Footprint.Total))}{Fact("budget", Bytes.Text(budget))}{Fact("step", Number(step.Milliseconds, "F0") + " ms")}
            {Fact("tokens/s", Number(step.TokensPerSecond, "F0"))}{Fact("card", device.Name)}</dl>
            <h2>Memory over a micro-batch</h2>
            """);
        html.Append(Memory(step, device, budget));
        html.Append("<h2>Activations between forward and backward</h2>").Append(Decisions(step));
        if (curves.Count > 0) html.Append("<h2>Longest context against memory</h2>").Append(Contexts(curves, budget)).Append(ContextTable(curves));
        return html.Append("</main></body></html>\n").ToString();
    }

    static string Fact(string name, string value) => $"<div><dt>{Text(name)}</dt><dd>{Text(value)}</dd></div>";

    static string Memory(PlannedStep step, DeviceProfile device, long budget)
    {
        var use = MemoryUse.Of(step);
        var (launches, ends) = (step.Plan.MicroBatch.Launches.Count, Ends(step, device));
        var total = ends[^1];
        var columns = Enumerable.Range(0, Columns).Select(c => Enumerable.Range(0, launches).Skip(launches * c / Columns).Take(launches * (c + 1) / Columns - launches * c / Columns)
            .DefaultIfEmpty(-1).MaxBy(i => i < 0 ? 0 : use.Saved[i] + use.WorkingSet[i])).Where(i => i >= 0).ToArray();
        var top = 1.05 * Math.Max(budget, step.Footprint.Total);
        var svg = new StringBuilder(Open("Memory by category over the launches of a micro-batch, with the budget"));
        Axis(svg, Ticks(top / Gib).Select(t => (Y(t * Gib / top), Number(t, "G4") + " GiB")));
        var below = new double[columns.Length];
        foreach (var category in Order)
        {
            var above = columns.Select((at, i) => below[i] + Of(use, category, at)).ToArray();
            var points = columns.SelectMany((at, i) => new[] { (X(Start(at)), Y(above[i] / top)), (X(ends[at] / total), Y(above[i] / top)) })
                .Concat(columns.Select((at, i) => (at, i)).Reverse().SelectMany(c => new[] { (X(ends[c.at] / total), Y(below[c.i] / top)), (X(Start(c.at)), Y(below[c.i] / top)) }));
            svg.Append($"<polygon class=\"c{(int)category}\" points=\"{Points(points)}\"><title>{Text(PlanText.Name(category))}: {Bytes.Text(use.AtPeak[category])} at the peak</title></polygon>");
            below = above;
        }
        var turn = X(Start(Math.Min(step.Plan.MicroBatch.BackwardStart, launches - 1)));
        svg.Append($"<line class=\"turn\" x1=\"{F(turn)}\" x2=\"{F(turn)}\" y1=\"{F(Top)}\" y2=\"{F(Height - Bottom)}\"/>");
        svg.Append($"<text x=\"{F(turn - 6)}\" y=\"{F(Height - Bottom + 18)}\" text-anchor=\"end\">forward</text><text x=\"{F(turn + 6)}\" y=\"{F(Height - Bottom + 18)}\">backward</text>");
        svg.Append($"<text x=\"{F(Width - Right)}\" y=\"{F(Height - Bottom + 34)}\" text-anchor=\"end\">{Number(total, "F0")} ms, predicted</text>");
        svg.Append($"<line class=\"budget\" x1=\"{F(Left)}\" x2=\"{F(Width - Right)}\" y1=\"{F(Y(budget / top))}\" y2=\"{F(Y(budget / top))}\"/>");
        svg.Append($"<text class=\"budget-text\" x=\"{F(Width - Right + 6)}\" y=\"{F(Y(budget / top) + 4)}\">budget {Bytes.Text(budget)}</text></svg>");
        var legend = string.Concat(Order.Reverse().Select(c => $"<li><span class=\"key c{(int)c}\"></span>{Text(PlanText.Name(c))}<b>{Bytes.Text(use.AtPeak[c])}</b></li>"));
        return $"<figure>{svg}<figcaption>At the peak:<ul class=\"legend\">{legend}</ul></figcaption></figure>";

        double Start(int at) => (at == 0 ? 0 : ends[at - 1]) / total;
    }

    // The time at which each launch has ended.
    static double[] Ends(PlannedStep step, DeviceProfile device)
    {
        var ends = new double[step.Plan.MicroBatch.Launches.Count];
        foreach (var (at, ms) in StepPrediction.Launches(step.Plan, device)) ends[at] = ms;
        for (var i = 1; i < ends.Length; i++) ends[i] += ends[i - 1];
        return ends;
    }

    static double Of(MemoryUse use, MemoryCategory category, int at) => category switch
    {
        MemoryCategory.Saved => use.Saved[at],
        MemoryCategory.WorkingSet => use.WorkingSet[at],
        _ => use.AtPeak[category],
    };

    static string Decisions(PlannedStep step) => "<div class=\"scroll\"><table><thead><tr><th>activation</th><th>what happens</th><th>layers</th><th>bytes</th><th>costs</th><th>costs for a GiB</th></tr></thead><tbody>"
        + string.Concat(PlanText.Classes(step).Select(c => $"<tr><td><code>{Text(c.Tensor)}</code></td><td class=\"a{(int)c.Action}\">{PlanText.Verb(c.Action)}</td><td>{Text(KernelsCommand.Layers(c.Layers))}</td>"
            + $"<td>{Bytes.Text(c.Bytes)}</td><td>{(c.Milliseconds > 0 ? Number(c.Milliseconds, "F2") + " ms" : "")}</td><td>{(c.Milliseconds > 0 ? Number(c.Milliseconds / (c.Bytes / Gib), "F2") + " ms" : "")}</td></tr>"))
        + "</tbody></table></div>";

    static string Contexts(IReadOnlyList<ContextCurve> curves, long budget)
    {
        var points = curves.SelectMany(c => c.Points).Where(p => p.Tokens > 0).ToArray();
        if (points.Length == 0) return "";
        var (leastGib, mostGib) = (curves.SelectMany(c => c.Points).Min(p => p.Budget) / Gib, curves.SelectMany(c => c.Points).Max(p => p.Budget) / Gib);
        var (low, high) = (Math.Floor(Math.Log2(points.Min(p => p.Tokens))), Math.Ceiling(Math.Log2(points.Max(p => p.Tokens))));
        if (high <= low) high = low + 1;
        var svg = new StringBuilder(Open("Longest context of one row in tokens against memory in GiB"));
        Axis(svg, Enumerable.Range((int)low, (int)(high - low) + 1).Select(power => (Y((power - low) / (high - low)), Tokens(1L << power))));
        foreach (var gib in curves[0].Points.Select(p => p.Budget / Gib))
            svg.Append($"<text x=\"{F(AtGib(gib))}\" y=\"{F(Height - Bottom + 18)}\" text-anchor=\"middle\">{Number(gib, "G4")}</text>");
        svg.Append($"<text x=\"{F(Width - Right)}\" y=\"{F(Height - Bottom + 36)}\" text-anchor=\"end\">GiB of memory</text>");
        if (budget / Gib >= leastGib && budget / Gib <= mostGib)
            svg.Append($"<line class=\"budget\" x1=\"{F(AtGib(budget / Gib))}\" x2=\"{F(AtGib(budget / Gib))}\" y1=\"{F(Top)}\" y2=\"{F(Height - Bottom)}\"/>");
        for (var i = 0; i < curves.Count; i++)
        {
            var seen = curves[i].Points.Where(p => p.Tokens > 0).Select(p => (X: AtGib(p.Budget / Gib), Y: Y((Math.Log2(p.Tokens) - low) / (high - low)), p.Tokens)).ToArray();
            if (seen.Length == 0) continue;
            svg.Append($"<polyline class=\"l{i % 6}\" points=\"{Points(seen.Select(p => (p.X, p.Y)))}\"/>");
            foreach (var p in seen) svg.Append($"<circle class=\"d{i % 6}\" cx=\"{F(p.X)}\" cy=\"{F(p.Y)}\" r=\"3.5\"><title>{Text(curves[i].Variant)}: {p.Tokens} tokens</title></circle>");
            svg.Append($"<text class=\"name\" x=\"{F(seen[^1].X + 10)}\" y=\"{F(seen[^1].Y + 4)}\">{Text(curves[i].Variant)}, {Tokens(seen[^1].Tokens)}</text>");
        }
        return $"<figure>{svg.Append("</svg>")}</figure>";

        double AtGib(double gib) => X(mostGib > leastGib ? (gib - leastGib) / (mostGib - leastGib) : 0.5);
    }

    static string ContextTable(IReadOnlyList<ContextCurve> curves) => "<div class=\"scroll\"><table><thead><tr><th>GiB</th>" + string.Concat(curves.Select(c => $"<th>{Text(c.Variant)}</th>")) + "</tr></thead><tbody>"
        + string.Concat(curves[0].Points.Select((p, i) => $"<tr><td>{Number(p.Budget / Gib, "G4")}</td>" + string.Concat(curves.Select(c => $"<td>{(c.Points[i].Tokens > 0 ? c.Points[i].Tokens.ToString(CultureInfo.InvariantCulture) : "–")}</td>")) + "</tr>"))
        + "</tbody></table></div>";

    static string Open(string label) => $"<svg viewBox=\"0 0 {F(Width)} {F(Height)}\" role=\"img\" aria-label=\"{Text(label)}\">";

    static void Axis(StringBuilder svg, IEnumerable<(double Y, string Text)> ticks)
    {
        foreach (var (y, text) in ticks)
            svg.Append($"<line class=\"grid\" x1=\"{F(Left)}\" x2=\"{F(Width - Right)}\" y1=\"{F(y)}\" y2=\"{F(y)}\"/><text x=\"{F(Left - 8)}\" y=\"{F(y + 4)}\" text-anchor=\"end\">{Text(text)}</text>");
    }

    // Four to eight round numbers from 0.
    static IEnumerable<double> Ticks(double top)
    {
        var step = new[] { 1, 2, 2.5, 5, 10 }.Select(m => m * Math.Pow(10, Math.Floor(Math.Log10(top / 5)))).First(s => top / s <= 8);
        for (var t = 0.0; t <= top; t += step) yield return t;
    }

    static string Tokens(long tokens) => tokens >= 1 << 20 ? Number(tokens / (double)(1 << 20), "0.#") + "M" : tokens >= 1024 ? Number(tokens / 1024.0, "0.#") + "K" : Number(tokens, "F0");

    static double X(double share) => Left + share * (Width - Left - Right);

    static double Y(double share) => Height - Bottom - share * (Height - Top - Bottom);

    static string Points(IEnumerable<(double X, double Y)> points) => string.Join(' ', points.Select(p => $"{F(p.X)},{F(p.Y)}"));

    static string F(double value) => Number(value, "0.#");

    static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    static string Text(string text) => WebUtility.HtmlEncode(text);

    const string Style = """
        :root { color-scheme: light dark; --paper: #fff; --ink: #1d2330; --quiet: #5b6472; --line: #e1e5ea; --c0: #8d99a8; --c1: #3f6fb5; --c2: #6f9fd8; --c3: #7a5ea8; --c4: #2f9e7e; --c5: #e0a030; --limit: #c8372d; }
        @media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e6e9ee; --quiet: #9aa4b2; --line: #2a313b; --c0: #66717f; --c1: #4a80cc; --c2: #78a9e0; --c3: #9a7fcc; --c4: #35b08d; --c5: #e6ad45; --limit: #ff6f61; } }
        body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
        main { max-width: 980px; margin: 0 auto; padding: 28px 20px 60px; }
        h1 { font-size: 24px; margin: 0 0 6px; } h2 { font-size: 17px; margin: 36px 0 10px; } .lead { color: var(--quiet); margin: 0 0 18px; }
        dl { display: flex; flex-wrap: wrap; gap: 10px 34px; margin: 0; } dt { color: var(--quiet); font-size: 13px; } dd { margin: 0; font-size: 19px; font-variant-numeric: tabular-nums; }
        figure { margin: 0; } svg { width: 100%; height: auto; display: block; } text { fill: var(--quiet); font-size: 12px; } .name { fill: var(--ink); }
        .grid { stroke: var(--line); } .turn { stroke: var(--quiet); stroke-dasharray: 2 3; } .budget { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 6 4; } .budget-text { fill: var(--limit); }
        .c0 { fill: var(--c0); background: var(--c0); } .c1 { fill: var(--c1); background: var(--c1); } .c2 { fill: var(--c2); background: var(--c2); }
        .c3 { fill: var(--c3); background: var(--c3); } .c4 { fill: var(--c4); background: var(--c4); } .c5 { fill: var(--c5); background: var(--c5); }
        polyline { fill: none; stroke-width: 2; } .l0 { stroke: var(--c1); } .l1 { stroke: var(--c4); } .l2 { stroke: var(--c5); } .l3 { stroke: var(--c3); } .l4 { stroke: var(--c2); } .l5 { stroke: var(--c0); }
        .d0 { fill: var(--c1); } .d1 { fill: var(--c4); } .d2 { fill: var(--c5); } .d3 { fill: var(--c3); } .d4 { fill: var(--c2); } .d5 { fill: var(--c0); }
        figcaption { color: var(--quiet); font-size: 13px; } .legend { list-style: none; padding: 0; margin: 4px 0 0; display: flex; flex-wrap: wrap; gap: 2px 22px; color: var(--ink); } .legend b { font-weight: 500; margin-left: 8px; }
        .key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 7px; }
        .scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; } th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
        th { color: var(--quiet); font-weight: 500; } .a1 { color: var(--c5); } .a2 { color: var(--c1); }
        """;
}
