using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Xunit;

namespace Graph.Finetune.Tests.Training;

public class TrainerTests
{
    [Theory, InlineData(7, 7), InlineData(7, 3), InlineData(1, 1)]
    public void Run_AheadOfTheResults_IsTheSameRun(int steps, int stopAfter)
    {
        var (reports, state) = Run(steps, stopAfter, session => session);
        var (others, other) = Run(steps, stopAfter, session => session with { Device = new AheadDevice(session.Device) });
        Assert.Equal(Math.Min(steps, stopAfter), reports.Count);
        Assert.Equal(reports.Select(r => r with { Milliseconds = 0 }), others.Select(r => r with { Milliseconds = 0 }));
        Assert.Equal((state.Step, state.DataPosition), (other.Step, other.DataPosition));
        Assert.Equal(reports.Count, state.Step);
        Assert.Equal(reports.Count, state.DataPosition);
        foreach (var (one, two) in state.Adapters.Zip(other.Adapters))
        {
            Assert.Equal(one.B.Master, two.B.Master);
            Assert.Equal(((Fp32Moment)one.A.SecondMoment).Values, ((Fp32Moment)two.A.SecondMoment).Values);
        }
    }

    /// <summary>A step that lowers the loss scale is how the scale is found; one that cannot lower it any more counts towards the end of the run.</summary>
    [Theory, InlineData(127, 0), InlineData(2, 4)]
    public void Run_SkippedSteps_CountOnceTheScaleIsOne(int exponent, int counted)
    {
        var positions = new List<RunPosition>();
        // At 2^127 the gradients overflow; at 2^2 they are not a number whatever the scale is, and from the second step on it is 1.
        Run(5, 5, session => session, new AdamOptions(Scaling: new LossScaling(MathF.ScaleB(1, exponent))), broken: counted > 0, positions.Add);
        Assert.Equal(counted, positions[^1].SkippedInARow);
        Assert.Equal(5, positions[^1].Step);
    }

    static (List<StepReport> Reports, TrainState State) Run(int steps, int stopAfter, Func<ModelSession, ModelSession> change,
        AdamOptions? adam = null, bool broken = false, Action<RunPosition>? at = null)
    {
        using var source = ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), "random:3");
        var request = new SessionRequest(AdapterSettings.Create(source.Schedule, 4, 8, false, []), 64, 64, 1, "none", adam ?? new AdamOptions(), 5);
        using var session = ModelSession.Open(source, new DeviceRequest(DeviceKind.Cpu, null), request, _ => { });
        if (broken && session.Training.Plan.Optimizer.Adapters[0] is var a)
            session.Training.SetAdapter(a.Slot.Linear, new float[a.A.Elements], [.. Enumerable.Repeat(float.NaN, a.B.Elements)]);
        var random = new Random(1);
        var batches = Enumerable.Range(1, 20).Select(i =>
        {
            var ids = Enumerable.Range(0, 64).Select(_ => random.Next(source.Vocabulary)).ToArray();
            return new StepBatches(i, 64, i, [MicroBatch.Pack(64, [(ids, ids)])]);
        });
        var reports = new List<StepReport>();
        var position = Trainer.Run(change(session), batches, new LearningRate(LearningRateShape.Linear, 1e-2, 2, steps), RunPosition.Start, _ => false, (report, now) =>
        {
            reports.Add(report);
            at?.Invoke(now);
            return reports.Count < stopAfter;
        });
        return (reports, session.Training.State(5, position.DataPosition));
    }
}
