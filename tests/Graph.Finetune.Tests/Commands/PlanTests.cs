using System;
using System.IO;
using System.Linq;
using System.Xml.Linq;
using System.Text.Json;
using Graph.Finetune.Commands;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>What <c>plan</c> says, without a GPU.</summary>
public sealed class PlanTests
{
    const long Gib = 1L << 30;

    static JsonElement Plan(params string[] args) => JsonDocument.Parse(Succeed(["plan", "--json", .. args])).RootElement;

    [Fact]
    public void Plan_Json_HasTheContractsFieldsAndHoldsTheBudget()
    {
        var plan = Plan("--variant", "9b", "--vram", "40GiB", "--seq", "2048", "--batch-tokens", "8192");
        Assert.Equal(("9b", 8192, 2048, 40 * Gib),
            (plan.GetProperty("variant").GetString(), plan.GetProperty("tokens").GetInt32(), plan.GetProperty("seq").GetInt32(), plan.GetProperty("budget_bytes").GetInt64()));
        var peak = plan.GetProperty("peak_bytes").GetInt64();
        Assert.InRange(peak, 39 * Gib, 40 * Gib);
        Assert.Equal(peak, plan.GetProperty("peak_by_category").EnumerateObject().Sum(p => p.Value.GetInt64()));
        Assert.InRange(plan.GetProperty("step_ms").GetDouble(), 500, 800);
        Assert.InRange(plan.GetProperty("max_context").GetInt32(), 131072, 262144);
        Assert.InRange(plan.GetProperty("host_bytes").GetInt64(), Gib, 64 * Gib);
        var decisions = plan.GetProperty("decisions").EnumerateArray().ToArray();
        Assert.All(decisions, d => Assert.True(d.GetProperty("bytes").GetInt64() > 0 && d.GetProperty("layer").GetInt32() is >= -1 and < 42
            && d.GetProperty("action").GetString() is "save" or "recompute" or "offload"));
        Assert.Equal(["offload", "recompute", "save"], decisions.Select(d => d.GetProperty("action").GetString()).Distinct().Order());
    }

    [Fact]
    public void Plan_MoreMemory_IsFasterAndHoldsLongerContexts()
    {
        var plans = new[] { "8GiB", "12GiB", "24GiB" }.Select(vram => Plan("--variant", "2b", "--vram", vram)).ToArray();
        var times = plans.Select(p => p.GetProperty("step_ms").GetDouble()).ToArray();
        var contexts = plans.Select(p => p.GetProperty("max_context").GetInt32()).ToArray();
        Assert.True(times[0] > times[1] && times[1] > times[2]);
        Assert.True(contexts[0] < contexts[1] && contexts[1] < contexts[2]);
    }

    [Fact]
    public void Plan_LongestContext_FitsAndALongerOneDoesNot()
    {
        var longest = Plan("--variant", "2b", "--vram", "10GiB").GetProperty("max_context").GetInt32();
        string[] At(int tokens) => ["plan", "--variant", "2b", "--vram", "10GiB", "--batch-tokens", $"{tokens}", "--seq", $"{tokens}"];
        Succeed(At(longest));
        Assert.Equal(4, Run(At(longest + longest / 16)).Code);
    }

    // An executable may hold nothing else: dotnet publish -p:GraphVariants=nano-full.
    [Theory]
    [InlineData("--variant", "nano", "--full")]
    [InlineData("--variant", "nano-full", "--full")]
    [InlineData("--full")]
    public void Plan_Full_FindsTheVariantThatStandsAlone(params string[] options)
    {
        using StringWriter output = new(), error = new();
        var code = CommandLine.Run(["plan", "--json", .. options], [.. GraphModels.All.Where(m => m.Name == "nano-full")], new Terminal(output, error, Interactive: false));
        Assert.Equal((0, ""), (code, error.ToString()));
        Assert.Contains("\"variant\":\"nano-full\"", output.ToString());
    }

    [Theory]
    [InlineData("t4", "2b", "12GiB")]
    [InlineData("l4", "2b", "20GiB")]
    [InlineData("4090", "9b", "23GiB", "--batch-tokens", "2048")]
    [InlineData("a100", "27b", "79GiB")]
    [InlineData("h100", "9b", "60GiB", "--recompute", "full")]
    public void Plan_AnyCard_PrintsTheParts(string profile, string variant, string vram, params string[] more)
    {
        var text = Succeed(["plan", "--variant", variant, "--device-profile", profile, "--vram", vram, .. more]);
        Assert.All(new[] { "weights", "saved activations", "working set", "tokens/s", "longest context" }, part => Assert.Contains(part, text));
    }

