using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Which activations to drop after the forward and build again in the backward, so that a step fits a budget in the least time. Activations are ordered by what
/// building them again costs for each byte that they free; a plan drops the first so many of them. Costs are floors of the recipes' launches, in bytes that the
/// device could move meanwhile.
/// </summary>
public static class RecomputePlanner
{
    /// <summary>
    /// Operations that a device does while it moves one byte: 690 TFLOP/s against 4.1 TB/s on an H200. Cards of other sizes have nearly the same (T4, A100, 4090:
    /// 160 to 220), so the order does not depend on the card.
    /// </summary>
    const long FlopsPerByte = 170;

    /// <summary>What a launch costs beside its floor: 2.5 μs of 4 TB/s.</summary>
    const long LaunchBytes = 10_000_000;

    /// <summary>Statistics of at most this many bytes per token are kept: they free no memory worth a launch.</summary>
    const long LeastBytesPerToken = 65;

    /// <summary>The fastest of the plans whose peak is within the budget; null: none is. A larger budget never gives a slower one.</summary>
    /// <param name="options">Without decisions.</param>
    /// <param name="budget">Bytes for <see cref="MemoryPlan.PeakBytes"/>.</param>
    public static ExecutionPlan? Fit(Schedule schedule, PlanOptions options, long budget)
    {
        var none = ExecutionPlan.Create(schedule, options with { Decisions = Decisions.None });
        if (none.Memory.PeakBytes <= budget) return none;
        var order = Order(none.Shapes, none.LongestDocument);
        // Nothing fits what does not fit with the most dropped; it is asked first, so that a refusal is quick.
        if (order.Count == 0 || !Fits(order.Count)) return null;
        // Peaks are not quite monotone in what is dropped. The first of some plans that fits, then the first of those between it and the one before: both get no
        // further with a larger budget, so it never gives a slower plan.
        var stride = (int)Math.Ceiling(Math.Sqrt(order.Count));
        var last = Enumerable.Range(1, order.Count / stride).Select(i => i * stride).FirstOrDefault(Fits, order.Count);
        var first = (last - 1) / stride * stride + 1;
        return Plan(Enumerable.Range(first, last - first).FirstOrDefault(Fits, last));

        bool Fits(int count) => Plan(count).Memory.PeakBytes <= budget;

        ExecutionPlan Plan(int count)
        {
            var dropped = order.Take(count).ToDictionary(t => t, _ => TensorAction.Recompute);
            return ExecutionPlan.Create(schedule, options with { Decisions = new Decisions($"auto, {count} of {order.Count} activations", dropped) });
        }
    }

    /// <summary>Every activation that may be dropped, what costs least for each byte first; of equal ones those of the first layers, whose memory is needed longest.</summary>
    public static IReadOnlyList<string> Order(Shapes shapes, int document)
    {
        var recipes = shapes.Schedule.Recipes.Where(r => shapes[r.Tensor] is var layout && !layout.Tensor.Boundary && layout.BytesPerToken >= LeastBytesPerToken && layout.Bytes > 0).ToArray();
        var costs = recipes.SelectMany(r => r.Launches).DistinctBy(l => l.Id).ToDictionary(l => l.Id, l => Cost(shapes, l, document));
        return [.. recipes.OrderBy(r => (double)r.Launches.Sum(l => costs[l.Id]) / shapes[r.Tensor].Bytes).ThenBy(r => shapes[r.Tensor].Tensor.Layer).Select(r => r.Tensor)];
    }

    static long Cost(Shapes shapes, Launch launch, int document)
    {
        if (shapes.IsEmpty(launch)) return 0;
        var floor = LaunchCost.Of(shapes, launch, window => LaunchCost.Pairs(shapes.Tokens, document, window));
        var flops = launch is GemmLaunch g ? shapes.Segments(g).Sum(s => LaunchCost.Gemm(shapes.Resolve(g.D).Rows, shapes.Resolve(g.D).Columns, Depth(g.Layout, s.A))) : floor.Flops;
        return Math.Max(flops / FlopsPerByte, floor.Bytes) + LaunchBytes;
    }

    static int Depth(GemmLayout layout, Rectangle a) => layout switch
    {
        GemmLayout.Nt or GemmLayout.Nn => a.Columns,
        GemmLayout.Tn => a.Rows,
        _ => throw new ArgumentException($"recompute: unknown layout {layout}."),
    };
}
