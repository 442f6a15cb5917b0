using System;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Commands;
using Graph.Finetune.Training;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

public class ToolTests
{
    [Fact]
    public void KernelsList_NamesEveryKernel_AndShowPrintsItsText()
    {
        var model = GraphModels.All.Single(m => m.Name == "nano");
        var emitted = model.Kernels("sm_90a").Kernels;
        var lines = Succeed("kernels", "list", "--variant", "nano", "--target", "sm_90a").Split('\n');
        Assert.Equal(emitted.Select(k => k.Info.Name), lines.Skip(1).Take(emitted.Count).Select(l => l.Split(' ')[0]));
        var attention = emitted.First(k => k.Info.Kind == KernelKind.AttentionForward);
        Assert.Equal(attention.Text, Succeed("kernels", "show", attention.Info.Name, "--variant", "nano", "--target", "sm_90a"));
    }

    [Fact]
    public void KernelsList_SaysWhichLayersLaunchAKernel()
    {
        var schedule = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());
        var attention = schedule.Forward.OfType<KernelLaunch>().Where(k => k.Layer == 1).Select(k => k.Kernel).Single(k => k.Contains("attention_forward"));
        var row = Succeed("kernels", "list", "--variant", "nano").Split('\n').Single(l => l.StartsWith(attention + " ", StringComparison.Ordinal))
            .Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["2", "1,3"], row[2..4]);
    }

    [Theory]
    [InlineData("-"), InlineData("3", 3), InlineData("0-3", 0, 1, 2, 3), InlineData("0,2..40", 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40),
     InlineData("outside,0-2", -1, 0, 1, 2),
     InlineData("outside", -1), InlineData("1,3", 1, 3), InlineData("0,1,5-7,9", 0, 1, 5, 6, 7, 9), InlineData("0-2,4", 0, 1, 2, 4)]
    public void Layers_AreRuns(string text, params int[] layers) => Assert.Equal(text, KernelsCommand.Layers(layers));

    [Fact]
    public void ScheduleShow_PrintsTheScheduleOrOneLayerOfIt()
    {
        var whole = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());
        Assert.Equal(ScheduleText.Print(whole), Succeed("schedule", "show", "--variant", "nano"));

        // Recipes and launches of a layer are lines of the whole, in its order.
        var lines = Succeed("schedule", "show", "--variant", "nano", "--layer", "2").Split('\n');
        Assert.Equal(lines.Intersect(ScheduleText.Print(whole).Split('\n')), lines.Distinct());
        Assert.All(whole.Forward.Concat(whole.Backward), l => Assert.Equal(l.Layer == 2, lines.Contains("  " + ScheduleText.Print(l))));
        Assert.All(whole.Tensors, t => Assert.Equal(t.Layer == 2, lines.Any(l => l.StartsWith($"tensor {t.Name} ", StringComparison.Ordinal))));
        Assert.All(whole.Recipes, r => Assert.Equal(whole.Tensors.Single(t => t.Name == r.Tensor).Layer == 2,
            lines.Any(l => l.Split(' ') is ["recipe", var name, ..] && name == r.Tensor)));

        var launches = Succeed("schedule", "show", "--variant", "nano", "--launches").Split('\n');
        Assert.DoesNotContain(launches, l => l.StartsWith("tensor ", StringComparison.Ordinal));
        Assert.All(whole.Forward, l => Assert.Contains("  " + ScheduleText.Print(l), launches));

        var none = Run("schedule", "show", "--variant", "nano", "--layer", "4");
        Assert.Equal((2, "error: --layer is 4 but nano has the layers 0 to 3."), (none.Code, none.Error.TrimEnd()));
    }

    [Fact]
    public void KernelsShow_WithoutAVariant_NeedsOneOnlyWhereTextsDiffer()
    {
        var text = GraphModels.All[0].Kernels("sm_90a").Kernels.Single(k => k.Info.Name == "loss_sum").Text;
        Assert.Equal(text, Succeed("kernels", "show", "loss_sum"));
        var differing = Run("kernels", "show", GraphModels.All.Single(m => m.Name == "nano").Kernels("sm_90a").Kernels[0].Info.Name);
        Assert.Equal(2, differing.Code);
        Assert.Contains("choose one with --variant", differing.Error);
    }

    [Fact]
    public void BenchJson_OfNano_HasTheContractsFields()
    {
        var json = JsonDocument.Parse(Succeed("bench", "--variant", "nano", "--device", "cpu", "--batch-tokens", "64", "--seq", "32", "--steps", "2", "--json")).RootElement;
        Assert.Equal(("nano", 64, 32), (json.GetProperty("variant").GetString(), json.GetProperty("tokens").GetInt32(), json.GetProperty("seq").GetInt32()));
        Assert.True(json.GetProperty("ms_median").GetDouble() > 0 && json.GetProperty("tokens_per_second").GetDouble() > 0 && json.GetProperty("peak_bytes").GetInt64() > 0);
        Assert.Equal("none", json.GetProperty("plan").GetString());
        Assert.True(json.GetProperty("busy_ms").GetDouble() > 0 && json.GetProperty("limit_tflops").GetDouble() > 0 && json.GetProperty("limit_gbps").GetDouble() > 0);
        Assert.InRange(json.GetProperty("idle_share").GetDouble(), 0, 1);
        var kernels = json.GetProperty("kernels").EnumerateArray().ToArray();
        Assert.All(kernels, k => Assert.True(k.GetProperty("count").GetInt32() > 0 && k.GetProperty("ms").GetDouble() >= 0
            && (k.TryGetProperty("tflops", out _) ^ k.TryGetProperty("gbps", out _))));
        Assert.Equal(1, kernels.Sum(k => k.GetProperty("share").GetDouble()), 0.001);
        Assert.Contains(kernels, k => k.GetProperty("name").GetString() == "adamw");
        Assert.Equal(4, kernels.Single(k => k.GetProperty("name").GetString() == "gemm nt layers.*.down_proj").GetProperty("count").GetInt32());
    }

    [Theory]
    [InlineData(0.00041237, 0.00041237), InlineData(0.000412374, 0.00041237), InlineData(41.23749, 41.237)]
    [InlineData(12082.49, 12082), InlineData(1508249.7, 1508250), InlineData(-0.5, -0.5), InlineData(0, 0)]
    public void Significant_AnyMagnitude_KeepsFiveDigits(double value, double rounded) => Assert.Equal(rounded, Significant.Round(value), 15);

    [Fact]
    public void KernelsBench_OfNano_TimesEveryOpOnce()
    {
        string[] options = ["--variant", "nano", "--device", "cpu", "--batch-tokens", "64", "--seq", "32", "--repeats", "1", "--json"];
        var ops = JsonDocument.Parse(Succeed(["kernels", "bench", .. options])).RootElement.GetProperty("ops").EnumerateArray().ToArray();
        var names = ops.Select(o => o.GetProperty("name").GetString()!).ToArray();
        Assert.All(ops, o => Assert.True(o.GetProperty("ms_median").GetDouble() > 0 && o.GetProperty("of_limit").GetDouble() > 0
            && (o.TryGetProperty("tflops", out _) ^ o.TryGetProperty("gbps", out _))));
        // Of a head's launches each once, whatever the number of chunks.
        foreach (var name in new[] { "gather_label_rows", "gemm nt logits", "scatter_label_rows" }) Assert.Single(names, name);
        // What a step launches, the optimizer and copies apart.
        var step = JsonDocument.Parse(Succeed("bench", "--variant", "nano", "--device", "cpu", "--batch-tokens", "64", "--seq", "32", "--steps", "1", "--json")).RootElement
            .GetProperty("kernels").EnumerateArray().Select(k => k.GetProperty("name").GetString()!);
        Assert.Empty(step.Except(names).Except(["scalars", "gradients = 0", "inputs", "loss_sum", "optimizer scalars",
            "gradient_norm_partials", "gradient_norm", "adamw", "result"]));
        var attention = JsonDocument.Parse(Succeed(["kernels", "bench", "attention", .. options])).RootElement
            .GetProperty("ops").EnumerateArray().Select(o => o.GetProperty("name").GetString()!);
        Assert.Equal(names.Where(n => n.Contains("attention")), attention);
        Assert.Contains("has no op with 'nothing'", Run(["kernels", "bench", "nothing", .. options]).Error);
    }

    [Fact]
    public void SpeedOf_ClockMovesBetweenTurns_ComparesWithinATurn()
    {
        // Adapters cost 2 %. The clock falls in the middle of the third turn: medians of the times would say 0.78.
        double[] plain = [1, 1, 1, 1.25, 1.25], with = [1 / 0.98, 1 / 0.98, 1.25 / 0.98, 1.25 / 0.98, 1.25 / 0.98];
        Assert.Equal(0.98, OpMeasurement.SpeedOf(plain, with), 12);
    }

    [Fact]
    public void KernelsBench_LinearsOfNano_AreBesideThoseWithoutAdapters()
    {
        string[] options = ["--variant", "nano", "--device", "cpu", "--batch-tokens", "64", "--seq", "32", "--repeats", "1"];
        var ops = JsonDocument.Parse(Succeed(["kernels", "bench", "gemm", .. options, "--rank", "16", "--json"])).RootElement.GetProperty("ops").EnumerateArray().ToArray();
        var beside = ops.Where(o => o.TryGetProperty("plain_ms_median", out _)).ToArray();
        // Y and dX of the four stacks; S, G, dA, dB and the head have no ranks in k.
        string[] layer = ["gemm nt layers.*.q_proj+k_proj+v_proj", "gemm nt layers.*.o_proj", "gemm nt layers.*.gate_proj+up_proj", "gemm nt layers.*.down_proj",
            "gemm nn layers.*.d_geglu", "gemm nn layers.*.d_pre_feedforward_layernorm", "gemm nn layers.*.d_attention", "gemm nn layers.*.d_input_layernorm"];
        Assert.Equal(layer.Order(StringComparer.Ordinal), beside.Select(o => o.GetProperty("name").GetString()!).Order(StringComparer.Ordinal));
        // Of one turn the median of the turns' ratios is the ratio of the times.
        Assert.All(beside, o => Assert.Equal(o.GetProperty("plain_ms_median").GetDouble() / o.GetProperty("ms_median").GetDouble(),
            o.GetProperty("of_plain").GetDouble(), 0.01 * o.GetProperty("of_plain").GetDouble() + 0.001));
        Assert.DoesNotContain(ops.Except(beside), o => o.TryGetProperty("of_plain", out _));
        Assert.Contains("without adapters ", Succeed(["kernels", "bench", "down_proj", .. options]));
    }

    [Fact]
    public void Doctor_Anywhere_NamesPartsAndModels()
    {
        var text = Succeed("doctor");
        Assert.All(new[] { "system", "driver", "gpu", "nvrtc", "cublaslt", "cache", "embedded", "model     nano for cpu" }, part => Assert.Contains("\n" + part, "\n" + text));
    }

    [Theory]
    [InlineData("train"), InlineData("eval"), InlineData("tokenize"), InlineData("kernels"), InlineData("bench"), InlineData("compile"), InlineData("doctor")]
    public void Help_OfTheProgram_NamesTheVerb(string verb)
    {
        Assert.Contains($"\n  {verb} ", Succeed("--help"));
        Assert.Contains("--help", Succeed(verb, "--help"));
    }
}
