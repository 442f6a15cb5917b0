using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>A plan as people read it.</summary>
static class PlanText
{
    /// <summary>Everything in one line.</summary>
    public static string Line(PlannedStep step) => string.Create(CultureInfo.InvariantCulture,
        $"plan: {Bytes.Text(step.Footprint.Total)} at most, everything counted; {step.Milliseconds:G4} ms a step ({step.TokensPerSecond:F0} tokens/s); {Actions(step)}");

    /// <summary>How many activations are not kept, and in which way.</summary>
    public static string Actions(PlannedStep step)
    {
        var actions = step.Plan.Decisions.Actions.Values.Where(a => a != TensorAction.Save).GroupBy(a => a).OrderBy(g => g.Key)
            .Select(g => $"{g.Count()} activations {Verb(g.Key)}").ToArray();
        var memory = step.Plan.Memory;
        string[] others =
        [
            .. memory.StreamedBytes > 0 ? [$"{Bytes.Text(memory.StreamedBytes)} of weights streamed"] : Array.Empty<string>(),
            .. memory.HostStates is { } states ? [$"{Bytes.Text(states.Bytes)} of the optimizer on the host"] : Array.Empty<string>(),
            .. step.Plan.Options.TokenTile is { } tile ? [$"tiles of {tile} tokens"] : Array.Empty<string>(),
        ];
        return string.Join(", ", [.. actions.DefaultIfEmpty("every activation kept"), .. others]);
    }

    public static string Verb(TensorAction action) =>
        action switch { TensorAction.Save => "kept", TensorAction.Recompute => "built again",
            TensorAction.Offload => "offloaded", _ => throw new ArgumentException($"plan: no word for {action}.") };

    public static string Name(MemoryCategory category) => category switch
    {
        MemoryCategory.Driver => "driver, code, graphs, workspace",
        MemoryCategory.Weights => "weights",
        MemoryCategory.Adapters => "adapters, gradients, inputs",
        MemoryCategory.Optimizer => "optimizer",
        MemoryCategory.Saved => "saved activations",
        MemoryCategory.WorkingSet => "working set",
        _ => throw new ArgumentException($"plan: no name for {category}."),
    };

    /// <summary>Activations of the backward by what they are in their layer, with the layers of each action.</summary>
    public static IReadOnlyList<DecisionClass> Classes(PlannedStep step)
    {
        var reasons = step.Reasons.ToDictionary(r => r.Tensor);
        return [.. Saved(step.Plan).GroupBy(t => (Name: InLayer(t.Tensor.Name), Action: step.Plan.Decisions[t.Tensor.Name]))
            .Select(g => new DecisionClass(g.Key.Name, g.Key.Action, [.. g.Select(t => t.Tensor.Layer).Order()],
                g.Sum(t => t.Bytes), g.Sum(t => reasons.GetValueOrDefault(t.Tensor.Name)?.Milliseconds ?? 0)))
            .OrderByDescending(c => c.Bytes)];
    }

    /// <summary>Activations that the backward reads.</summary>
    public static IEnumerable<TensorLayout> Saved(ExecutionPlan plan)
    {
        var backward = plan.MicroBatch.Launches.Skip(plan.MicroBatch.BackwardStart).SelectMany(l => plan.Shapes.Of(l).Reads).Select(r => r.Tensor).ToHashSet();
        return plan.Shapes.Layouts.Where(l => l.Tensor.Kind == Graph.Runtime.Schedules.TensorKind.Activation && l.Bytes > 0 && backward.Contains(l.Tensor.Name));
    }

    static string InLayer(string tensor) => tensor.StartsWith("layers.", StringComparison.Ordinal) && tensor.IndexOf('.', 7) is > 0 and var dot ? tensor[(dot + 1)..] : tensor;
}

/// <param name="Milliseconds">Of all its layers, what not keeping them costs a micro-batch.</param>
sealed record DecisionClass(string Tensor, TensorAction Action, IReadOnlyList<int> Layers, long Bytes, double Milliseconds);
