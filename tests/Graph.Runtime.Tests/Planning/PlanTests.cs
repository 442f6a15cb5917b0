using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public class PlanTests
{
    static readonly Schedule Tiny = TinySchedule.Parse();

    static ExecutionPlan Plan(RankTable ranks, string decisions = "none", int tokens = 128) => ExecutionPlan.Create(Tiny, new PlanOptions(tokens, ranks, ActType.Bf16, 2)
    {
        Decisions = Decisions.Named(decisions, new Shapes(Tiny, tokens, ranks, ActType.Bf16)),
    });

    [Theory]
    [InlineData(1, 16), InlineData(16, 16), InlineData(17, 32), InlineData(65, 128), InlineData(256, 256)]
    public void Ranks_AnyRank_TakesTheBucketThatHoldsIt(int rank, int padded)
    {
        var ranks = RankTable.Create(Tiny, rank, ["a", "b"]);
        Assert.Equal(2 * padded, ranks[0]);
        Assert.Equal([0, padded], ranks.Adapters.Where(a => a.Group == 1).Select(a => a.RankStart));
        Assert.Equal([0, TinySchedule.Hidden], ranks.Adapters.Where(a => a.Group == 1).Select(a => a.OutStart));
        Assert.Equal(5 + 2 * padded, ranks.Resolve(new Extent(5, 2)));
    }

    [Fact]
    public void Ranks_OneTarget_LeavesTheOtherWithoutRoom()
    {
        var ranks = RankTable.Create(Tiny, 3, ["layers.1.b"]);
        Assert.Equal((0, 16, 0), (ranks[0], ranks[1], ranks[2]));
        Assert.Equal(new AdapterSlot("layers.1.b", 1, 64, 64, 64, 3, 16, 0), Assert.Single(ranks.Adapters));
    }

    [Fact]
    public void Ranks_UnknownTarget_NamesWhatThereIs() =>
        Assert.Equal("ranks: no linear of tiny is named 'q_proj'; the names are a, b.", Assert.Throws<ArgumentException>(() => RankTable.Create(Tiny, 3, ["q_proj"])).Message);

    [Fact]
    public void Ranks_OfALinearThatTheModelGivesNoAdapter_AreRefused()
    {
        var plain = Tiny with { Tensors = Tiny.Tensors.Where(t => !(t.Group == 1 && t.Kind is TensorKind.GradA or TensorKind.GradB)).ToArray() };
        var linear = plain.Groups[1].Linears[0].Name;
        Assert.Contains($"traces {linear} without an adapter; leave '", Assert.Throws<ArgumentException>(() => RankTable.Create(plain, 3, [linear])).Message);
        Assert.Equal(plain.Groups[0].Linears[0].Name, RankTable.Create(plain, 3, [plain.Groups[0].Linears[0].Name]).Adapters[0].Linear);
    }

    [Theory]
    [InlineData(0), InlineData(257)]
    public void Ranks_OutsideTheBuckets_IsRefused(int rank) => Assert.Throws<ArgumentException>(() => RankTable.Create(Tiny, rank, ["a"]));

    [Fact]
    public void DeadLaunches_AdapterInLayerOne_BackwardStopsThere()
    {
        var plan = Plan(RankTable.Create(Tiny, 8, ["layers.1.a"]));
        var backward = plan.MicroBatch.Launches.Skip(plan.MicroBatch.BackwardStart).ToArray();
        Assert.Equal([2, 2, 2, 1, 1, 1, 1], backward.Select(l => l.Layer));
        Assert.DoesNotContain(backward, l => l is KernelLaunch { Kernel: "norm_adjoint", Layer: 1 });
        Assert.DoesNotContain(TinySchedule.Names(plan.MicroBatch.Launches), l => l.Contains("R0") || l.Contains("R2:"));
    }

    [Fact]
    public void DeadLaunches_Evaluation_KeepsForwardAndLossWithoutDx()
    {
        var plan = Plan(RankTable.Create(Tiny, 8, ["a"]));
        Assert.Equal(Tiny.Forward.Count, plan.Evaluation.Launches.Count);
        Assert.Null(plan.Evaluation.Launches.OfType<CrossEntropyLaunch>().Single().DX);
        Assert.NotNull(plan.MicroBatch.Launches.OfType<CrossEntropyLaunch>().Single().DX);
        Assert.True(plan.Evaluation.Survives("loss"));
    }

    [Fact]
    public void DeadLaunches_NoAdapters_LeavesNoBackward()
    {
        var plan = Plan(RankTable.Create(Tiny, _ => 0));
        Assert.Equal(plan.MicroBatch.Launches.Count, plan.MicroBatch.BackwardStart);
        Assert.Equal(0, plan.Memory[MemoryBlock.Gradients]);
        Assert.Empty(plan.Optimizer.Adapters);
    }

    [Theory]
    [InlineData("cheap", 2), InlineData("full", 3)]
    public void Recompute_Decisions_InsertRecipesRightBeforeTheFirstReader(string decisions, int perLayer)
    {
        var ranks = RankTable.Create(Tiny, 8, ["a", "b"]);
        var none = Plan(ranks).MicroBatch;
        var program = Plan(ranks, decisions).MicroBatch;
        Assert.Equal(none.Launches.Count + 3 * perLayer, program.Launches.Count);
        Assert.Equal(TinySchedule.Names(none.Launches.Take(none.BackwardStart)), TinySchedule.Names(program.Launches.Take(program.BackwardStart)));
        // The layer's recipes are inside the layer's own launches, and S is built once.
        Assert.Equal(2, program.Launches.Count(l => ScheduleText.Print(l).Contains("= layers.1.h[:,0:64] group.1[128")));
        Assert.Equal([2, 1, 0], program.Launches.Skip(program.BackwardStart).Select(l => l.Layer).Aggregate(new List<int>(), (a, l) => { if (a.Count == 0 || a[^1] != l) a.Add(l); return a; }));
    }

    [Fact]
    public void Recompute_More_NeedsLessArena()
    {
        var ranks = RankTable.Create(Tiny, 8, ["a", "b"]);
        var bytes = new[] { "none", "cheap", "full" }.Select(d => Plan(ranks, d, 4096).Memory[MemoryBlock.Arena]).ToArray();
        Assert.True(bytes[0] > bytes[1] && bytes[1] > bytes[2], string.Join(" ", bytes));
    }

    [Fact]
    public void Memory_Arena_IsNearTheMostBytesAliveAtOnce()
    {
        var program = Plan(RankTable.Create(Tiny, 8, ["a", "b"]), "full", 1000).MicroBatch;
        var bound = Arena.LowerBound(program.Arena.Placements.Select(p => p.Lifetime).ToArray());
        Assert.InRange(program.Arena.Bytes, bound, bound * 1.05);
    }

    [Fact]
    public void Decisions_Offload_IsRefusedWithASentence()
    {
        var ranks = RankTable.Create(Tiny, 8, ["a"]);
        var offload = new Decisions("mine", new Dictionary<string, TensorAction> { ["layers.0.h"] = TensorAction.Offload });
        var error = Assert.Throws<ArgumentException>(() => ExecutionPlan.Create(Tiny, new PlanOptions(64, ranks, ActType.F32, 1) { Decisions = offload }));
        Assert.StartsWith("decisions: layers.0.h is to be offloaded", error.Message);
    }

    [Fact]
    public void Bind_CrossEntropy_IsCutIntoChunksThatCoverAllRows()
    {
        var ranks = RankTable.Create(Tiny, 8, ["a"]);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(1000, ranks, ActType.Bf16, 1) { LogitsRows = 256 });
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 }).MicroBatch;
        var logits = bound.OfType<BoundGemm>().Where(g => g.Label == "logits").ToArray();
        Assert.Equal([256, 256, 256, 232], logits.Select(g => g.M));
        Assert.Equal(256 * 64 * 2, logits[1].A - logits[0].A);
        Assert.Single(logits.Select(g => g.D).Distinct());
        var losses = bound.OfType<BoundKernel>().Where(k => k.Kernel == "cross_entropy").Select(k => k.Arguments[1].Address).ToArray();
        Assert.Equal(256 * 4, losses[1] - losses[0]);
        Assert.Equal(2L * 256 * TinySchedule.Vocabulary * 64, logits[0].Flops);
    }

    [Theory]
    [InlineData(true), InlineData(false)]
    public void Bind_CrossEntropy_WorksOnGatheredRowsUpToTheirCount(bool training)
    {
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(600, RankTable.Create(Tiny, 8, ["a"]), ActType.Bf16, 1) { LogitsRows = 256 });
        var both = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20, [MemoryBlock.Inputs] = 1 << 30 });
        var (program, planned) = training ? (both.MicroBatch, plan.MicroBatch) : (both.Evaluation, plan.Evaluation);
        var at = planned.Launches.ToList().FindIndex(l => l is CrossEntropyLaunch);
        nint Input(string name) => (1 << 30) + (nint)plan.Memory.Permanent[name].Offset;
        nint Place(string name) => (1 << 20) + (nint)planned.OffsetOf(name, at);
        string[] chunk = training ? ["logits", "cross_entropy", "dx.3"] : ["logits", "cross_entropy"];
        var head = program.SkipWhile(l => l.Label != LabelRows.Gather).Take(2 + 3 * chunk.Length).ToArray();
        Assert.Equal([LabelRows.Gather, .. chunk, .. chunk, .. chunk, LabelRows.Scatter], head.Select(l => l.Label));

        var gather = Assert.IsType<BoundKernel>(head[0]).Arguments.Select(a => (a.Address, a.Pitch));
        Assert.Equal([(Place(LabelRows.X), 64), (Place(LabelRows.Labels), 0), (Place("x.3"), 64), (Input("labels"), 0), (Input(LabelRows.Rows), TinySchedule.Hidden)], gather);
        var scatter = Assert.IsType<BoundKernel>(head[^1]).Arguments.Select(a => (a.Address, a.Pitch));
        Assert.Equal([(training ? Place("dx.3") : 0, 64), (Place("loss"), 0), (Place(LabelRows.X), 64), (Place(LabelRows.Losses), 0), (Input(LabelRows.Places), TinySchedule.Hidden)], scatter);
        var products = head.OfType<BoundGemm>().ToArray();
        Assert.Equal(products.Select((_, i) => new RowLimit(Input(LabelRows.Count), i / (training ? 2 : 1) * 256)), products.Select(p => p.Limit!.Value));
        // dX of a chunk lies where its x was.
        Assert.All(products, p => Assert.Equal(Place(LabelRows.X) + p.Limit!.Value.First * 64 * 2, p.Label == "logits" ? p.A : p.D));
        Assert.DoesNotContain(program.Except(head), l => l is BoundGemm { Limit: not null });
    }

    [Fact]
    public void Bind_RowKernelThatGathers_CountsARowOfTheTablePerToken()
    {
        long Bytes(int tokens) => Binder.Bind(ExecutionPlan.Create(Tiny, new PlanOptions(tokens, RankTable.Create(Tiny, 8, ["a"]), ActType.F32, 1)), new Dictionary<MemoryBlock, nint>()).MicroBatch.OfType<BoundKernel>().First(k => k.Kernel == "embedding").Bytes;
        // Ids, rows read, rows written; more tokens than the table has rows read the whole of it.
        Assert.Equal(64 * (4 + 2 * 64 * 4), Bytes(64));
        Assert.Equal(200 * (4 + 64 * 4) + TinySchedule.Vocabulary * 64 * 4, Bytes(200));
    }

    [Fact]
    public void Bind_GroupViews_AddressTheRightCorners()
    {
        var ranks = RankTable.Create(Tiny, 8, ["a", "b"]);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(100, ranks, ActType.F32, 2.5));
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Groups] = 1 << 30 });
        var start = (1 << 30) + (nint)plan.Memory.Permanent["group.0"].Offset;
        var s = bound.MicroBatch.OfType<BoundGemm>().First(g => g.Label == "layers.0.h[:,64:64+R0]");
        // A lies below the 128 rows of W; rows of 64 + 32 columns are 128 elements apart.
        Assert.Equal((start + 128 * 128 * 4, 128, 32, 64, 2.5f), (s.B, s.BPitch, s.N, s.K, s.Alpha));
        Assert.Equal((100, 128), (s.M, s.APitch));
        var up = bound.MicroBatch.OfType<BoundGemm>().First(g => g.Label == "layers.0.u");
        Assert.Equal((start, 128, 96, false), (up.B, up.N, up.K, up.Accumulate));
    }

    [Theory]
    [InlineData("none")]
    [InlineData("full")]
    public void Bind_GAndGradBOfOneGroup_AreOneLaunchInGradBsPlace(string recompute)
    {
        var ranks = RankTable.Create(Tiny, 8, ["a", "b"]);
        var shapes = new Shapes(Tiny, 100, ranks, ActType.F32);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(100, ranks, ActType.F32, 2.5) { Decisions = Decisions.Named(recompute, shapes) });
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20, [MemoryBlock.Groups] = 1 << 30 }).MicroBatch;
        var both = bound.OfType<BoundRankGradients>().ToArray();
        Assert.Equal(plan.MicroBatch.Launches.OfType<GemmLaunch>().Count(g => g.D.Tensor.StartsWith("grad_b.", StringComparison.Ordinal)), both.Length);
        Assert.NotEmpty(both);
        Assert.All(both, b => Assert.Equal((b.G.A, b.G.APitch, GemmLayout.Nn, GemmLayout.Tn), (b.GradB.A, b.GradB.APitch, b.G.Layout, b.GradB.Layout)));
        // dY is counted once.
        Assert.All(both, b => Assert.Equal(b.G.Bytes + b.GradB.Bytes - 4L * b.G.M * b.G.K, b.Bytes));
        Assert.All(both, b => Assert.Equal(b.GradB.N, b.Blocks.Sum(x => x.Rank)));
        // None of the two runs again by itself, and what G makes is read later.
        foreach (var b in both)
        {
            Assert.DoesNotContain(bound.OfType<BoundGemm>(), g => g.Label == b.G.Label || g.Label == b.GradB.Label);
            // Addresses serve one tensor after the other, so the reader is looked for by its kind too: dA.
            var reader = bound.ToList().FindIndex(l => l is BoundGemm { Layout: GemmLayout.Tn } g && g.Layer == b.Layer && g.A == b.G.D);
            Assert.True(reader > bound.ToList().IndexOf(b));
        }
    }

    [Fact]
    public void Pairs_GIsReadBeforeGradB_IsNoPair()
    {
        var shapes = new Shapes(Tiny, 100, RankTable.Create(Tiny, 8, ["a", "b"]), ActType.F32);
        var launches = Tiny.Backward.ToList();
        var pair = RankGradients.Pairs(shapes, launches).First();
        Assert.True(pair.Key > pair.Value);
        // dA reads G; before dB it keeps G where it is.
        var gradA = launches.FindIndex(pair.Key, l => l is GemmLaunch { Layout: GemmLayout.Tn } g && g.D.Tensor.StartsWith("grad_a.", StringComparison.Ordinal));
        (launches[pair.Key], launches[gradA]) = (launches[gradA], launches[pair.Key]);
        Assert.DoesNotContain(pair.Value, RankGradients.Pairs(shapes, launches).Values);
    }
}
