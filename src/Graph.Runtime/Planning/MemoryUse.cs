using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Runtime.Planning;

/// <summary>What the bytes of a run are for.</summary>
public enum MemoryCategory { Driver, Weights, Adapters, Optimizer, Saved, WorkingSet }

/// <summary>Bytes by what they are for at each launch of a training micro-batch.</summary>
/// <param name="Driver">Context, code, graphs, the products' workspace.</param>
/// <param name="Adapters">Rounded adapters and their gradients, inputs and scalars.</param>
/// <param name="Optimizer">Masters and moments.</param>
/// <param name="Saved">Per launch: activations of the forward that the backward still needs.</param>
/// <param name="WorkingSet">Per launch: everything else that is alive.</param>
/// <param name="Gaps">The arena's bytes beyond the most that is alive at one launch.</param>
public sealed record MemoryUse(long Driver, long Weights, long Adapters, long Optimizer, IReadOnlyList<long> Saved, IReadOnlyList<long> WorkingSet, long Gaps)
{
    /// <summary>The launch at which the most is alive.</summary>
    public int Peak { get; } = Enumerable.Range(0, Saved.Count).MaxBy(i => Saved[i] + WorkingSet[i]);

    public long Fixed => Driver + Weights + Adapters + Optimizer;

    /// <summary>At the peak; what the arena has beyond it counts as working set, so that the sum is what the run takes.</summary>
    public IReadOnlyDictionary<MemoryCategory, long> AtPeak => new Dictionary<MemoryCategory, long>
    {
        [MemoryCategory.Driver] = Driver, [MemoryCategory.Weights] = Weights, [MemoryCategory.Adapters] = Adapters, [MemoryCategory.Optimizer] = Optimizer,
        [MemoryCategory.Saved] = Saved[Peak], [MemoryCategory.WorkingSet] = WorkingSet[Peak] + Gaps,
    };

    public static MemoryUse Of(PlannedStep step)
    {
        var (plan, program) = (step.Plan, step.Plan.MicroBatch);
        long[] saved = new long[program.Launches.Count + 1], working = new long[program.Launches.Count + 1];
        foreach (var (lifetime, _) in program.Arena.Placements)
        {
            var list = lifetime.First < program.BackwardStart && lifetime.Last >= program.BackwardStart ? saved : working;
            list[lifetime.First] += Arena.Align(lifetime.Bytes);
            list[lifetime.Last + 1] -= Arena.Align(lifetime.Bytes);
        }
        for (var i = 1; i < saved.Length; i++) (saved[i], working[i]) = (saved[i] + saved[i - 1], working[i] + working[i - 1]);
        long[] savedAt = saved[..^1], workingAt = working[..^1];
        var memory = plan.Memory;
        var others = memory[MemoryBlock.Weights] + memory[MemoryBlock.Adapters] + memory[MemoryBlock.Gradients] + memory[MemoryBlock.Inputs] + memory[MemoryBlock.Optimizer];
        // Rounding of allocations belongs to the driver.
        var driver = step.Footprint.Total - others - memory[MemoryBlock.Arena];
        var most = savedAt.Zip(workingAt, (s, w) => s + w).DefaultIfEmpty().Max();
        return new MemoryUse(driver, memory[MemoryBlock.Weights], memory[MemoryBlock.Adapters] + memory[MemoryBlock.Gradients] + memory[MemoryBlock.Inputs],
            memory[MemoryBlock.Optimizer], savedAt, workingAt,
            Math.Max(0, memory[MemoryBlock.Arena] - most));
    }
}
