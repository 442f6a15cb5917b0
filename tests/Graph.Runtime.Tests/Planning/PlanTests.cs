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
        Assert.Equal([0, padded], ranks.Adapters.Where(a => a.Stack == 1).Select(a => a.RankStart));
        Assert.Equal([0, TinySchedule.Hidden], ranks.Adapters.Where(a => a.Stack == 1).Select(a => a.OutStart));
        Assert.Equal((5, 2 * padded), (ranks.Resolve(5), ranks.Resolve(new Extent(0, 2))));
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
        var plain = Tiny with { Adapters = Tiny.Adapters.Where(a => a.Id != 1).ToArray() };
        Assert.Equal("ranks: the model tiny traces 'layers.1.a' without an adapter; leave it out of the targets, which can be a, b.",
            Assert.Throws<ArgumentException>(() => RankTable.Create(plain, 3, ["layers.1.a"])).Message);
        Assert.Equal(["layers.0.a", "layers.2.a"], RankTable.Create(plain, 3, ["a"]).Adapters.Select(a => a.Linear));
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
        // The adapters that are not there are neither read nor have room, and a product leaves their segment out.
        var touched = plan.MicroBatch.Launches.SelectMany(l => plan.Shapes.Of(l) is var of ? of.Reads.Concat(of.Writes) : [])
            .Select(r => r.Tensor).Concat(plan.MicroBatch.Arena.Placements.Select(p => p.Lifetime.Tensor)).ToHashSet();
        Assert.Equal(["a.1", "b.1", "grad_a.1", "grad_b.1", "layers.1.g", "layers.1.s"],
            touched.Where(t => Tiny.Tensors.Any(x => x.Name == t && x.Dims.Any(d => d.Stack >= 0))).Order());
        var up = Binder.Bind(plan, new Dictionary<MemoryBlock, nint>()).MicroBatch.OfType<BoundGemm>().Where(g => g.Label.EndsWith(".u", StringComparison.Ordinal));
        Assert.Equal([1, 2, 1], up.Select(g => g.Segments.Count));
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
        Assert.Equal(2, program.Launches.Count(l => l is GemmLaunch { D.Tensor: "layers.1.s" }));
        Assert.Equal([2, 1, 0], program.Launches.Skip(program.BackwardStart).Select(l => l.Layer)
            .Aggregate(new List<int>(), (a, l) => { if (a.Count == 0 || a[^1] != l) a.Add(l); return a; }));
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
    public void Bind_CrossEntropy_IsCutIntoChunksThatCoverAllRows()
    {
        var ranks = RankTable.Create(Tiny, 8, ["a"]);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(1000, ranks, ActType.Bf16, 1) { LogitsRows = 256 });
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 }).MicroBatch;
        var logits = bound.OfType<BoundGemm>().Where(g => g.Label == "logits").ToArray();
        Assert.Equal([256, 256, 256, 232], logits.Select(g => g.M));
        Assert.Equal(256 * 64 * 2, logits[1].Operands.A - logits[0].Operands.A);
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
        Assert.Equal([(training ? Place("dx.3") : 0, 64), (Place("loss"), 0), (Place(LabelRows.X), 64),
            (Place(LabelRows.Losses), 0), (Input(LabelRows.Places), TinySchedule.Hidden)], scatter);
        var products = head.OfType<BoundGemm>().ToArray();
        Assert.Equal(products.Select((_, i) => new RowLimit(Input(LabelRows.Count), i / (training ? 2 : 1) * 256)), products.Select(p => p.Limit!.Value));
        // dX of a chunk lies where its x was.
        Assert.All(products, p => Assert.Equal(Place(LabelRows.X) + p.Limit!.Value.First * 64 * 2, p.Label == "logits" ? p.Operands.A : p.D));
        Assert.DoesNotContain(program.Except(head), l => l is BoundGemm { Limit: not null });
    }

    [Fact]
    public void Bind_RowKernelThatGathers_CountsARowOfTheTablePerToken()
    {
        long Bytes(int tokens) =>
            Binder.Bind(ExecutionPlan.Create(Tiny, new PlanOptions(tokens, RankTable.Create(Tiny, 8, ["a"]), ActType.F32, 1)), new Dictionary<MemoryBlock, nint>())
                .MicroBatch.OfType<BoundKernel>().First(k => k.Kernel == "embedding").Bytes;
        // Ids, rows read, rows written; more tokens than the table has rows read the whole of it.
        Assert.Equal(64 * (4 + 2 * 64 * 4), Bytes(64));
        Assert.Equal(200 * (4 + 64 * 4) + TinySchedule.Vocabulary * 64 * 4, Bytes(200));
    }

    [Fact]
    public void Bind_SegmentsOfAProduct_LieWhereTheirTensorsDo()
    {
        var ranks = RankTable.Create(Tiny, 8, ["a", "b"]);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(100, ranks, ActType.F32, 2.5));
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Weights] = 1 << 28, [MemoryBlock.Adapters] = 1 << 29, [MemoryBlock.Arena] = 1 << 30 });
        nint Weight(string name) => (1 << 28) + (nint)plan.Memory.Permanent[name].Offset;
        nint Adapter(string name) => (1 << 29) + (nint)plan.Memory.Permanent[name].Offset;
        nint Arena(string name, int at) => (1 << 30) + (nint)plan.MicroBatch.OffsetOf(name, at);
        var s = bound.MicroBatch.OfType<BoundGemm>().First(g => g.Label == "layers.0.s");
        Assert.Equal((100, 32, 2.5f, false), (s.M, s.N, s.Alpha, s.Accumulate));
        Assert.Equal(new GemmOperands(Arena("layers.0.h", 2), 64, Adapter("a.0"), 64, 64), s.Operands);
        // Rows of S are 64 elements apart, those of B as many as there are ranks.
        var up = bound.MicroBatch.OfType<BoundGemm>().First(g => g.Label == "layers.0.u");
        Assert.Equal((100, 128, 1f, false), (up.M, up.N, up.Alpha, up.Accumulate));
        Assert.Equal([new(Arena("layers.0.h", 3), 64, Weight("layers.0.w"), 64, 64), new(Arena("layers.0.s", 3), 64, Adapter("b.0"), 32, 32)],
            up.Segments.Select(x => x with { Blocks = null }));
        // Of B the two blocks count: half of it.
        Assert.Null(up.Segments[0].Blocks);
        Assert.Equal([new(0, 64, 0, 16), new(64, 64, 16, 16)], up.Segments[1].Blocks!);
        Assert.Equal(2L * 100 * 128 * (64 + 16), up.Flops);
        Assert.Equal(4L * (100 * 64 + 128 * 64 + 100 * 32 + 128 * 32 + 100 * 128), up.Bytes);
        var dh = bound.MicroBatch.OfType<BoundGemm>().First(g => g.Label == "layers.1.dh");
        Assert.Equal([(Weight("layers.1.w"), 64, 128), (Adapter("a.1"), 64, 32)], dh.Segments.Select(x => (x.B, x.BPitch, x.K)));
        Assert.All(dh.Segments, x => Assert.Null(x.Blocks));
        Assert.Throws<InvalidOperationException>(() => up.Operands);
    }

    [Theory]
    [InlineData("layers.1.u = layers.1.s * b.1", 8, false), InlineData("layers.1.u[64:128] = layers.1.s * b.1", 0, false), InlineData("layers.1.u += layers.1.s * b.1", 0, true)]
    public void Bind_AProductOfAdaptersThatAreNotThere_IsZeros(string product, int rank, bool empty)
    {
        // Layer 1 without the frozen product; += would add nothing.
        var schedule = ScheduleText.Parse(TinySchedule.Text(3).Replace("layers.1.u = layers.1.h * layers.1.w + layers.1.s * b.1", product));
        var ranks = RankTable.Create(schedule, name => name.StartsWith("layers.1.", StringComparison.Ordinal) ? rank : 8);
        var shapes = new Shapes(schedule, 100, ranks, ActType.Bf16);
        var launch = schedule.Forward.OfType<GemmLaunch>().Single(g => g.D.Tensor == "layers.1.u");
        Assert.Equal(empty, shapes.IsEmpty(launch));
        if (empty) return;
        var bound = new LaunchBinder(shapes, 2, 256, _ => 0).Bind(launch, name => name == "layers.1.u" ? 1 << 20 : 1 << 10).Single();
        if (rank > 0) Assert.Equal(2 * 16, Assert.IsType<BoundGemm>(bound).Operands.K);
        else Assert.Equal(new BoundZeros("layers.1.u[64:128]", 1, (1 << 20) + 64 * 2, 128 * 2, 64 * 2, 100), bound);
    }

    [Fact]
    public void Bind_AnEpilogueOfAProductThatIsNotThere_IsZerosAndTheKernel()
    {
        var text = TinySchedule.Text(3).Replace("layers.0.u = layers.0.h * layers.0.w + layers.0.s * b.0", "layers.0.u = layers.0.s * b.0")
            + "fusion epilogue 3 4 gemm_nt_glu_add places=2,3\n";
        var schedule = ScheduleText.Parse(text);
        foreach (var rank in new[] { 8, 0 })
        {
            var ranks = RankTable.Create(schedule, name => name.StartsWith("layers.0.", StringComparison.Ordinal) ? rank : 8);
            var bound = Binder.Bind(ExecutionPlan.Create(schedule, new PlanOptions(100, ranks, ActType.Bf16, 2)), new Dictionary<MemoryBlock, nint>()).Evaluation;
            Assert.Equal(rank > 0 ? 1 : 0, bound.Count(l => l is BoundGemmEpilogue));
            Assert.Equal(rank > 0 ? 0 : 1, bound.Count(l => l is BoundZeros { Label: "layers.0.u" }));
            Assert.Equal(rank > 0 ? 0 : 1, bound.Count(l => l is BoundKernel { Layer: 0, Kernel: "glu_add" }));
        }
    }

    /// <summary>Whatever is built again goes before two launches that may be one, never between them.</summary>
    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Recompute_AnyDecision_SplitsNoFusion(string decisions)
    {
        var program = Plan(RankTable.Create(Tiny, 8, ["a", "b"]), decisions).MicroBatch;
        foreach (var fusion in Tiny.Fusions)
        {
            var at = program.Launches.ToList().FindIndex(l => l.Id == fusion.Second);
            Assert.Equal(fusion.First, program.Launches[at - 1].Id);
        }
        // It would show: S, which only the second one reads, is built in the backward.
        Assert.Equal(decisions != "none", program.Launches.Skip(program.BackwardStart).Any(l => l is GemmLaunch { D.Tensor: "layers.1.s" }));
    }

    [Fact]
    public void Bind_AnEpilogue_IsOneLaunchThatStoresDWhereSomethingReadsIt()
    {
        var schedule = ScheduleText.Parse(TinySchedule.Text(3) + "fusion epilogue 3 4 gemm_nt_glu_add places=2,3\n");
        var plan = ExecutionPlan.Create(schedule, new PlanOptions(100, RankTable.Create(schedule, 8, ["a"]), ActType.Bf16, 2));
        var both = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20 });
        foreach (var (program, stores) in new[] { (both.MicroBatch, true), (both.Evaluation, false) })
        {
            var fused = Assert.Single(program.OfType<BoundGemmEpilogue>());
            Assert.Equal(("gemm_nt_glu_add", "layers.0.u", "glu_add", 1, stores), (fused.Fused, fused.Gemm.Label, fused.Kernel.Label, fused.Outputs, fused.StoreD));
            Assert.Equal([2, 3], fused.Places);
            Assert.Equal(2, fused.Gemm.Segments.Count);
            Assert.Equal(fused.Gemm.D, fused.Kernel.Arguments[2].Address);
            // D is not read again, and written only where it is stored.
            Assert.Equal(fused.Gemm.Bytes + fused.Kernel.Bytes - (stores ? 1 : 2) * 100L * 128 * 2, fused.Bytes);
            Assert.DoesNotContain(program, l => l is BoundGemm { Label: "layers.0.u" } or BoundKernel { Layer: 0, Kernel: "glu_add" });
        }
        // The one kernel writes x' while it still reads the operands of both segments.
        foreach (var operand in new[] { "layers.0.h", "layers.0.s" }) Assert.True(plan.Evaluation.Has(operand, plan.Evaluation.Launches.ToList().FindIndex(l => l.Id == 4)));
    }

    [Theory]
    [InlineData("none")]
    [InlineData("full")]
    public void Bind_GAndGradBOfOneStack_AreOneLaunchInGradBsPlace(string recompute)
    {
        var ranks = RankTable.Create(Tiny, 8, ["a", "b"]);
        var shapes = new Shapes(Tiny, 100, ranks, ActType.F32);
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(100, ranks, ActType.F32, 2.5) { Decisions = Decisions.Named(recompute, shapes) });
        var bound = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20, [MemoryBlock.Adapters] = 1 << 30 }).MicroBatch;
        var both = bound.OfType<BoundRankGradients>().ToArray();
        Assert.Equal(plan.MicroBatch.Launches.OfType<GemmLaunch>().Count(g => g.D.Tensor.StartsWith("grad_b.", StringComparison.Ordinal)), both.Length);
        Assert.NotEmpty(both);
        Assert.All(both, b => Assert.Equal((b.G.Operands.A, b.G.Operands.APitch, GemmLayout.Nn, GemmLayout.Tn),
            (b.GradB.Operands.A, b.GradB.Operands.APitch, b.G.Layout, b.GradB.Layout)));
        // dY is counted once.
        Assert.All(both, b => Assert.Equal(b.G.Bytes + b.GradB.Bytes - 4L * b.G.M * b.G.Operands.K, b.Bytes));
        Assert.All(both, b => Assert.Equal(b.GradB.N, b.Blocks.Sum(x => x.Rank)));
        Assert.All(both, b => Assert.Equal([new(0, 64, 0, 16), new(64, 64, 16, 16)], b.Blocks));
        // None of the two runs again by itself, and what G makes is read later.
        foreach (var b in both)
        {
            Assert.DoesNotContain(bound.OfType<BoundGemm>(), g => g.Label == b.G.Label || g.Label == b.GradB.Label);
            // Addresses serve one tensor after the other, so the reader is looked for by its kind too: dA.
            var reader = bound.ToList().FindIndex(l => l is BoundGemm { Layout: GemmLayout.Tn } g && g.Layer == b.Layer && g.Operands.A == b.G.D);
            Assert.True(reader > bound.ToList().IndexOf(b));
        }
    }

    [Fact]
    public void Fusion_ALaunchBetweenTheTwo_IsNone()
    {
        var shapes = new Shapes(Tiny, 100, RankTable.Create(Tiny, 8, ["a", "b"]), ActType.F32);
        var launches = Tiny.Backward.ToList();
        var fusion = Tiny.Fusions[0];
        var at = launches.FindIndex(l => l.Id == fusion.Second);
        Assert.Same(fusion, shapes.FusionAt(launches, at));
        Assert.All(new[] { 0, at - 1, at + 1, launches.Count }, other => Assert.Null(shapes.FusionAt(launches, other)));
        // dA reads G; before dB it keeps G where it is.
        (launches[at], launches[at + 1]) = (launches[at + 1], launches[at]);
        Assert.DoesNotContain(fusion, launches.Select((_, i) => shapes.FusionAt(launches, i)));
        // Nor are they one the other way round.
        Assert.Null(shapes.FusionAt([launches[at + 1], launches[at - 1]], 1));
    }
}
