using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Graph.Tests;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Row kernels in the tiles of the product before them: which are found in Gemma 2, and how they are bound.</summary>
public sealed class EpilogueTests
{
    // What the epilogues of Gemma 2 do, by the label of the second launch's kernel, and the loss's sums.
    static readonly string[] Expected = ["attention_delta", "cross_entropy", "d_up_proj_d_gate_proj", "geglu", "rope"];

    /// <summary>GeGLU on both halves of a tile, its derivative on a whole one, RoPE on whole heads, delta and the loss's sums;
    /// norms, which need a row, are none, and nor is RoPE's inverse, which no product comes before.
    /// Delta sums over heads of 256 (9B) or 128 (27B).</summary>
    [Theory]
    [InlineData("9b-2l", 256), InlineData("27b-2l", 128)]
    public void Epilogues_OfRealHeadDims_AreOnHopper(string variant, int headDim)
    {
        foreach (var target in Emitted.Model(variant).Targets)
            Assert.Equal(target.Target == "sm_90a" ? Expected : [],
                Labels(target.Kernels.Where(k => k.Info.Kind == Graph.Generator.Schedules.KernelKind.GemmEpilogue).Select(k => k.Info.Name)));
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        Assert.Equal(Expected.Where(l => l != "cross_entropy"), Labels(schedule.Fusions.OfType<EpilogueFusion>().Select(f => f.Kernel)));
        Assert.Equal("cross_entropy", Label(schedule.Forward.OfType<CrossEntropyLaunch>().Single().Sums!.Product));
        // Every layer's: two each.
        Assert.All(schedule.Fusions.OfType<EpilogueFusion>().GroupBy(f => f.Kernel), f => Assert.Equal(2, f.Count()));
        string Text(string label) => Emitted.Kernels(variant).Single(k => k.Info.Kind == Graph.Generator.Schedules.KernelKind.GemmEpilogue && Label(k.Info.Name) == label).Text;
        Assert.Contains($"#define SUMS {headDim}\n", Text("attention_delta"), StringComparison.Ordinal);
        Assert.Contains("#define SUMS 256\n", Text("cross_entropy"), StringComparison.Ordinal);
        Assert.Contains("#define SUMS 0\n", Text("geglu"), StringComparison.Ordinal);
    }

    /// <summary>
    /// Where no norm stands between them a residual sum is the epilogue of the product before it, o's and down's, and so are the sums of gradients;
    /// RoPE pairs neighbouring panels of heads of 128.
    /// </summary>
    [Fact]
    public void Epilogues_WithoutNorms_AreResidualSumsToo()
    {
        var schedule = ScheduleText.Parse(Emitted.Model("nano-no-norms").ScheduleText);
        var launches = schedule.Forward.Concat(schedule.Backward).ToDictionary(l => l.Id);
        var sums = schedule.Fusions.OfType<EpilogueFusion>().Select(f => (Product: (GemmLaunch)launches[f.First], Row: (KernelLaunch)launches[f.Second], f.Kernel))
            .Where(f => f.Row.Kind == KernelKind.Row).ToArray();
        // o and down in the forward, but for the last one, whose sum the final norm reads; the derivative of GeGLU and the sums of gradients in the backward.
        Assert.Equal(["layers.0.o_proj", "layers.0.down_proj", "layers.1.o_proj"],
            sums.Where(f => f.Product.Layout == GemmLayout.Nt && f.Row.Arguments.Take(f.Row.Outputs).Any(a => a.Tensor.Contains("residual", StringComparison.Ordinal)))
                .Select(f => f.Product.D.Tensor));
        Assert.True(sums.Count(f => f.Product.Layout == GemmLayout.Nn) >= 5);
        var first = sums.First(f => f.Product.D.Tensor == "layers.0.o_proj");
        Assert.Contains("residual[j] = ", Emitted.Kernels("nano-no-norms").Single(k => k.Info.Name == first.Kernel).Text, StringComparison.Ordinal);
    }

