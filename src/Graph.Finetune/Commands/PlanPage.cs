using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Graph.Finetune.Reports;
using Graph.Runtime.Planning;
using static Graph.Finetune.Reports.Html;

namespace Graph.Finetune.Commands;

/// <summary>Longest context of one row at each of some budgets.</summary>
sealed record ContextCurve(string Variant, IReadOnlyList<(long Budget, int Tokens)> Points);

/// <summary>A plan as one HTML page that needs no network: memory over a step, what happens to each activation, longest context against memory.</summary>
static class PlanPage
{
    public static string Html(string title, PlannedStep step, DeviceProfile device, long budget, IReadOnlyList<ContextCurve> curves)
    {
        var html = new StringBuilder($"<p class=\"lead\">{Text(PlanText.Line(step))}</p>");
        html.Append(Facts([new("peak", Bytes.Text(step.Footprint.Total)), new("budget", Bytes.Text(budget)), new("step", Number(step.Milliseconds, "F0") + " ms"),
            new("tokens/s", Number(step.TokensPerSecond, "F0")), new("card", device.Name)]));
        html.Append("<h2>Memory over a micro-batch</h2>").Append(PlanPicture.Of(step, device, budget).Figure());
        html.Append("<h2>Activations between forward and backward</h2>").Append(ActivationRow.Table(PlanPicture.Activations(step)));
        if (curves.Count > 0) html.Append("<h2>Longest context against memory</h2>").Append(Contexts(curves, budget)).Append(ContextTable(curves));
        return Page(title, html.ToString(), Resource("page.css"), "");
    }

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
            foreach (var p in seen)
                svg.Append($"<circle class=\"d{i % 6}\" cx=\"{F(p.X)}\" cy=\"{F(p.Y)}\" r=\"3.5\"><title>{Text(curves[i].Variant)}: {p.Tokens} tokens</title></circle>");
            svg.Append($"<text class=\"name\" x=\"{F(seen[^1].X + 10)}\" y=\"{F(seen[^1].Y + 4)}\">{Text(curves[i].Variant)}, {Tokens(seen[^1].Tokens)}</text>");
        }
        return $"<figure>{svg.Append("</svg>")}</figure>";

        double AtGib(double gib) => X(mostGib > leastGib ? (gib - leastGib) / (mostGib - leastGib) : 0.5);
    }

    static string ContextTable(IReadOnlyList<ContextCurve> curves) =>
        "<div class=\"scroll\"><table><thead><tr><th>GiB</th>" + string.Concat(curves.Select(c => $"<th>{Text(c.Variant)}</th>")) + "</tr></thead><tbody>"
        + string.Concat(curves[0].Points.Select((p, i) => $"<tr><td>{Number(p.Budget / Gib, "G4")}</td>"
            + string.Concat(curves.Select(c => $"<td>{(c.Points[i].Tokens > 0 ? c.Points[i].Tokens.ToString(CultureInfo.InvariantCulture) : "–")}</td>")) + "</tr>"))
        + "</tbody></table></div>";

    static string Tokens(long tokens) =>
        tokens >= 1 << 20 ? Number(tokens / (double)(1 << 20), "0.#") + "M" : tokens >= 1024 ? Number(tokens / 1024.0, "0.#") + "K" : Number(tokens, "F0");
}
