using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

/// <summary>Where copies to and from the host stand in a plan, and which memory they take.</summary>
public class TransferTests
{
    static readonly Schedule Tiny = TinySchedule.Parse(6);
    static readonly RankTable Ranks = RankTable.Create(Tiny, 8, ["a", "b"]);

    static ExecutionPlan Plan(IReadOnlyDictionary<string, TensorAction> actions, int tokens = 512, TransferPace? pace = null, params string[] keep) =>
        ExecutionPlan.Create(Tiny, new PlanOptions(tokens, Ranks, ActType.Bf16, 2)
        {
            Decisions = new Decisions("mine", actions), Pace = pace ?? new TransferPace(), LogitsRows = 64, Keep = keep,
        });

    static Dictionary<string, TensorAction> Actions(Func<ScheduleTensor, TensorAction> choose) =>
        Tiny.Tensors.Where(t => t.Kind == TensorKind.Activation && t.Name != "loss").Select(t => (t.Name, Action: choose(t)))
            .Where(a => a.Action != TensorAction.Recompute || Tiny.Recipes.Any(r => r.Tensor == a.Name)).ToDictionary(a => a.Name, a => a.Action);

    static Dictionary<string, TensorAction> Boundaries(TensorAction otherwise = TensorAction.Save) => Actions(t => t.Boundary ? TensorAction.Offload : otherwise);

    static Dictionary<string, TensorAction> Drawn(int seed)
    {
        var random = new Random(seed);
        return Actions(_ => (TensorAction)random.Next(3));
    }

    static TransferPace Drawn(Random random) =>
        new(Math.Pow(10, 4 * random.NextDouble() - 1), LaunchBytes: Math.Pow(10, 7 * random.NextDouble()), Landing: 1 + 2 * random.NextDouble());

    [Fact]
    public void Insert_AnyDecisionsAndPace_CopiesStartAndEndInOrderAroundWhatIsThereWithoutThem()
    {
        for (var seed = 0; seed < 60; seed++)
        {
            var random = new Random(seed);
            var actions = Drawn(seed);
            var program = Plan(actions, 64 * random.Next(1, 20), Drawn(random)).MicroBatch;
            var without = Plan(actions.ToDictionary(a => a.Key, a => a.Value == TensorAction.Offload ? TensorAction.Save : a.Value)).MicroBatch;
            // Nothing else changed, and no pair was split.
            Assert.Equal(TinySchedule.Names(without.Launches), TinySchedule.Names(program.Launches.Where(l => l is not (TransferStart or TransferWait))));
            Assert.Equal(without.Launches[without.BackwardStart].Id, program.Launches[program.BackwardStart].Id);
            var launches = program.Launches.ToList();
            foreach (var fusion in Tiny.Fusions) Assert.Equal(fusion.First, launches[launches.FindIndex(l => l.Id == fusion.Second) - 1].Id);

            var starts = launches.OfType<TransferStart>().ToArray();
            Assert.Equal(Enumerable.Range(0, starts.Length), starts.Select(s => s.Number));
            Assert.Equal(starts, launches.OfType<TransferWait>().Select(w => w.Start).OrderBy(s => s.Number));
            var offloaded = actions.Where(a => a.Value == TensorAction.Offload).Select(a => a.Key).ToHashSet();
            Assert.Subset(offloaded, starts.Select(s => s.Tensor).ToHashSet());
            foreach (var copies in starts.GroupBy(s => s.Tensor))
            {
                var (away, back) = (copies.First(), copies.Last());
                Assert.Equal((2, Lane.ToHost, Lane.ToDevice), (copies.Count(), away.Lane, back.Lane));
                int WaitFor(TransferStart start) => launches.FindIndex(l => l is TransferWait w && w.Start == start);
                int[] order = [launches.IndexOf(away), WaitFor(away), launches.IndexOf(back), WaitFor(back)];
                Assert.Equal(order.Order(), order);
                // Written before it goes, untouched while it is away.
                for (var i = 0; i < launches.Count; i++)
                {
                    if (launches[i] is TransferStart or TransferWait) continue;
                    var (reads, writes) = (Shapes(launches[i]).Reads.Any(r => r.Tensor == away.Tensor), Shapes(launches[i]).Writes.Any(w => w.Tensor == away.Tensor));
                    Assert.False((reads || writes) && i > order[1] && i < order[3]);
                    Assert.False(writes && i > order[0] && i < program.BackwardStart);
                }
            }
            // An activation is away unless the backward does not use it.
            foreach (var here in offloaded.Except(starts.Select(s => s.Tensor)))
                Assert.DoesNotContain(launches.Skip(program.BackwardStart), l => Shapes(l).Reads.Any(r => r.Tensor == here && !r.IsEmpty));
        }

        static Accesses Shapes(Launch launch) => new Shapes(Tiny, 64, Ranks, ActType.Bf16).Of(launch);
    }

