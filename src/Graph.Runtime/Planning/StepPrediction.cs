using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Why a tensor is not simply kept.</summary>
/// <param name="Bytes">What that frees while the tensor is not needed.</param>
/// <param name="Milliseconds">What it costs a micro-batch, predicted.</param>
public sealed record DecisionReason(string Tensor, TensorAction Action, long Bytes, double Milliseconds);

/// <summary>A plan with what it will take.</summary>
/// <param name="Milliseconds">Predicted, of a step.</param>
public sealed record PlannedStep(ExecutionPlan Plan, Footprint Footprint, double Milliseconds)
{
    /// <summary>In the order in which they were taken; empty for decisions that a person gave.</summary>
    public IReadOnlyList<DecisionReason> Reasons { get; init; } = [];

    public double TokensPerSecond => 1e3 * Plan.Options.Tokens * Plan.Options.MicroBatches / Milliseconds;
}

/// <summary>Predicted milliseconds of a plan's step.</summary>
public static class StepPrediction
{
    public static PlannedStep Of(ExecutionPlan plan, DeviceProfile device) =>
        new(plan, Footprint.Of(plan, device), Step(plan, device, Launches(plan, device).Sum(l => l.Milliseconds)));

    /// <summary>A step of micro-batches that take so long each, with the optimizer.</summary>
    public static double Step(ExecutionPlan plan, DeviceProfile device, double microBatch)
    {
        var times = Times(plan.Shapes, plan, device);
        return plan.Options.MicroBatches * microBatch + times.Fill(plan.Cleared.Sum(c => c.Bytes)) + times.Optimizer(plan.Optimizer.Elements, plan.Options.Moments,
            plan.Options.HostStates);
    }

    /// <summary>The launches of a training micro-batch in order, pairs that run as one at the first one's place, each with its milliseconds.</summary>
    public static IReadOnlyList<(int At, double Milliseconds)> Launches(ExecutionPlan plan, DeviceProfile device)
    {
        var (all, launches, result) = (Times(plan.Shapes, plan, device), plan.MicroBatch.Launches, new List<(int, double)>());
        var tileTimes = plan.MicroBatch.Tiled.Select(r => r.Tokens).Distinct().ToDictionary(t => t, t => Times(plan.Shapes.Window(0, t), plan, device));
        // Copies run beside launches, each lane's one after the other; a wait takes what is left of its copy.
        var (clock, lanes, ends) = (0.0, new double[2], new Dictionary<int, double>());
        for (var at = 0; at < launches.Count; at++)
        {
            // A tiled run's launches have a tile's tokens each time; the last tile may be shorter.
            var run = TokenTiles.At(plan.MicroBatch.Tiled, at);
            var (times, tiles) = run is { } r ? (tileTimes[r.Tokens], (double)plan.Options.Tokens / r.Tokens) : (all, 1);
            double? both = plan.Shapes.FusionAt(launches, at + 1) is { } fusion && (fusion is not ScoreGradientsFusion || plan.MicroBatch.Has(ScoreGradients.Scratch, at))
                ? times.Of(fusion, launches[at], launches[at + 1]) : null;
            if (launches[at] is TransferStart start)
            {
                ends[start.Number] = lanes[(int)start.Lane] = Math.Max(clock, lanes[(int)start.Lane]) + device.CopyMilliseconds(start.Lane, plan.Shapes[start.Tensor].Bytes);
            }
            var milliseconds = launches[at] switch
            {
                TransferStart copy => device.CopySlows(copy.Lane, plan.Shapes[copy.Tensor].Bytes),
                TransferWait wait => Math.Max(0, ends[wait.Start.Number] - clock),
                _ => tiles * (both ?? times.Of(launches[at])),
            };
            clock += milliseconds;
            result.Add((at, milliseconds));
            if (both is not null) at++;
        }
        return result;
    }

    static LaunchTimes Times(Shapes shapes, ExecutionPlan plan, DeviceProfile device) => new(shapes, device, plan.LogitsRows, plan.LongestDocument);
}
