using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public class MaterializationTests
{
    static readonly Schedule Tiny = TinySchedule.Parse(3);
    static readonly RankTable Ranks = RankTable.Create(Tiny, 8, ["a", "b"]);

    static ExecutionPlan Plan(WeightFormat format, string decisions = "none") => ExecutionPlan.Create(Tiny, new PlanOptions(100, Ranks, ActType.Bf16, 2)
    {
        Storage = WeightStorages.Packed(Tiny, _ => format), Decisions = Decisions.Named(decisions, new Shapes(Tiny, 100, Ranks, ActType.Bf16)),
    });

    [Fact]
    public void Linears_OfAModel_AreNeitherTableNorNorms() =>
        Assert.Equal(["layers.0.w", "layers.1.w", "layers.2.w"], WeightStorages.Linears(Tiny).Select(t => t.Name));

    [Fact]
    public void Packed_AStackWithATensorThatIsNot_StaysResident()
    {
        var storage = WeightStorages.Packed(Tiny, name => name == "layers.1.a.weight" ? WeightFormat.Act : name == "layers.2.b.weight" ? WeightFormat.Nf4Plain : WeightFormat.Nf4);
        Assert.Equal([("layers.0.w", WeightFormat.Nf4), ("layers.2.w", WeightFormat.Nf4Plain)], storage.Select(s => (s.Key, s.Value.Format)));
    }

    [Theory]
    [InlineData("none"), InlineData("cheap"), InlineData("full")]
    public void Plan_PackedWeights_AreMadeRightBeforeTheLaunchThatReadsThem(string decisions)
    {
        var (resident, packed) = (Plan(WeightFormat.Act, decisions), Plan(WeightFormat.Nf4, decisions));
        foreach (var (before, after) in new[] { (resident.MicroBatch, packed.MicroBatch), (resident.Evaluation, packed.Evaluation) })
        {
            Assert.Equal(TinySchedule.Names(before.Launches), TinySchedule.Names(after.Launches.Where(l => l is not DequantizeLaunch)));
            Assert.Equal(before.BackwardStart, after.Launches.Take(after.BackwardStart).Count(l => l is not DequantizeLaunch));
            for (var at = 0; at < after.Launches.Count; at++)
            {
                if (after.Launches[at] is not DequantizeLaunch made) continue;
                Assert.Contains(packed.Shapes.Of(after.Launches[at + 1]).Reads, r => r.Tensor == made.Weight.Tensor);
                // The launches around it were no pair.
                Assert.Null(resident.Shapes.FusionAt([after.Launches[at - 1], after.Launches[at + 1]], 1));
            }
            // Whatever reads one finds it where it was made last.
            foreach (var (launch, at) in after.Launches.Select((l, i) => (l, i)))
                foreach (var read in packed.Shapes.Of(launch).Reads.Where(r => packed.Shapes.IsMaterialized(r.Tensor)))
                {
                    var made = Enumerable.Range(0, at).Last(i => after.Launches[i] is DequantizeLaunch d && d.Weight.Tensor == read.Tensor);
                    Assert.Equal(after.OffsetOf(read.Tensor, made), after.OffsetOf(read.Tensor, at));
                }
        }
        // One in the forward; one in the backward, which serves a recipe's product and the gradient's. The gradient stops above layer 0.
        var layers = packed.MicroBatch.Launches.Select((l, i) => (Launch: l as DequantizeLaunch, Backward: i >= packed.MicroBatch.BackwardStart))
            .Where(d => d.Launch is not null).Select(d => (d.Launch!.Layer, d.Backward));
        Assert.Equal([(0, false), (1, false), (2, false), (2, true), (1, true), .. decisions == "full" ? new[] { (0, true) } : []], layers);
    }

    [Fact]
    public void Plan_PackedWeights_HaveTheBytesOfTheirCodes()
    {
        long elements = 2L * TinySchedule.Hidden * TinySchedule.Hidden, blocks = elements / 64;
        var (resident, nested, plain) = (Plan(WeightFormat.Act), Plan(WeightFormat.Nf4), Plan(WeightFormat.Nf4Plain));
        long Packed(ExecutionPlan plan) => plan.Memory[MemoryBlock.Weights] - (resident.Memory[MemoryBlock.Weights] - 3 * 2 * elements);
        // A table of 128 bytes for two parts, codes, and per part a section of absmax codes, one nested absmax, a map.
        Assert.Equal(3 * Arena.Align(128 + elements / 2 + 2 * (128 + 128 + 1024)), Packed(nested));
        Assert.Equal(3 * Arena.Align(128 + elements / 2 + 4 * blocks), Packed(plain));
        Assert.Equal(64, Unsafe.SizeOf<Nf4Part>());
        // One weight at a time in the arena.
        var lifetimes = nested.MicroBatch.Arena.Placements.Where(p => nested.Shapes.IsMaterialized(p.Lifetime.Tensor)).Select(p => p.Lifetime).OrderBy(l => l.First).ToArray();
        Assert.Equal(5, lifetimes.Length);
        Assert.All(lifetimes.Zip(lifetimes.Skip(1)), p => Assert.True(p.First.Last < p.Second.First));
    }

    [Fact]
    public void Bind_ADequantizeLaunch_HasTheBlockTheWeightAndItsChunks()
    {
        var plan = Plan(WeightFormat.Nf4);
        var launch = Binder.Bind(plan, new Dictionary<MemoryBlock, nint> { [MemoryBlock.Arena] = 1 << 20, [MemoryBlock.Weights] = 1 << 24 })
            .MicroBatch.OfType<BoundKernel>().First(k => k.Kernel == Nf4Layout.Kernel);
        var at = plan.MicroBatch.Launches.ToList().FindIndex(l => l is DequantizeLaunch);
        Assert.Equal([new((1 << 20) + (nint)plan.MicroBatch.OffsetOf("layers.0.w", at), 0),
            new((1 << 24) + (nint)plan.Memory.Permanent["layers.0.w.nf4"].Offset, 2)], launch.Arguments);
        // Two parts of half a chunk each.
        Assert.Equal((2, 0), (launch.Rows, launch.Layer));
        Assert.Equal(2L * 8192 + plan.Shapes["layers.0.w.nf4"].Bytes, launch.Bytes);
    }

    [Theory]
    [InlineData("table", WeightFormat.Nf4, WeightPlace.Device, "table is to be Nf4 on the Device, but it is no frozen linear of tiny"),
     InlineData("x.0", WeightFormat.Nf4, WeightPlace.Device, "x.0 is to be Nf4")]
    [InlineData("layers.0.norm", WeightFormat.Act, WeightPlace.Host, "layers.0.norm is to be Act on the Host")]
    public void Plan_SomethingElseThanALinear_IsRefused(string tensor, WeightFormat format, WeightPlace place, string words) =>
        Assert.Contains(words, Assert.Throws<ArgumentException>(() =>
            ExecutionPlan.Create(Tiny, new PlanOptions(100, Ranks, ActType.Bf16, 2)
                { Storage = new Dictionary<string, WeightStorage> { [tensor] = new(format, place) } })).Message);
}
