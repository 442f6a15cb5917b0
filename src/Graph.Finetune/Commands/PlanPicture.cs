using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Reports;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>A plan as pages draw it.</summary>
static class PlanPicture
{
    /// <summary>Columns at most; each shows the launch at which the most is alive.</summary>
    const int Columns = 480;

    static readonly MemoryCategory[] Order =
        [MemoryCategory.Driver, MemoryCategory.Weights, MemoryCategory.Adapters, MemoryCategory.Optimizer, MemoryCategory.Saved, MemoryCategory.WorkingSet];

    public static MemoryPicture Of(PlannedStep step, DeviceProfile device, long budget)
    {
        var use = MemoryUse.Of(step);
        var (launches, ends) = (step.Plan.MicroBatch.Launches.Count, Ends(step, device));
        var total = ends[^1];
        var columns = Enumerable.Range(0, Columns).Select(c => Enumerable.Range(0, launches).Skip(launches * c / Columns)
            .Take(launches * (c + 1) / Columns - launches * c / Columns)
            .DefaultIfEmpty(-1).MaxBy(i => i < 0 ? 0 : use.Saved[i] + use.WorkingSet[i])).Where(i => i >= 0).ToArray();
        return new MemoryPicture(total, Start(System.Math.Min(step.Plan.MicroBatch.BackwardStart, launches - 1)), step.Footprint.Total,
            budget, [.. columns.Select(at => new[] { Start(at), ends[at] / total })],
            [.. Order.Select(c => new MemoryBand(PlanText.Name(c), (int)c, use.AtPeak[c], [.. columns.Select(at => Bytes(use, c, at))]))]);

        double Start(int at) => (at == 0 ? 0 : ends[at - 1]) / total;
    }

    public static IReadOnlyList<ActivationRow> Activations(PlannedStep step) =>
        [.. PlanText.Classes(step).Select(c => new ActivationRow(c.Tensor, (int)c.Action, PlanText.Verb(c.Action), KernelsCommand.Layers(c.Layers), c.Bytes, c.Milliseconds))];

    // The time at which each launch has ended.
    static double[] Ends(PlannedStep step, DeviceProfile device)
    {
        var ends = new double[step.Plan.MicroBatch.Launches.Count];
        foreach (var (at, ms) in StepPrediction.Launches(step.Plan, device)) ends[at] = ms;
        for (var i = 1; i < ends.Length; i++) ends[i] += ends[i - 1];
        return ends;
    }

    static long Bytes(MemoryUse use, MemoryCategory category, int at) => category switch
    {
        MemoryCategory.Saved => use.Saved[at],
        MemoryCategory.WorkingSet => use.WorkingSet[at],
        _ => use.AtPeak[category],
    };
}
