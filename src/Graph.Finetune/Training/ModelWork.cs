using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Training;

/// <summary>
/// Floating-point operations that a step needs: its products and attention, forward and backward, each once, for
/// the tokens there are. Padding and building activations again need time and are no work.
/// </summary>
/// <param name="PerToken">Of all products.</param>
/// <param name="PerPair">Of attention, for each pair of a query and a key that it sees through a window (0: no window).</param>
public sealed record ModelWork(double PerToken, IReadOnlyDictionary<int, double> PerPair)
{
    public static ModelWork Of(ExecutionPlan plan)
    {
        var (forward, backward) = ExecutionPlan.Live(plan.Shapes, plan.Options);
        var launches = forward.Concat(backward).ToArray();
        var products = launches.Sum(l => (double)LaunchCost.Of(plan.Shapes, l, _ => 0).Flops);
        var attention = launches.OfType<KernelLaunch>().Where(k => k.Attention is not null).GroupBy(k => k.Attention!.Window ?? 0);
        return new ModelWork(products / plan.Options.Tokens,
            attention.ToDictionary(g => g.Key, g => g.Sum(k => (double)LaunchCost.Attention(k.Attention!, k.Attention!.Products, 1))));
    }

    /// <param name="tokens">Of documents.</param>
    /// <param name="batches">The step's.</param>
    public double Of(int tokens, IReadOnlyList<MicroBatch> batches) =>
        PerToken * tokens + PerPair.Sum(w => w.Value * batches.Sum(b => (double)b.AttendedPairs(w.Key == 0 ? null : w.Key)));
}
