using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Plans of the real sizes with linears in NF4.</summary>
public sealed class Nf4PlanTests
{
    static ExecutionPlan Plan(string variant, WeightFormat format, int tokens, string recompute)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var ranks = RankTable.Create(schedule, _ => 16);
        return ExecutionPlan.Create(schedule, new PlanOptions(tokens, ranks, ActType.Bf16, 2)
        {
            Storage = WeightStorages.Packed(schedule, _ => format),
            Decisions = Decisions.Named(recompute, new Shapes(schedule, tokens, ranks, ActType.Bf16)), Multiprocessors = 132,
        });
    }

    /// <summary>Codes, absmax and maps of the linears, the rest in bf16: 2.07, 5.71 and 14.71 GiB in all; tables and alignment are less than 0.01 %.</summary>
    [Theory]
    [InlineData("2b"), InlineData("9b"), InlineData("27b")]
    public void Weights_InNf4_TakeTheBytesOfTheFormat(string variant)
    {
        var (resident, packed, plain) = (Plan(variant, WeightFormat.Act, 64, "full"), Plan(variant, WeightFormat.Nf4, 64, "full"),
            Plan(variant, WeightFormat.Nf4Plain, 64, "full"));
        var tensors = WeightStorages.Linears(resident.Shapes.Schedule).SelectMany(t => t.Stored()).Select(s => (long)s.Shape[0] * s.Shape[1]).ToArray();
        Assert.Equal(7 * resident.Shapes.Schedule.Layers, tensors.Length);
        var rest = resident.Memory[MemoryBlock.Weights] - 2 * tensors.Sum();
        Assert.InRange((double)packed.Memory[MemoryBlock.Weights] / (rest + tensors.Sum(n => n / 2 + n / 64 + n / 64 / 256 * 4 + 1024)), 1, 1.0001);
        Assert.InRange((double)plain.Memory[MemoryBlock.Weights] / (rest + tensors.Sum(n => n / 2 + n / 16)), 1, 1.0001);
    }

    /// <summary>One weight at a time in the arena: gate and up of a layer at most, and nothing else that bf16 weights would not need.</summary>
    [Theory]
    [InlineData("none"), InlineData("full")]
    public void Arena_WithNf4_HasRoomForOneWeight(string recompute)
    {
        var (resident, packed) = (Plan("9b", WeightFormat.Act, 2048, recompute), Plan("9b", WeightFormat.Nf4, 2048, recompute));
        long largest = 2L * 2 * 14336 * 3584;
        Assert.InRange(packed.Memory[MemoryBlock.Arena], resident.Memory[MemoryBlock.Arena], resident.Memory[MemoryBlock.Arena] + largest);
        var alive = new int[packed.MicroBatch.Launches.Count];
        foreach (var p in packed.MicroBatch.Arena.Placements.Where(p => packed.Shapes.IsMaterialized(p.Lifetime.Tensor)))
            for (var at = p.Lifetime.First; at <= p.Lifetime.Last; at++) alive[at]++;
        Assert.Equal(1, alive.Max());
        // Each linear once in the forward;
        // in the backward once where nothing is rebuilt, and at most twice where all is: a rebuilt product and the gradient's, unless one follows the other.
        var made = packed.MicroBatch.Launches.Select((l, i) => (Launch: l as DequantizeLaunch, Backward: i >= packed.MicroBatch.BackwardStart))
            .Where(d => d.Launch is not null).GroupBy(d => (d.Launch!.Weight.Tensor, d.Backward)).ToDictionary(g => g.Key, g => g.Count());
        Assert.All(WeightStorages.Linears(packed.Shapes.Schedule), w => Assert.Equal(1, made[(w.Name, false)]));
        Assert.All(made.Where(m => m.Key.Backward), m => Assert.InRange(m.Value, 1, recompute == "full" ? 2 : 1));
        // Every product's weight is where the launch that made it last has put it, in the program as bound.
        Assert.Equal(made.Values.Sum(), Binder.Bind(packed, new Dictionary<MemoryBlock, nint>()).MicroBatch.OfType<BoundKernel>().Count(k => k.Kernel == Nf4Layout.Kernel));
    }
}