    [Fact]
    public void Host_AnyDecisions_HoldsWhatIsAwayAndNothingTwice()
    {
        for (var seed = 0; seed < 40; seed++)
        {
            var plan = Plan(Drawn(seed));
            foreach (var layout in new[] { plan.MicroBatch.Host, plan.MicroBatch.Arena })
                foreach (var (a, b) in layout.Placements.SelectMany((a, i) => layout.Placements.Skip(i + 1).Select(b => (a, b))))
                {
                    var together = a.Lifetime.First <= b.Lifetime.Last && b.Lifetime.First <= a.Lifetime.Last;
                    Assert.False(together && a.Offset < b.Offset + b.Lifetime.Bytes && b.Offset < a.Offset + a.Lifetime.Bytes, $"{a} {b}");
                }
            Assert.Equal(plan.MicroBatch.Host.Bytes, plan.Memory.HostBytes);
            Assert.Equal(plan.MicroBatch.Launches.OfType<TransferStart>().Count(s => s.Lane == Lane.ToHost), plan.MicroBatch.Host.Placements.Count);
            Assert.Empty(plan.Evaluation.Host.Placements);
        }
    }

    /// <summary>What full recompute keeps grows with the layers; offloaded, the arena holds a few of them.</summary>
    [Fact]
    public void Arena_BoundariesAway_DoesNotGrowWithTheLayers()
    {
        long Arena(int layers, bool offload)
        {
            var schedule = TinySchedule.Parse(layers);
            var actions = schedule.Recipes.ToDictionary(r => r.Tensor, _ => TensorAction.Recompute);
            if (offload)
                foreach (var t in schedule.Tensors.Where(t => t.Boundary)) actions[t.Name] = TensorAction.Offload;
            return ExecutionPlan.Create(schedule, new PlanOptions(4096, RankTable.Create(schedule, 8, ["a", "b"]), ActType.Bf16, 2)
            {
                Decisions = new Decisions("mine", actions), LogitsRows = 64, Pace = new TransferPace(1, LaunchBytes: 0),
            }).Memory[MemoryBlock.Arena];
        }

        Assert.Equal(Arena(8, true), Arena(24, true));
        Assert.Equal(16 * 4096L * 64 * 2, Arena(24, false) - Arena(8, false));
    }

    /// <summary>A bus that cannot keep up stalls the device, and does not fill it.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(TransferPace.TripleBuffered)]
    public void Insert_ASlowBus_HoldsAsManyCopiesOnTheWayAsMayLand(double landing)
    {
        foreach (var slowness in new[] { 0.01, 10, 1e6 })
        {
            var program = Plan(Boundaries(TensorAction.Recompute), 2048, new TransferPace(slowness, Landing: landing)).MicroBatch;
            foreach (var lane in Enum.GetValues<Lane>())
            {
                var flying = new HashSet<TransferStart>();
                foreach (var launch in program.Launches)
                {
                    if (launch is TransferStart start && start.Lane == lane) flying.Add(start);
                    if (launch is TransferWait wait) flying.Remove(wait.Start);
                    // On the way to the host one more may be read by its layer still.
                    Assert.InRange(flying.Count, 0, lane == Lane.ToHost ? landing + 1 : landing);
                }
            }
        }
    }

    /// <summary>The faster the bus against the device, the later a copy starts and the sooner it is waited for.</summary>
    [Fact]
    public void Insert_FasterBus_WaitsLess()
    {
        int Away(double slowness)
        {
            var launches = Plan(Boundaries(), 2048, new TransferPace(slowness, LaunchBytes: 1e6, Landing: 100)).MicroBatch.Launches.ToList();
            return launches.OfType<TransferWait>().Sum(w => launches.IndexOf(w) - launches.IndexOf(w.Start));
        }

        var spans = new[] { 0.1, 1, 10, 100 }.Select(Away).ToArray();
        Assert.Equal(spans.Order(), spans);
        Assert.True(spans[0] < spans[^1]);
    }

