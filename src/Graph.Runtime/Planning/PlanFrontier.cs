using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Plans of one run from the fastest to the smallest, and the fastest of them that fits a budget. Which plans there are does not depend on the budget, so a larger one never gets a slower plan.
/// <para>
/// A path starts with everything kept. Each step looks at the launch with the most live bytes, and of the activations that lie there, unread, drops the one whose rebuilding costs the least for each byte; of equal ones that of
/// the first layers, which lies longest. Identical layers have identical costs, so they are dropped one layer after the other. Every state of the path is counted exactly (<see cref="StepModel"/>); only what is handed out is laid
/// out in an arena.
/// </para>
/// </summary>
public sealed class PlanFrontier
{
    /// <summary>Statistics of at most this many bytes per token are kept: they free no memory worth a launch.</summary>
    const long LeastBytesPerToken = 65;

    /// <summary>Choices beside the decisions that give a path of its own.</summary>
    sealed record Setting(int LogitsRows, StepModel Model, IReadOnlyList<int> Order, IReadOnlyList<StepState> States, MemoryPlan Memory);

    sealed record Candidate(Setting Setting, int Count, StepState State);

    readonly Shapes shapes;
    readonly PlanOptions options;
    readonly DeviceProfile device;
    readonly int scoring;
    readonly IReadOnlyList<Setting> settings;
    readonly IReadOnlyList<Candidate> candidates;
    readonly Dictionary<Candidate, PlannedStep> made = [];

    PlanFrontier(Shapes shapes, PlanOptions options, DeviceProfile device)
    {
        (this.shapes, this.options, this.device) = (shapes, options, device);
        var kept = ExecutionPlan.Kept(shapes.Schedule, options);
        var (forward, backward) = ExecutionPlan.Live(shapes, kept);
        scoring = DeadLaunches.Eliminate(shapes, shapes.Schedule.Forward, kept).Count;
        settings = [.. RowsOf(shapes, options).Select(rows => SettingOf(forward, backward, kept, rows))];
        candidates = [.. settings.SelectMany(s => s.States.Select((state, count) => new Candidate(s, count, state))).OrderBy(c => c.State.Milliseconds).ThenBy(c => c.State.ArenaBytes)];
    }

    /// <param name="options">Without decisions: they are what is looked for. With them the plans differ in the rest.</param>
    /// <exception cref="ArgumentException">An option cannot be followed, in a sentence.</exception>
    public static PlanFrontier Create(Schedule schedule, PlanOptions options, DeviceProfile device) => new(Shapes.Of(schedule, options), options, device);

    /// <summary>The fastest of the plans that take at most <paramref name="budget"/> bytes, everything counted; null: none does.</summary>
    public PlannedStep? Fit(long budget) => candidates.Where(c => AtLeast(c) <= budget).Select(Make).FirstOrDefault(plan => plan.Footprint.Total <= budget);

    /// <summary>The plan that takes the fewest bytes: the smallest of those that may be.</summary>
    public PlannedStep Least()
    {
        PlannedStep? least = null;
        foreach (var candidate in candidates.Select(c => (Bytes: AtLeast(c), Candidate: c)).OrderBy(c => c.Bytes).TakeWhile(c => least is null || c.Bytes < least.Footprint.Total).Select(c => c.Candidate))
            if (Make(candidate) is var plan && (least is null || plan.Footprint.Total < least.Footprint.Total)) least = plan;
        return least!;
    }

    /// <summary>About what the smallest plan takes, found without its path: everything that can be dropped is, and no chunk of logits is smaller.</summary>
    public static long LeastBytes(Schedule schedule, PlanOptions options, DeviceProfile device)
    {
        var shapes = Shapes.Of(schedule, options);
        var rows = RowsOf(shapes, options).Min();
        var dropped = options.Decisions ?? new Decisions("all", Droppable(shapes).ToDictionary(t => t, _ => TensorAction.Recompute));
        return Footprint.Of(ExecutionPlan.Create(shapes, options with { Decisions = dropped, LogitsRows = rows }), device).Total;
    }

    /// <summary>Activations that can be built again and are worth it.</summary>
    static IEnumerable<string> Droppable(Shapes shapes) => shapes.Schedule.Recipes.Select(r => shapes[r.Tensor]).Where(l => !l.Tensor.Boundary && l.BytesPerToken >= LeastBytesPerToken && l.Bytes > 0).Select(l => l.Tensor.Name);

    /// <summary>The plan that is the fastest whatever it takes.</summary>
    public PlannedStep Fastest() => Make(candidates[0]);