    /// <summary>The least is said, and what would fit.</summary>
    [Fact]
    public void Plan_BudgetBelowTheLeast_SaysTheLeastAndWhatFits()
    {
        var refused = Run("plan", "--variant", "9b", "--vram", "20GiB", "--stream-weights", "off", "--offload", "off");
        Assert.Equal((4, ""), (refused.Code, refused.Out));
        Assert.Matches("needs at least 2[0-9]\\.[0-9]+ GiB, everything counted, but --vram is 20.00 GiB; --batch-tokens [0-9]+ would fit", refused.Error);
        refused = Run("plan", "--variant", "9b", "--vram", "4GiB");
        Assert.Equal((4, ""), (refused.Code, refused.Out));
        Assert.Matches("needs at least [45]\\.[0-9]+ GiB, everything counted, beside [0-9.]+ GiB of host memory, but --vram is 4.00 GiB; ", refused.Error);
    }

    /// <summary>What host memory allows is allowed no more without it.</summary>
    [Fact]
    public void Plan_HostMemory_IsALimit()
    {
        var plan = Plan("--variant", "9b", "--vram", "12GiB", "--host-memory", "24GiB");
        Assert.InRange(plan.GetProperty("host_bytes").GetInt64(), 8 * Gib, 24 * Gib);
        Assert.InRange(plan.GetProperty("streamed_bytes").GetInt64(), 7 * Gib, plan.GetProperty("host_bytes").GetInt64());
        Assert.Equal(4, Run("plan", "--variant", "9b", "--vram", "12GiB", "--host-memory", "2GiB").Code);
        var refused = Run("plan", "--variant", "9b", "--vram", "12GiB", "--host-memory", "2GiB", "--stream-weights", "on");
        Assert.Equal(4, refused.Code);
        Assert.Matches("keeps 15\\.[0-9]+ GiB in page-locked host memory, but --host-memory is 2.00 GiB", refused.Error);
    }

    [Theory]
    [InlineData("500GiB", 4), InlineData("0", 2), InlineData("-2GiB", 2), InlineData("1e40GiB", 2), InlineData("much", 2)]
    public void Plan_SizesThatAreNone_AreRefused(string vram, int code) =>
        Assert.Equal((code, ""), Run("plan", "--variant", "2b", $"--vram={vram}") is var r ? (r.Code, r.Out) : default);

    /// <summary>As train refuses them.</summary>
    [Theory]
    [InlineData("--quant nf4", "nano-full trains all weights, and weights in 4 bits cannot be trained; leave --quant out.")]
    [InlineData("--stream-weights on", "nano-full trains all weights, and those of --stream-weights rest in host memory; leave it out.")]
    public void Plan_OfAllWeightsInAnotherPlace_IsRefused(string option, string sentence)
    {
        var refused = Run(["plan", "--variant", "nano-full", .. option.Split(' ')]);
        Assert.Equal((2, ""), (refused.Code, refused.Out));
        Assert.Contains(sentence, refused.Error);
    }

    /// <summary>One page without a script or an address, whose pictures are well-formed and have every category, the budget and a line per model.</summary>
    [Fact]
    public void Plan_Html_IsOnePageThatNeedsNothingElse()
    {
        var file = Path.Combine(Path.GetTempPath(), $"plan-{Guid.NewGuid():N}.html");
        try
        {
            Succeed("plan", "--variant", "nano", "--html", file, "--batch-tokens", "512", "--seq", "512", "--vram", "1GiB");
            var html = File.ReadAllText(file);
            foreach (var word in new[] { "<script", "http:", "https:", "@import", "url(", "src=", "NaN", "Infinity" }) Assert.DoesNotContain(word, html);
            var pictures = html.Split("<svg").Skip(1).Select(p => XElement.Parse("<svg" + p[..(p.IndexOf("</svg>", StringComparison.Ordinal) + 6)])).ToArray();
            Assert.Equal(2, pictures.Length);
            Assert.Equal(["c0", "c1", "c2", "c3", "c4", "c5"], pictures[0].Elements("polygon").Select(p => (string?)p.Attribute("class")));
            // Bands lie on each other: of each the lower edge is the upper one of the band before.
            var bands = pictures[0].Elements("polygon").Select(p => ((string)p.Attribute("points")!).Split(' ')).ToArray();
            foreach (var (below, above) in bands.Zip(bands.Skip(1))) Assert.Equal(below[..(below.Length / 2)], above[(above.Length / 2)..].Reverse());
            Assert.Contains(pictures[0].Elements("line"), l => (string?)l.Attribute("class") == "budget");
            Assert.Equal(4, pictures[1].Elements("polyline").Count());
        }
        finally
        {
            File.Delete(file);
        }
    }
}
