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

    static (List<StepReport> Reports, TrainState State) Run(int steps, int stopAfter, Func<ModelSession, ModelSession> change)
    {
        using var source = ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), "random:3");
        var request = new SessionRequest(AdapterSettings.Create(source.Schedule, 4, 8, false, []), 64, 64, 1, "none", new AdamOptions(), 5);
        using var session = ModelSession.Open(source, new DeviceRequest(DeviceKind.Cpu, null), request, _ => { });
        var random = new Random(1);
        var batches = Enumerable.Range(1, 20).Select(i =>
        {
            var ids = Enumerable.Range(0, 64).Select(_ => random.Next(source.Vocabulary)).ToArray();
            return new StepBatches(i, 64, i, [MicroBatch.Pack(64, [(ids, ids)])]);
        });
        var reports = new List<StepReport>();
        var position = Trainer.Run(change(session), batches, new LearningRate(LearningRateShape.Linear, 1e-2, 2, steps), RunPosition.Start, _ => false, (report, _) =>
        {
            reports.Add(report);
            return reports.Count < stopAfter;
        });
        return (reports, session.Training.State(5, position.DataPosition));
    }
}
