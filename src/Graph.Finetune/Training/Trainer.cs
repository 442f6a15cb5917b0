using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading.Tasks;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Training;

/// <summary>The training loop. What it changes is one value, the <see cref="TrainState"/> that it returns: adapter, moments, step, place in the data.</summary>
public static class Trainer
{
    /// <param name="steps">Batches of the steps to do. While the device runs one step, the host has started the next (where the device runs beside it) and builds the one after.</param>
    /// <param name="stop">Asked after every step; true ends the run as if it were the last: a step that was started and not updated changes nothing.</param>
    /// <param name="report">Receives every step.</param>
    public static TrainState Run(ModelSession session, IEnumerable<StepBatches> steps, LearningRate rate, int seed, Func<bool> stop, Action<StepReport> report)
    {
        using var source = steps.GetEnumerator();
        Task<StepBatches?> Fetch(int number) => number <= rate.Steps ? Task.Run(() => source.MoveNext() ? source.Current : null) : Task.FromResult<StepBatches?>(null);

        var (training, ahead) = (session.Training, session.Device.RunsAhead);
        long position = 0;
        var end = Stopwatch.GetTimestamp();
        var batch = Fetch(1).GetAwaiter().GetResult();
        var coming = Fetch(2);
        if (batch is not null) training.Begin(batch.Batches);
        for (var number = 1; batch is not null; number++)
        {
            var learningRate = rate.At(number - 1);
            training.Update(learningRate);
            var next = ahead ? BeginNext(number) : null;
            var result = training.Finish();
            var start = end;
            end = Stopwatch.GetTimestamp();
            position = batch.Position;
            report(new StepReport(number, batch.Epoch, result.Loss, learningRate, result.GradientNorm, batch.Tokens, Stopwatch.GetElapsedTime(start, end).TotalMilliseconds,
                session.Device.PeakBytes, session.PlannedPeakBytes, result.Skipped));
            if (stop()) break;
            batch = ahead ? next : BeginNext(number);
        }
        // A batch that nobody waits for any more is still being built from the source that goes now.
        Task.WaitAny(coming);
        return training.State(seed, position);

        StepBatches? BeginNext(int number)
        {
            var next = coming.GetAwaiter().GetResult();
            coming = Fetch(number + 2);
            if (next is not null) training.Begin(next.Batches);
            return next;
        }
    }
}