    /// <summary>
    /// No plan of these settings that fits is faster, in milliseconds of a step: at each launch what is too much must be dropped, and what is cheapest for each byte may be dropped in parts there. Infinite: none fits.
    /// </summary>
    public double Bound(long budget) => settings.Min(s =>
    {
        var none = s.Model.Evaluate(new bool[s.Model.Tensors]);
        var allowed = budget - Footprint.Of(s.Memory, none.Launches + scoring, device).Total;
        var live = s.Model.Live.ToArray();
        var items = Enumerable.Range(0, s.Model.Tensors).Where(s.Model.HasRecipe).Select(t => (Tensor: t, Bytes: s.Model.Bytes(t), Ms: s.Model.Milliseconds(t))).Where(i => i.Bytes > 0).OrderBy(i => i.Ms / i.Bytes).ToArray();
        var most = 0.0;
        for (var at = 0; at < live.Length; at++)
        {
            var (excess, ms) = ((double)(live[at] - allowed), 0.0);
            foreach (var item in items)
            {
                if (excess <= 0) break;
                if (!s.Model.Covers(item.Tensor, at)) continue;
                ms += item.Ms * Math.Min(1, excess / item.Bytes);
                excess -= item.Bytes;
            }
            if (excess > 0) return double.PositiveInfinity;
            most = Math.Max(most, ms);
        }
        return StepPrediction.Step(Make(candidates[0]).Plan, device, none.Milliseconds + most);
    });

    // No arena is smaller than what is alive at one launch; recomputing launches are in the graphs too.
    long AtLeast(Candidate candidate) => Footprint.Of(candidate.Setting.Memory.WithArena(candidate.State.ArenaBytes), candidate.State.Launches + scoring, device).Total;

    PlannedStep Make(Candidate candidate)
    {
        if (made.TryGetValue(candidate, out var step)) return step;
        var (setting, count) = (candidate.Setting, candidate.Count);
        var decisions = options.Decisions ?? (count == 0 ? Decisions.None : new Decisions($"auto, {count} of {setting.Order.Count} activations", setting.Order.Take(count).ToDictionary(setting.Model.Name, _ => TensorAction.Recompute)));
        return made[candidate] = StepPrediction.Of(ExecutionPlan.Create(shapes, options with { Decisions = decisions, LogitsRows = setting.LogitsRows }), device) with
        {
            Reasons = [.. setting.Order.Take(count).Select(t => new DecisionReason(setting.Model.Name(t), TensorAction.Recompute, setting.Model.Bytes(t), setting.Model.Milliseconds(t)))],
        };
    }

    // All rows that fill whole tiles; of those that take as long the fewest. Chunks of the logits are the largest tensor when little else is kept.
    static IReadOnlyList<int> RowsOf(Shapes shapes, PlanOptions options)
    {
        var rows = ExecutionPlan.LogitsRowsOf(shapes, options);
        return options.LogitsRows is not null ? [rows] : [.. new[] { rows, rows / 2 / 128 * 128, 512, 256 }.Where(r => r > 0 && r <= rows).Distinct()];
    }

    Setting SettingOf(IReadOnlyList<Launch> forward, IReadOnlyList<Launch> backward, IReadOnlySet<string> kept, int rows)
    {
        var longest = ExecutionPlan.LongestOf(options);
        var model = new StepModel(shapes, forward, backward, kept, rows, longest, new LaunchTimes(shapes, device, rows, longest));
        var (order, states) = options.Decisions is { } given ? ([], [model.Evaluate([.. Enumerable.Range(0, model.Tensors).Select(t => given[model.Name(t)] == TensorAction.Recompute)])]) : Path(model);
        return new Setting(rows, model, order, states, MemoryPlan.Create(shapes, 0, OptimizerLayout.Create(options.Ranks, options.Moments).Bytes, 0));
    }

    /// <summary>Tensors in the order in which they are dropped, and what the first so many of them come to.</summary>
    (IReadOnlyList<int> Order, IReadOnlyList<StepState> States) Path(StepModel model)
    {
        var dropped = new bool[model.Tensors];
        var items = Droppable(shapes).Select(name => model.Index[name]).Where(model.HasRecipe).Select(t => (Tensor: t, Price: model.Milliseconds(t) / model.Bytes(t), shapes[model.Name(t)].Tensor.Layer)).OrderBy(t => t.Price).ThenBy(t => t.Layer).Select(t => t.Tensor).ToList();
        var (order, states) = (new List<int>(), new List<StepState> { model.Evaluate(dropped) });
        while (items.FindIndex(t => model.Covers(t, states[^1].At)) is >= 0 and var next)
        {
            dropped[items[next]] = true;
            order.Add(items[next]);
            items.RemoveAt(next);
            states.Add(model.Evaluate(dropped));
        }
        return (order, states);
    }
}