    /// <summary>Once for all uses in a layer's forward, and once for those in its backward, recipes included; nothing reads before the wait.</summary>
    [Theory]
    [InlineData("none"), InlineData("full")]
    public void Weights_Streamed_ComeOnceForEachPassOfTheirLayer(string decisions)
    {
        var shapes = new Shapes(Tiny, 512, Ranks, ActType.Bf16);
        var options = new PlanOptions(512, Ranks, ActType.Bf16, 2) { Decisions = Decisions.Named(decisions, shapes), LogitsRows = 64 };
        var resident = ExecutionPlan.Create(Tiny, options);
        var streamed = ExecutionPlan.Create(Tiny, options with { Storage = WeightStorages.Streamed(Tiny, WeightStorages.Resident) });
        foreach (var (program, passes) in new[] { (streamed.MicroBatch, 2), (streamed.Evaluation, 1) })
        {
            var launches = program.Launches.ToList();
            // The backward of layer 0 needs no dX, so without recipes it does not read the weight.
            Assert.Equal(6 * passes - (passes > 1 && decisions == "none" ? 1 : 0), launches.OfType<TransferStart>().Count());
            for (var layer = 1; layer < 6; layer++)
            {
                var weight = $"layers.{layer}.w";
                var copies = launches.OfType<TransferWait>().Where(w => w.Start.Tensor == weight).Select(w => (From: launches.IndexOf(w.Start), To: launches.IndexOf(w))).ToArray();
                Assert.Equal(passes, copies.Length);
                var reads = launches.Select((l, i) => (l, i)).Where(l => l.l is GemmLaunch g && g.Segments.Any(s => s.B.Tensor == weight)).Select(l => l.i).ToArray();
                Assert.Equal(decisions == "full" ? 2 * passes - 1 : passes, reads.Length);
                // The second pass's copy begins behind the first one's last reader.
                foreach (var read in reads) Assert.True(copies[0].To < read && (read < copies[^1].From || copies[^1].To < read));
                Assert.Equal(copies.Length, program.Arena.Placements.Count(p => p.Lifetime.Tensor == weight));
            }
        }
        var bytes = 6 * 128L * 64 * 2;
        Assert.Equal((bytes, bytes), (streamed.Memory.HostBytes, streamed.Memory.StreamedBytes));
        Assert.Equal(bytes, resident.Memory[MemoryBlock.Weights] - streamed.Memory[MemoryBlock.Weights]);
        Assert.DoesNotContain(streamed.MicroBatch.Launches, l => l is TransferStart { Tensor: "table" or "layers.0.norm" });
    }

    /// <summary>Weights first, then what is away: each in its own part of the block.</summary>
    [Fact]
    public void Host_WeightsAndActivations_HaveTheirOwnParts()
    {
        var plan = ExecutionPlan.Create(Tiny, new PlanOptions(512, Ranks, ActType.Bf16, 2)
        {
            Decisions = new Decisions("mine", Boundaries()), Storage = WeightStorages.Streamed(Tiny, WeightStorages.Resident), LogitsRows = 64,
        });
        var bases = new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 28, [MemoryBlock.Host] = 1 << 30 };
        var copies = Binder.Bind(plan, bases).MicroBatch.OfType<BoundTransferStart>().ToArray();
        foreach (var copy in copies)
        {
            var host = (copy.Lane == Lane.ToHost ? copy.Destination : copy.Source) - (1 << 30);
            var arena = (copy.Lane == Lane.ToHost ? copy.Source : copy.Destination) - (1 << 28);
            Assert.InRange(arena, 0, plan.Memory[MemoryBlock.Arena] - copy.Count);
            if (copy.Label.EndsWith(".w", StringComparison.Ordinal)) Assert.InRange(host, 0, plan.Memory.StreamedBytes - copy.Count);
            else Assert.InRange(host, plan.Memory.StreamedBytes, plan.Memory.HostBytes - copy.Count);
        }
        Assert.Equal(plan.Memory.StreamedBytes + plan.MicroBatch.Host.Bytes, plan.Memory.HostBytes);
        Assert.Equal(6, copies.Where(c => c.Label.EndsWith(".w", StringComparison.Ordinal)).Select(c => c.Source).Distinct().Count());
    }

    [Fact]
    public void Absences_LastLayer_IsShorterThanTheFirst()
    {
        var plan = Plan(new Dictionary<string, TensorAction>());
        var absences = Transfers.Absences(plan.Shapes, plan.MicroBatch.Launches, plan.MicroBatch.BackwardStart, new TransferPace(), 512, 64).ToDictionary(a => a.Tensor);
        Assert.True(absences["layers.0.u"].Time > absences["layers.5.u"].Time);
        Assert.Equal(absences["layers.0.u"].RoundTrip, absences["layers.5.u"].RoundTrip);
        Assert.Equal(2 * 100 * 512 * 128 * 2.0, absences["layers.0.u"].RoundTrip);
        Assert.DoesNotContain("loss", absences.Keys);
        var (written, used) = (plan.MicroBatch.Launches[absences["x.2"].Written], plan.MicroBatch.Launches[absences["x.2"].FirstUse]);
        Assert.Equal(("glu_add", "norm_adjoint"), (((KernelLaunch)written).Kernel, ((KernelLaunch)used).Kernel));
    }

    [Fact]
    public void Offload_OfWhatMustStay_IsSaved()
    {
        var program = Plan(Boundaries(), keep: "x.2").MicroBatch;
        Assert.DoesNotContain(program.Launches, l => l is TransferStart { Tensor: "x.2" });
        Assert.Contains(program.Launches, l => l is TransferStart { Tensor: "x.1" });
        Assert.True(program.Survives("x.2"));
    }

    [Fact]
    public void Offload_OfNoActivation_IsRefused()
    {
        var error = Assert.Throws<ArgumentException>(() => Plan(new Dictionary<string, TensorAction> { ["dx.1"] = TensorAction.Offload }));
        Assert.Equal("decisions: dx.1 is to be offloaded but is no activation; leave it out.", error.Message);
    }
}
