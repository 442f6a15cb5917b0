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
    static readonly string[] Expected = ["gemm_nn_k11_d_up_proj_b_d_gate_proj_b", "gemm_nn_k13_attention_delta", "gemm_nt_k01_rope", "gemm_nt_k04_mul", "gemm_nt_k09_cross_entropy"];

    /// <summary>GeGLU on both halves of a tile, its derivative on a whole one, RoPE on whole heads, delta and the loss's sums; norms, which need a row, are none, and nor is RoPE's inverse, which no product comes before. Delta sums over heads of
    /// 256 (9B) or 128 (27B).</summary>
    [Theory]
    [InlineData("9b-2l", 256), InlineData("27b-2l", 128)]
    public void Epilogues_OfRealHeadDims_AreOnHopper(string variant, int headDim)
    {
        foreach (var target in Emitted.Model(variant).Targets)
            Assert.Equal(target.Target == "sm_90a" ? Expected : [], target.Kernels.Where(k => k.Info.Kind == Graph.Generator.Schedules.KernelInfo.GemmWithEpilogue).Select(k => k.Info.Name).Order(StringComparer.Ordinal));
        Assert.Equal(["k01_rope", "k04_mul", "k11_d_up_proj_b_d_gate_proj_b", "k13_attention_delta"], Launches(ScheduleText.Parse(Emitted.Model(variant).ScheduleText)).Where(k => k.Epilogue is not null).Select(k => k.Kernel).Distinct().Order(StringComparer.Ordinal));
        string Text(string name) => Emitted.Kernels(variant).Single(k => k.Info.Name == name).Text;
        Assert.Contains($"#define SUMS {headDim}\n", Text("gemm_nn_k13_attention_delta"), StringComparison.Ordinal);
        Assert.Contains("#define SUMS 256\n", Text("gemm_nt_k09_cross_entropy"), StringComparison.Ordinal);
        Assert.Contains("#define SUMS 0\n", Text("gemm_nt_k04_mul"), StringComparison.Ordinal);
    }

    /// <summary>Where no norm stands between them a residual sum is the epilogue of the product before it, o's and down's, and so are the sums of gradients; RoPE pairs neighbouring panels of heads of 128.</summary>
    [Fact]
    public void Epilogues_WithoutNorms_AreResidualSumsToo()
    {
        var target = Emitted.Model("nano-no-norms").Targets.Single();
        string[] expected =
        [
            "gemm_nn_k11_d_up_proj_b_d_gate_proj_b", "gemm_nn_k12_d_o_proj_b", "gemm_nn_k13_attention_delta", "gemm_nn_k17_add_d_down_proj_b", "gemm_nn_k18_d_o_proj_b",
            "gemm_nt_k01_rope", "gemm_nt_k03_sum", "gemm_nt_k04_mul", "gemm_nt_k05_add_sum", "gemm_nt_k07_add_sum", "gemm_nt_k09_cross_entropy",
        ];
        Assert.Equal(expected, target.Kernels.Where(k => k.Info.Kind == Graph.Generator.Schedules.KernelInfo.GemmWithEpilogue).Select(k => k.Info.Name).Order(StringComparer.Ordinal));
        var sum = Emitted.Kernels("nano-no-norms").Single(k => k.Info.Name == "gemm_nt_k03_sum").Text;
        Assert.Contains("sum[j] = ", sum, StringComparison.Ordinal);
    }

    /// <summary>Two layers share GeGLU's kernel, but in one gate and up are two products and it reads the second: the first layer's form is emitted and marked, the other layer runs product and kernel apart.</summary>
    [Theory]
    [InlineData(1, 1), InlineData(0, 0)]
    public void Bind_LayersThatReadTheirProductsInOtherPlaces_AreOneLaunchOnlyInTheEmittedForm(int apart, int halves)
    {
        var size = Gemma2Size.Nano with { Name = "up-apart", Layers = 2, UpApart = apart };
        var compiled = Graph.Generator.Compiler.Compile(size.Name, Gemma2Trace.Of(size), ["sm_90a"]);
        var text = string.Concat(compiled.Targets.Single().Kernels.Single(k => k.Info.Name == "gemm_nt_k04_mul").Parts);
        Assert.Contains($"#define HALVES {halves}\n", text, StringComparison.Ordinal);
        var schedule = ScheduleText.Parse(compiled.ScheduleText);
        Assert.Single(Launches(schedule).Where(k => k.Kernel == "k04_mul").Select(k => string.Join(',', k.Epilogue!)).Distinct());
        var plan = ExecutionPlan.Create(schedule, new PlanOptions(Tokens, RankTable.Create(schedule, _ => 16), ActType.Bf16, 2));
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 }).MicroBatch;
        Assert.Equal(0, Assert.Single(bound.OfType<BoundGemmEpilogue>(), p => p.Kernel.Kernel == "k04_mul").Kernel.Layer);
        Assert.Equal(1, Assert.Single(bound.OfType<BoundKernel>(), k => k.Kernel == "k04_mul").Layer);
    }

    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Bind_AnyRecompute_EveryProductBeforeAnEpilogueIsOneLaunchWithIt(string recompute)
    {
        var (plan, bound) = Bound(recompute);
        var pairs = bound.MicroBatch.OfType<BoundGemmEpilogue>().ToArray();
        Assert.Equal(2, pairs.Count(p => p.Kernel.Kernel.StartsWith("k11", StringComparison.Ordinal)));
        Assert.DoesNotContain(bound.MicroBatch.OfType<BoundKernel>(), k => k.Kernel.StartsWith("k11", StringComparison.Ordinal));
        Assert.DoesNotContain(bound.MicroBatch.OfType<BoundGemm>(), g => pairs.Any(p => p.Gemm.Label == g.Label && p.Gemm.D == g.D));
        var deltas = pairs.Where(p => p.Kernel.Kernel == "k13_attention_delta").ToArray();
        Assert.Equal(2, deltas.Length);
        Assert.All(deltas, p => Assert.Equal([2], p.Places));
        Assert.DoesNotContain(bound.MicroBatch.OfType<BoundKernel>(), k => k.Kernel == "k13_attention_delta");
        // q, k and v turned in place: the kernel writes what the product would.
        var turned = pairs.Where(p => p.Kernel.Kernel == "k01_rope").ToArray();
        Assert.Equal(recompute == "full" ? 4 : 2, turned.Length);
        Assert.All(turned, p => Assert.Equal([0], p.Places));
        Assert.All(turned, p => Assert.Equal(p.Gemm.D, p.Kernel.Arguments[0].Address));
        // A recompute that kept gate and up has GeGLU alone; one that did not multiplies again.
        var geglu = pairs.Where(p => p.Kernel.Kernel == "k04_mul").ToArray();
        Assert.Equal(recompute == "full" ? 4 : 2, geglu.Length);
        Assert.All(geglu, p => Assert.Equal([1, 2], p.Places));
        Assert.Equal(recompute == "cheap" ? 2 : 0, bound.MicroBatch.OfType<BoundKernel>().Count(k => k.Kernel == "k04_mul"));
        Assert.Equal(plan.MicroBatch.Launches.Count, bound.MicroBatch.Sum(l => l is BoundGemmEpilogue or BoundRankGradients ? 2 : 1) - Heads(bound.MicroBatch) + 1);
    }

    /// <summary>A mark is the kernel's: of a launch that shares it, delta of some heads of the product alone would be sums of columns that it does not ask for.</summary>
    [Fact]
    public void Bind_DeltaOfAPartOfTheProduct_IsNoPair()
    {
        var launches = Schedule.Backward.SkipWhile(l => l is not GemmLaunch { D.Tensor: "layers.1.d_attention" }).Take(2).ToArray();
        var delta = Assert.IsType<KernelLaunch>(launches[1]);
        var shapes = new Shapes(Schedule, Tokens, Ranks, ActType.Bf16);
        Assert.True(GemmEpilogues.IsPair(shapes, launches, 1));
        Assert.False(GemmEpilogues.IsPair(shapes, [launches[0], delta with { Arguments = [delta.Arguments[0], delta.Arguments[1], delta.Arguments[2] with { Cols = new ExtentRange(0, 2048) }] }], 1));
    }

    /// <summary>The recipe of gate and up comes before the product whose epilogue reads them, not between the two.</summary>
    [Fact]
    public void Expand_RecipeOfWhatAnEpilogueReads_LeavesThePairTogether()
    {
        var (_, bound) = Bound(new Decisions("gate and up", Schedule.Recipes.Where(r => r.Tensor.EndsWith("gate_proj+up_proj", StringComparison.Ordinal)).ToDictionary(r => r.Tensor, _ => TensorAction.Recompute)));
        Assert.Equal(2, bound.MicroBatch.OfType<BoundGemmEpilogue>().Count(p => p.Kernel.Kernel.StartsWith("k11", StringComparison.Ordinal)));
        Assert.Equal(2, bound.MicroBatch.OfType<BoundGemm>().Count(g => g.Label.EndsWith("gate_proj+up_proj", StringComparison.Ordinal)));
    }

    /// <summary>The backward reads gate and up, dq, dk and dv read do; the gradient that GeGLU's derivative reads is read by nothing else; an evaluation keeps neither.</summary>
    [Fact]
    public void Bind_DThatNothingElseReads_IsNotStored()
    {
        var (_, bound) = Bound("none");
        Assert.All(bound.MicroBatch.OfType<BoundGemmEpilogue>(), p => Assert.Equal(p.Kernel.Kernel is "k04_mul" or "k13_attention_delta", p.StoreD));
        Assert.All(bound.Evaluation.OfType<BoundGemmEpilogue>(), p => Assert.False(p.StoreD));
        Assert.All(Bound("full").Bound.MicroBatch.OfType<BoundGemmEpilogue>().Take(2), p => Assert.False(p.StoreD));
        // What the one kernel moves: operands, outputs and what is beside D; D itself where it is stored.
        Assert.All(bound.MicroBatch.OfType<BoundGemmEpilogue>(), p => Assert.Equal(p.Gemm.Bytes + p.Kernel.Bytes - (p.StoreD ? 2L : 4L) * p.Gemm.M * (p.Kernel.Kernel == "k01_rope" ? Turned : p.Gemm.N), p.Bytes));
    }

    /// <summary>As one kernel the two write while other tiles still read, so nothing that is written may lie where an operand was.</summary>
    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Plan_AnyRecompute_OutputsOfAnEpilogueLieBesideItsOperands(string recompute)
    {
        foreach (var p in Bound(recompute).Bound.MicroBatch.OfType<BoundGemmEpilogue>())
        {
            var operand = (From: (long)p.Gemm.A, To: p.Gemm.A + 2L * ((p.Gemm.M - 1) * p.Gemm.APitch + p.Gemm.K));
            foreach (var written in p.Kernel.Arguments.Take(p.Outputs).Select(a => (From: (long)a.Address, To: a.Address + (p.Kernel.Rows - 1L) * a.RowBytes + Math.Min(a.RowBytes, 2L * p.Gemm.N / p.Places.Count))))
                Assert.True(written.To <= operand.From || operand.To <= written.From, $"{p.Label}: {written} overlaps {operand}");
        }
    }

    /// <summary>Every chunk of logits is multiplied with room for its sums, and the kernel that reads it finds them there: fewer rows than a product makes would be someone else's.</summary>
    [Fact]
    public void Bind_Logits_TheirSumsAreWhereTheLossLooksForThem()
    {
        var (plan, bound) = Bound("none");
        var logits = bound.MicroBatch.OfType<BoundGemm>().Where(g => g.Sums is not null).ToArray();
        var losses = bound.MicroBatch.OfType<BoundKernel>().Where(k => k.Sums is not null).ToArray();
        Assert.Equal((Tokens + plan.LogitsRows - 1) / plan.LogitsRows, logits.Length);
        Assert.Equal(logits.Select(g => (g.Sums!.Value.Kernel, g.Sums.Value.Address, g.Sums.Value.Pitch, g.D, g.M)), losses.Select(k => (k.Kernel, k.Sums!.Value.Address, k.Sums.Value.Pitch, k.Arguments[0].Address, k.Rows)));
        Assert.All(logits, g => Assert.Equal(1000, g.Sums!.Value.Pitch));
    }

    static Schedule Schedule => ScheduleText.Parse(Emitted.Model("9b-2l").ScheduleText);

    static IEnumerable<KernelLaunch> Launches(Schedule schedule) => schedule.Forward.Concat(schedule.Backward).OfType<KernelLaunch>();

    static int Heads(IReadOnlyList<BoundLaunch> launches) => launches.Count(l => l is BoundGemm { Limit: not null } || l is BoundKernel k && (k.Kernel == "k09_cross_entropy" || k.Kernel.EndsWith("label_rows", StringComparison.Ordinal)));

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
