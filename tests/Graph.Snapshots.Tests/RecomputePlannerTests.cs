using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Plans between keeping everything and full recompute, on the real sizes.</summary>
public sealed class RecomputePlannerTests
{
    public static TheoryData<string> Sizes => ["2b", "9b", "27b"];

    static PlanOptions Options(Schedule schedule) => new(8192, RankTable.Create(schedule, _ => 16), ActType.Bf16, 2) { LongestDocument = 2048, Multiprocessors = 132 };

    static Schedule ScheduleOf(string variant) => ScheduleText.Parse(Emitted.Model(variant).ScheduleText);

    static ExecutionPlan Named(Schedule schedule, string name) =>
        ExecutionPlan.Create(schedule, Options(schedule) with { Decisions = Decisions.Named(name, new Shapes(schedule, 8192, Options(schedule).Ranks, ActType.Bf16)) });

    /// <summary>Operations and bytes of a step's floors: what a plan costs more than another is what it builds again.</summary>
    static double Cost(ExecutionPlan plan) => Binder.Bind(plan, new Dictionary<MemoryBlock, nint>()).MicroBatch.Sum(l => Math.Max(l.Flops / 690e12, l.Bytes / 4.1e12) + 2.5e-6);

    /// <summary>Within the budget, and a larger one never gives a slower plan.</summary>
    [Theory]
    [MemberData(nameof(Sizes))]
    public void Fit_LargerBudgets_AreHeldAndNeverSlower(string variant)
    {
        var schedule = ScheduleOf(variant);
        var (least, most) = (Named(schedule, "full").Memory.PeakBytes, Named(schedule, "none").Memory.PeakBytes);
        var plans = new Dictionary<string, ExecutionPlan>();
        var dropped = int.MaxValue;
        for (var i = 0; i <= 6; i++)
        {
            var budget = least + (most - least) / 6 * i + (i == 6 ? (most - least) % 6 : 0);
            var plan = RecomputePlanner.Fit(schedule, Options(schedule), budget);
            Assert.NotNull(plan);
            Assert.InRange(plan.Memory.PeakBytes, 1, budget);
            Assert.InRange(plan.Decisions.Actions.Count, 0, dropped);
            dropped = plan.Decisions.Actions.Count;
            plans[plan.Decisions.Name] = plan;
        }
        Assert.Equal(0, dropped);
        var costs = plans.Values.OrderBy(p => p.Decisions.Actions.Count).Select(Cost).ToArray();
        Assert.Equal(costs.Order(), costs);
        Assert.Null(RecomputePlanner.Fit(schedule, Options(schedule), least - 1));
    }

    /// <summary>Between two fixed lists there is a plan that is faster than the smaller one and needs less than the larger one.</summary>
    [Fact]
    public void Fit_NineBillionIn40GiB_IsFasterThanFullRecompute()
    {
        var schedule = ScheduleOf("9b");
        var plan = RecomputePlanner.Fit(schedule, Options(schedule), 40L << 30)!;
        Assert.InRange(plan.Memory.PeakBytes, 39L << 30, 40L << 30);
        Assert.InRange(Cost(plan), 0, 0.93 * Cost(Named(schedule, "full")));
    }
}