    /// <summary>
    /// Two layers share GeGLU's kernel, but in one gate and up are two products and it reads the second: there is a kernel of both for each form, and each
    /// layer is one launch with its own.
    /// </summary>
    [Theory]
    [InlineData(1), InlineData(0)]
    public void Bind_LayersThatReadTheirProductsInOtherPlaces_HaveAKernelEach(int apart)
    {
        var size = Gemma2Size.Nano with { Name = "up-apart", Layers = 2, UpApart = apart };
        var compiled = Graph.Generator.Compiler.Compile(size.Name, Gemma2Trace.Of(size), Gemma2Size.EpilogueTargets);
        var schedule = ScheduleText.Parse(compiled.ScheduleText);
        var plan = ExecutionPlan.Create(schedule, new PlanOptions(Tokens, RankTable.Create(schedule, _ => 16), ActType.Bf16, 2));
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 }).MicroBatch;
        var fused = bound.OfType<BoundGemmEpilogue>().Where(p => Label(p.Kernel.Kernel) == "geglu").ToArray();
        Assert.Equal([0, 1], fused.Select(p => p.Kernel.Layer));
        Assert.Single(fused.Select(p => p.Kernel.Kernel).Distinct());
        foreach (var p in fused)
            Assert.Contains($"#define HALVES {(p.Kernel.Layer == apart ? 0 : 1)}\n",
                string.Concat(compiled.Targets.Single().Kernels.Single(k => k.Info.Name == p.Fused).Parts), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Bind_AnyRecompute_EveryProductBeforeAnEpilogueIsOneLaunchWithIt(string recompute)
    {
        var (plan, bound) = Bound(recompute);
        var pairs = bound.MicroBatch.OfType<BoundGemmEpilogue>().ToArray();
        BoundGemmEpilogue[] Of(string label) => [.. pairs.Where(p => Label(p.Kernel.Kernel) == label)];
        Assert.Equal(2, Of("d_up_proj_d_gate_proj").Length);
        Assert.DoesNotContain(bound.MicroBatch.OfType<BoundKernel>(), k => Label(k.Kernel) is "d_up_proj_d_gate_proj" or "attention_delta");
        Assert.DoesNotContain(bound.MicroBatch.OfType<BoundGemm>(), g => pairs.Any(p => p.Gemm.Label == g.Label && p.Gemm.D == g.D));
        Assert.Equal(2, Of("attention_delta").Length);
        Assert.All(Of("attention_delta"), p => Assert.Equal([2], p.Places));
        // q, k and v turned in place: the kernel writes what the product would.
        Assert.Equal(recompute == "full" ? 4 : 2, Of("rope").Length);
        Assert.All(Of("rope"), p => Assert.Equal([0], p.Places));
        Assert.All(Of("rope"), p => Assert.Equal(p.Gemm.D, p.Kernel.Arguments[0].Address));
        // A recompute that kept gate and up has GeGLU alone; one that did not multiplies again.
        Assert.Equal(recompute == "full" ? 4 : 2, Of("geglu").Length);
        Assert.All(Of("geglu"), p => Assert.Equal([1, 2], p.Places));
        Assert.Equal(recompute == "cheap" ? 2 : 0, bound.MicroBatch.OfType<BoundKernel>().Count(k => Label(k.Kernel) == "geglu"));
        Assert.Equal(plan.MicroBatch.Launches.Count, bound.MicroBatch.Sum(l => l is BoundGemmEpilogue or BoundRankGradients ? 2 : 1) - Heads(bound.MicroBatch) + 1);
    }

    /// <summary>The recipe of gate and up comes before the product whose epilogue reads them, not between the two.</summary>
    [Fact]
    public void Expand_RecipeOfWhatAnEpilogueReads_LeavesThePairTogether()
    {
        var (_, bound) = Bound(new Decisions("gate and up",
            Schedule.Recipes.Where(r => r.Tensor.EndsWith("gate_proj+up_proj", StringComparison.Ordinal)).ToDictionary(r => r.Tensor, _ => TensorAction.Recompute)));
        Assert.Equal(2, bound.MicroBatch.OfType<BoundGemmEpilogue>().Count(p => Label(p.Kernel.Kernel) == "d_up_proj_d_gate_proj"));
        Assert.Equal(2, bound.MicroBatch.OfType<BoundGemm>().Count(g => g.Label.EndsWith("gate_proj+up_proj", StringComparison.Ordinal)));
    }

    /// <summary>The backward reads gate and up, dq, dk and dv read do; the gradient that GeGLU's derivative reads is read by nothing else; an evaluation keeps neither.</summary>
    [Fact]
    public void Bind_DThatNothingElseReads_IsNotStored()
    {
        var (_, bound) = Bound("none");
        Assert.All(bound.MicroBatch.OfType<BoundGemmEpilogue>(), p => Assert.Equal(Label(p.Kernel.Kernel) is "geglu" or "attention_delta", p.StoreD));
        Assert.All(bound.Evaluation.OfType<BoundGemmEpilogue>(), p => Assert.False(p.StoreD));
        Assert.All(Bound("full").Bound.MicroBatch.OfType<BoundGemmEpilogue>().Take(2), p => Assert.False(p.StoreD));
        // What the one kernel moves: operands, outputs and what is beside D; D itself where it is stored.
        Assert.All(bound.MicroBatch.OfType<BoundGemmEpilogue>(),
            p => Assert.Equal(p.Gemm.Bytes + p.Kernel.Bytes - (p.StoreD ? 2L : 4L) * p.Gemm.M * (Label(p.Kernel.Kernel) == "rope" ? Turned : p.Gemm.N), p.Bytes));
    }

    /// <summary>As one kernel the two write while other tiles still read, so nothing that is written may lie where an operand was.</summary>
    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Plan_AnyRecompute_OutputsOfAnEpilogueLieBesideItsOperands(string recompute)
    {
        foreach (var p in Bound(recompute).Bound.MicroBatch.OfType<BoundGemmEpilogue>())
        {
            foreach (var operand in p.Gemm.Segments.Select(s => (From: (long)s.A, To: s.A + 2L * ((p.Gemm.M - 1) * s.APitch + s.K))))
            foreach (var written in p.Kernel.Arguments.Take(p.Outputs)
                    .Select(a => (From: (long)a.Address, To: a.Address + (p.Kernel.Rows - 1L) * a.RowBytes + Math.Min(a.RowBytes, 2L * p.Gemm.N / p.Places.Count))))
                Assert.True(written.To <= operand.From || operand.To <= written.From, $"{p.Label}: {written} overlaps {operand}");
        }
    }

    /// <summary>
    /// Every chunk of logits is multiplied with room for its sums, and the kernel that reads it finds them there:
    /// fewer rows than a product makes would be someone else's.
    /// </summary>
    [Fact]
    public void Bind_Logits_TheirSumsAreWhereTheLossLooksForThem()
    {
        var (plan, bound) = Bound("none");
        var logits = bound.MicroBatch.OfType<BoundGemm>().Where(g => g.Sums is not null).ToArray();
        var losses = bound.MicroBatch.OfType<BoundKernel>().Where(k => k.Sums is not null).ToArray();
        Assert.Equal((Tokens + plan.LogitsRows - 1) / plan.LogitsRows, logits.Length);
        Assert.Equal(logits.Select(g => (g.Sums!.Value.Kernels, g.Sums.Value.Address, g.Sums.Value.Pitch, g.D, g.M)),
            losses.Select(k => (k.Sums!.Value.Kernels, k.Sums.Value.Address, k.Sums.Value.Pitch, k.Arguments[0].Address, k.Rows)));
        Assert.All(logits, g => Assert.Equal(1000, g.Sums!.Value.Pitch));
    }

    static Schedule Schedule => ScheduleText.Parse(Emitted.Model("9b-2l").ScheduleText);

    /// <summary>What a kernel's name says after its number: geglu, of k04_geglu and of gemm_nt_k04_geglu.</summary>
    static string Label(string kernel) => System.Text.RegularExpressions.Regex.Match(kernel, @"k\d+_([a-z_]+[a-z])(_\d)?$").Groups[1].Value;

    static IEnumerable<string> Labels(IEnumerable<string> kernels) => kernels.Select(Label).Distinct().Order(StringComparer.Ordinal);

    static int Heads(IReadOnlyList<BoundLaunch> launches) =>
        launches.Count(l => l is BoundGemm { Limit: not null }
            || l is BoundKernel k && (Label(k.Kernel) == "cross_entropy" || k.Kernel.EndsWith("label_rows", StringComparison.Ordinal)));

    static (ExecutionPlan Plan, BoundSchedule Bound) Bound(string recompute) => Bound(Decisions.Named(recompute, new Shapes(Schedule, Tokens, Ranks, ActType.Bf16)));

    static (ExecutionPlan Plan, BoundSchedule Bound) Bound(Decisions decisions)
    {
        var plan = ExecutionPlan.Create(Schedule, new PlanOptions(Tokens, Ranks, ActType.Bf16, 2) { Decisions = decisions });
        return (plan, Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 }));
    }

    // Columns of q and k.
    const int Turned = 6144;

    const int Tokens = 512;

    static RankTable Ranks => RankTable.Create(Schedule, _ => 16);
}
