using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading.Tasks;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Training;

/// <summary>The training loop. What it changes is one value, the <see cref="TrainState"/> that it returns: adapter, moments, step, place in the data.</summary>
public static class Trainer
{
    /// <param name="steps">Batches of the steps to do; while the device runs one step, the host builds the next.</param>
    /// <param name="stop">Asked after every step; true ends the run as if it were the last.</param>
    /// <param name="report">Receives every step.</param>
    public static TrainState Run(ModelSession session, IEnumerable<StepBatches> steps, LearningRate rate, int seed, Func<bool> stop, Action<StepReport> report)
    {
        using var source = steps.GetEnumerator();
        StepBatches? Next() => source.MoveNext() ? source.Current : null;

        long position = 0;
        var number = 0;
        var batch = rate.Steps > 0 ? Next() : null;
        var end = Stopwatch.GetTimestamp();
        while (batch is not null)
        {
            var next = number + 1 < rate.Steps ? Task.Run(Next) : Task.FromResult<StepBatches?>(null);
            var learningRate = rate.At(number);
            var result = session.Training.Train(batch.Batches, learningRate);
            var start = end;
            end = Stopwatch.GetTimestamp();
            number++;
            position = batch.Position;
            report(new StepReport(number, batch.Epoch, result.Loss, learningRate, result.GradientNorm, batch.Tokens, Stopwatch.GetElapsedTime(start, end).TotalMilliseconds,
                session.Device.PeakBytes, session.PlannedPeakBytes, result.Skipped));
            batch = next.GetAwaiter().GetResult();
            if (stop()) break;
        }
        return session.Training.State(seed, position);
    }
}
