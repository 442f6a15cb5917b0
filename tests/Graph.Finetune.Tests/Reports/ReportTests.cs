using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.RegularExpressions;
using Graph.Finetune.Commands;
using Graph.Finetune.Reports;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Commands;
using Graph.Finetune.Tests.Runs;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Reports;

/// <summary>Pages, opened in a browser.</summary>
public class ReportTests
{
    static string Trained(Scratch scratch, string name, double rate = 1e-3, int steps = 12)
    {
        var output = Path.Combine(scratch.Path, name);
        var run = TestRun.Small(scratch, steps);
        (run with { Settings = run.Settings with { Evaluation = (run.Settings.Data, 3), Peak = rate } }).Run(output);
        return output;
    }

    static void AssertQuiet(Browser.Seen seen)
    {
        Assert.Empty(seen.Console);
        Assert.Empty(seen.Addresses);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Page_OfARun_DrawsItsChartsAndLoadsNothing(bool dark)
    {
        using var scratch = new Scratch();
        var output = Trained(scratch, "a <b>run & more");
        var seen = Browser.Open(Path.Combine(output, "report.html"), dark);
        AssertQuiet(seen);
        Assert.Contains("data-charts=\"5\"", seen.Dom);
        Assert.Equal(5, Regex.Count(seen.Dom, "<canvas"));
        Assert.All(new[] { "Loss", "Evaluation loss", "Learning rate", "Norm of the gradient", "Tokens a second",
            "Memory over a micro-batch, as planned", "Activations between forward and backward", "Data", "Settings" },
            title => Assert.Contains($"<h2>{title}</h2>", seen.Dom));
        Assert.Contains("<h1>a &lt;b&gt;run &amp; more</h1>", seen.Dom);
        var metrics = Metrics(output);
        foreach (var text in new[] { FormattableString.Invariant($"<dd>{metrics[^1].GetProperty("loss").GetDouble():F4}</dd>"),
            "12 of 12 steps", "<td>rank</td><td class=\"wide\">1</td>", "0.001, linear, warm-up of 2 steps",
            "12 examples</dd>".Replace(" examples", ""), "class=\"bar\"", "class=\"c5\"" })
            Assert.Contains(text, seen.Dom);
        // What is drawn is what was measured.
        var charts = Charts(seen.Dom)[0];
        var loss = charts.GetProperty("loss")[0];
        Assert.Equal(metrics.Select(m => m.GetProperty("step").GetInt32()), loss.GetProperty("x").EnumerateArray().Select(x => x.GetInt32()));
        foreach (var (drawn, measured) in loss.GetProperty("y").EnumerateArray().Zip(metrics)) Assert.Equal(measured.GetProperty("loss").GetDouble(), drawn.GetDouble(), 4);
        Assert.Equal([3, 6, 9, 12], charts.GetProperty("eval")[0].GetProperty("x").EnumerateArray().Select(x => x.GetInt32()));
    }

    /// <summary>The browser of these tests sees faults where there are some.</summary>
    [Fact]
    public void Browser_PageWithFaults_SeesThem()
    {
        using var scratch = new Scratch();
        var seen = Browser.Open(scratch.File("faults.html",
            "<body><img src=\"http://127.0.0.1:9/picture.png\"><script>document.body.dataset.ran = 1; none.there();</script></body>"));
        Assert.Contains(seen.Console, line => line.Contains("none is not defined", StringComparison.Ordinal));
        Assert.Contains("http://127.0.0.1:9/picture.png", seen.Addresses);
        Assert.Contains("data-ran=\"1\"", seen.Dom);
    }

    static JsonElement[] Charts(string dom) =>
        [.. JsonDocument.Parse(Regex.Match(dom, "<script type=\"application/json\" id=\"runs\">(.*?)</script>", RegexOptions.Singleline).Groups[1].Value)
            .RootElement.EnumerateArray().Select(r => r.GetProperty("charts"))];

    [Fact]
    public void Page_OfTwoRuns_ComparesThem()
    {
        using var scratch = new Scratch();
        string one = Trained(scratch, "one"), two = Trained(scratch, "two", 5e-3), page = Path.Combine(scratch.Path, "both.html");
        Assert.Equal(page + "\n", Succeed("report", one, two, "--html", page));
        var seen = Browser.Open(page);
        AssertQuiet(seen);
        Assert.Contains("data-charts=\"5\"", seen.Dom);
        Assert.Contains("<h1>one and two</h1>", seen.Dom);
        Assert.Contains("<tr class=\"differs\"><td>lr</td><td class=\"wide\">0.001, linear, warm-up of 2 steps</td>"
            + "<td class=\"wide\">0.005, linear, warm-up of 2 steps</td></tr>", seen.Dom);
        Assert.Contains("<tr class=\"same\"><td>rank</td>", seen.Dom);
        Assert.Equal(2, Charts(seen.Dom).Length);
    }

    /// <summary>From the folder alone, as often as one likes, also while the last line is being written and of a run that has no facts.</summary>
    [Fact]
    public void Report_OfAFolder_WritesThePageAgain()
    {
        using var scratch = new Scratch();
        var output = Trained(scratch, "out", steps: 4);
        var first = File.ReadAllText(Path.Combine(output, "report.html"));
        Succeed("report", output);
        Assert.Equal(first, File.ReadAllText(Path.Combine(output, "report.html")));
        File.AppendAllText(Path.Combine(output, MetricsFile.Name), "{\"step\":5,\"lo");
        Succeed("report", output);
        Assert.Equal(first, File.ReadAllText(Path.Combine(output, "report.html")));
        File.Delete(Path.Combine(output, RunFacts.Name));
        Succeed("report", output);
        Assert.DoesNotContain("Settings", File.ReadAllText(Path.Combine(output, "report.html"))[^40000..]);
    }

    [Fact]
    public void Report_OfWhatIsNoRun_SaysWhatIsWrong()
    {
        using var scratch = new Scratch();
        var output = Trained(scratch, "out", steps: 3);
        var metrics = Path.Combine(output, MetricsFile.Name);
        var lines = File.ReadAllLines(metrics);
        foreach (var (folder, says, second) in new[]
        {
            (Path.Combine(scratch.Path, "none"), "there is no folder", ""), (scratch.Path, "has no metrics.jsonl", ""), (output, "line 2, is no step of a run", "{\"step\":2}"),
            (output, "line 2, is no step of a run", Regex.Replace(lines[1], "\"tokens\":[0-9]+", "\"tokens\":9223372036854775807")),
        })
        {
            File.WriteAllLines(metrics, [lines[0], second, lines[2]]);
            var result = Gemma2Run.Run("report", folder);
            Assert.Equal((3, ""), (result.Code, result.Out));
            Assert.Contains(says, result.Error);
        }
        File.WriteAllLines(metrics, lines);
        foreach (var facts in new[] { "", "{", "[]", "{}", "{\"variant\":null}",
            "{\"variant\":\"a\",\"model\":\"b\",\"device\":\"c\",\"settings\":[],\"data\":[],\"lengths\":[],\"activations\":[],"
                + "\"memory\":{\"peak\":1,\"edges\":[[0,1]],\"bands\":[{\"name\":\"x\",\"bytes\":[]}]}}",
            "{\"variant\":\"a\",\"model\":\"b\",\"device\":\"c\",\"settings\":[],\"data\":[],\"lengths\":[],\"activations\":[],"
                + "\"memory\":{\"peak\":-1,\"edges\":[],\"bands\":[]}}" })
        {
            File.WriteAllText(Path.Combine(output, RunFacts.Name), facts);
            var result = Gemma2Run.Run("report", output);
            Assert.Equal(3, result.Code);
            Assert.Contains(RunFacts.Name, result.Error);
        }
    }

    [Theory, InlineData(1e300), InlineData(-1e300)]
    public void Report_OfTimesThatCannotBe_HasNone(double milliseconds)
    {
        using var scratch = new Scratch();
        using (var metrics = new MetricsFile(scratch.Path, 0, _ => { })) metrics.Write(new Graph.Finetune.Training.StepReport(1, 1, 2, 1e-3, 1, 10, milliseconds, 7, 8, false));
        Assert.Contains("<dt>time</dt><dd>–</dd>", RunReport.Page([RunReport.Read(scratch.Path)]));
    }

    [Fact]
    public void Series_OfALongRun_AreMeansOfAllOfIt()
    {
        using var scratch = new Scratch();
        using (var metrics = new MetricsFile(scratch.Path, 0, _ => { }))
            for (var step = 1; step <= 4001; step++) metrics.Write(new Graph.Finetune.Training.StepReport(step, 1, step == 2 ? double.NaN : step, 1e-3, 1, 10, 5, 7, 8, step == 2));
        var series = RunSeries.Read(scratch.Path);
        Assert.Equal(1334, series.Loss.Steps.Count);
        Assert.Equal((3, 2.0, 4001, 4000.5), (series.Loss.Steps[0], series.Loss.Values[0], series.Loss.Steps[^1], series.Loss.Values[^1]));
        Assert.Equal((4001, 40010L, 1, 7L, 8L), (series.Steps, series.Tokens, series.Skipped, series.PeakBytes, series.PlannedPeakBytes));
        Assert.Equal(2000, series.TokensPerSecond, 6);
    }

    [Theory, InlineData(new[] { 5, 5, 5 }, "5-5:3"), InlineData(new[] { 1, 2, 4 }, "1-1:1 2-2:1 3-3:0 4-4:1"), InlineData(new int[0], "")]
    public void Lengths_OfDocuments_AreCounted(int[] documents, string bins) =>
        Assert.Equal(bins, string.Join(' ', TrainFacts.Lengths(documents).Select(b => $"{b.Least}-{b.Most}:{b.Documents}")));

    [Fact]
    public void Lengths_OfManyDocuments_AreTwelveBinsThatHoldAll()
    {
        var bins = TrainFacts.Lengths([.. Enumerable.Range(17, 1000)]);
        Assert.InRange(bins.Count, 11, 12);
        Assert.Equal((17, 1016, 1000), (bins[0].Least, bins[^1].Most, bins.Sum(b => b.Documents)));
    }

    [Fact]
    public void Page_OfAPlan_OpensInABrowser()
    {
        using var scratch = new Scratch();
        var page = Path.Combine(scratch.Path, "plan.html");
        Succeed("plan", "--variant", "2b", "--vram", "20GiB", "--html", page);
        var seen = Browser.Open(page);
        AssertQuiet(seen);
        Assert.Equal(2, Regex.Count(seen.Dom, "<svg"));
        Assert.All(new[] { "Memory over a micro-batch", "Activations between forward and backward", "Longest context against memory" },
            title => Assert.Contains($"<h2>{title}</h2>", seen.Dom));
    }
}
