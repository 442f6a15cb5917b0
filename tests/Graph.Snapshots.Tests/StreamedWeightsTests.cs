using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>What copies to and from the host make of the real sizes' memory.</summary>
public sealed class StreamedWeightsTests
{
    static ExecutionPlan Plan(string variant, int tokens, bool offload, bool stream)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var ranks = RankTable.Create(schedule, _ => 16);
        var shapes = new Shapes(schedule, tokens, ranks, ActType.Bf16);
        var actions = Decisions.Full(shapes).Actions.ToDictionary();
        if (offload)
            foreach (var boundary in schedule.Tensors.Where(t => t.Boundary && t.Kind == TensorKind.Activation)) actions[boundary.Name] = TensorAction.Offload;
        return ExecutionPlan.Create(schedule, new PlanOptions(tokens, ranks, ActType.Bf16, 2)
        {
            LongestDocument = 2048, Multiprocessors = 132, Decisions = new Decisions("full", actions),
            Storage = stream ? WeightStorages.Streamed(schedule, WeightStorages.Resident) : WeightStorages.Resident,
        });
    }

    /// <summary>54 GB of weights stay in host memory; 20 GiB leave a card of 24 GiB room for context and workspace.</summary>
    [Fact]
    public void TwentySevenBillion_Streamed_FitsACardOf24GiB()
    {
        var plan = Plan("27b", 8192, offload: false, stream: true);
        Assert.InRange(plan.Memory.PeakBytes, 1L << 30, 20L << 30);
        Assert.InRange(plan.Memory.HostBytes, 48L << 30, 51L << 30);
        var copied = plan.MicroBatch.Launches.OfType<TransferStart>().Sum(s => plan.Shapes[s.Tensor].Bytes);
        Assert.InRange(copied, 1.9 * plan.Memory.HostBytes, 2.0 * plan.Memory.HostBytes);
    }

    /// <summary>A bus that is fast enough hides its copies; one that is not is what the step waits for.</summary>
    [Fact]
    public void Prediction_OfStreamedWeights_TakesTheBusOrTheLaunches()
    {
        var device = DeviceProfile.Find("h200")!;
        var (resident, streamed) = (Plan("9b", 8192, offload: false, stream: false), Plan("9b", 8192, offload: false, stream: true));
        double Ms(ExecutionPlan plan, double gbps) => StepPrediction.Of(plan, device with { HostToDeviceGbps = gbps }).Milliseconds;
        Assert.InRange(Ms(streamed, 1e6) / Ms(resident, 1e6), 1, 1.01);
        var copies = streamed.MicroBatch.Launches.OfType<TransferStart>().Sum(s => streamed.Shapes[s.Tensor].Bytes) / 5e6;
        Assert.InRange(Ms(streamed, 5) / copies, 1, 1.2);
    }

    /// <summary>What full recompute keeps leaves the arena but for the last layers' and what is on its way.</summary>
    [Fact]
    public void NineBillion_BoundariesAway_TakesTheBoundariesOfAFewLayers()
    {
        var (kept, away) = (Plan("9b", 8192, offload: false, stream: false), Plan("9b", 8192, offload: true, stream: false));
        var boundary = 8192L * 3584 * 2;
        Assert.InRange((kept.Memory.PeakBytes - away.Memory.PeakBytes) / boundary, 30, 42);
        Assert.InRange(away.Memory.HostBytes / boundary, 30, 44);
    }
}
