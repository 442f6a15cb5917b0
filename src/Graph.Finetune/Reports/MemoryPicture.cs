using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using static Graph.Finetune.Reports.Html;

namespace Graph.Finetune.Reports;

/// <summary>What is alive of a category in each column of a picture.</summary>
/// <param name="Color">0 to 5, one of the page's.</param>
public sealed record MemoryBand(string Name, int Color, long AtPeak, IReadOnlyList<long> Bytes);

/// <summary>Memory over the launches of a micro-batch, in columns of time, beside the budget.</summary>
/// <param name="Milliseconds">Of the micro-batch, predicted.</param>
/// <param name="Turn">Where the backward begins, as a share of the time.</param>
/// <param name="Edges">Start and end of each column, as shares of the time.</param>
/// <param name="Bands">From the lowest to the highest.</param>
public sealed record MemoryPicture(double Milliseconds, double Turn, long Peak, long Budget, IReadOnlyList<double[]> Edges, IReadOnlyList<MemoryBand> Bands)
{
    public string Figure()
    {
        // A budget far above would leave a flat line of the rest.
        var shown = Budget <= 3 * Peak;
        var top = 1.05 * (shown ? Math.Max(Budget, Peak) : Peak);
        var (unit, name) = top >= Gib ? (Gib, "GiB") : (Gib / 1024, "MiB");
        var svg = new StringBuilder(Open("Memory by category over the launches of a micro-batch, with the budget"));
        Axis(svg, Ticks(top / unit).Select(t => (Y(t * unit / top), $"{Number(t, "G4")} {name}")));
        var below = new double[Edges.Count];
        foreach (var band in Bands)
        {
            var above = band.Bytes.Select((bytes, i) => below[i] + bytes).ToArray();
            var points = Edges.SelectMany((e, i) => new[] { (X(e[0]), Y(above[i] / top)), (X(e[1]), Y(above[i] / top)) })
                .Concat(Edges.Select((e, i) => (e, i)).Reverse().SelectMany(c => new[] { (X(c.e[1]), Y(below[c.i] / top)), (X(c.e[0]), Y(below[c.i] / top)) }));
            svg.Append($"<polygon class=\"c{band.Color}\" points=\"{Points(points)}\">"
                + $"<title>{Text(band.Name)}: {Graph.Finetune.Bytes.Text(band.AtPeak)} at the peak</title></polygon>");
            below = above;
        }
        var turn = X(Turn);
        svg.Append($"<line class=\"turn\" x1=\"{F(turn)}\" x2=\"{F(turn)}\" y1=\"{F(Top)}\" y2=\"{F(Height - Bottom)}\"/>");
        svg.Append($"<text x=\"{F(turn - 6)}\" y=\"{F(Height - Bottom + 18)}\" text-anchor=\"end\">forward</text>"
            + $"<text x=\"{F(turn + 6)}\" y=\"{F(Height - Bottom + 18)}\">backward</text>");
        svg.Append($"<text x=\"{F(Width - Right)}\" y=\"{F(Height - Bottom + 34)}\" text-anchor=\"end\">{Number(Milliseconds, "F0")} ms, predicted</text>");
        if (shown) svg.Append($"<line class=\"budget\" x1=\"{F(Left)}\" x2=\"{F(Width - Right)}\" y1=\"{F(Y(Budget / top))}\" y2=\"{F(Y(Budget / top))}\"/>");
        svg.Append($"<text class=\"budget-text\" x=\"{F(Width - Right + 6)}\" y=\"{F(shown ? Y(Budget / top) + 4 : Top + 10)}\">"
            + $"{(shown ? "" : "↑ ")}budget {Graph.Finetune.Bytes.Text(Budget)}</text></svg>");
        var legend = string.Concat(Bands.Reverse().Select(b => $"<li><span class=\"key c{b.Color}\"></span>{Text(b.Name)}<b>{Graph.Finetune.Bytes.Text(b.AtPeak)}</b></li>"));
        return $"<figure>{svg}<figcaption>At the peak:<ul class=\"legend\">{legend}</ul></figcaption></figure>";
    }
}

/// <summary>What happens to an activation between forward and backward.</summary>
/// <param name="Action">0 kept, 1 built again, 2 offloaded: the page's colour.</param>
/// <param name="Milliseconds">What not keeping it costs a micro-batch.</param>
public sealed record ActivationRow(string Tensor, int Action, string What, string Layers, long Bytes, double Milliseconds)
{
    public static string Table(IEnumerable<ActivationRow> rows) =>
        "<div class=\"scroll\"><table><thead><tr><th>activation</th><th>what happens</th><th>layers</th><th>bytes</th><th>costs</th><th>costs for a GiB</th></tr></thead><tbody>"
        + string.Concat(rows.Select(c => $"<tr><td><code>{Text(c.Tensor)}</code></td><td class=\"a{c.Action}\">{Text(c.What)}</td><td>{Text(c.Layers)}</td>"
            + $"<td>{Graph.Finetune.Bytes.Text(c.Bytes)}</td><td>{(c.Milliseconds > 0 ? Number(c.Milliseconds, "F2") + " ms" : "")}</td>"
            + $"<td>{(c.Milliseconds > 0 ? Number(c.Milliseconds / (c.Bytes / Gib), "F2") + " ms" : "")}</td></tr>"))
        + "</tbody></table></div>";
}
