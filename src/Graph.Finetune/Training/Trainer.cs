using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Training;

/// <summary>How far a run is.</summary>
/// <param name="Step">Steps done, skipped ones too: the place in the data's order and in the learning rate's course.</param>
/// <param name="SkippedInARow">How many of the last steps were skipped although no loss scale could be lowered: in fp16 a skipped step is how the scale is found.</param>
/// <param name="DataPosition">Micro-batches taken from the data.</param>
public sealed record RunPosition(int Step, int SkippedInARow, long DataPosition)
{
    public static RunPosition Start { get; } = new(0, 0, 0);

    /// <summary>Where the data goes on.</summary>
    public DataPlace Place { get; init; } = DataPlace.Start;
}

/// <summary>The training loop. What it changes is the session's <see cref="TrainState"/> and the position that it returns.</summary>
public static class Trainer
{
    /// <param name="steps">Batches of the steps behind <paramref name="from"/>. While the device runs one step, the host
    /// has started the next (where the device runs beside it) and builds the one after.</param>
    /// <param name="from">Where the session's state stands.</param>
    /// <param name="pause">Asked once for every step, while it runs: true keeps the next one from being
    /// started before <paramref name="goOn"/> returned, so that it may evaluate.</param>
    /// <param name="goOn">Receives every step and the position after it, at which the session's state stands; false ends the
    /// run as if the step were the last: one that was started and not updated changes nothing.</param>
    public static RunPosition Run(ModelSession session, IEnumerable<StepBatches> steps, LearningRate rate, RunPosition from, Func<int, bool> pause,
        Func<StepReport, RunPosition, bool> goOn)
    {
        using var source = steps.GetEnumerator();
        Task<StepBatches?> Fetch(int number) => number <= rate.Steps ? Task.Run(() => source.MoveNext() ? source.Current : null) : Task.FromResult<StepBatches?>(null);

        var (training, position) = (session.Training, from);
        var end = Stopwatch.GetTimestamp();
        var batch = Fetch(from.Step + 1).GetAwaiter().GetResult();
        var coming = Fetch(from.Step + 2);
        try
        {
            if (batch is not null) training.Begin(batch.Batches);
            for (var number = from.Step + 1; batch is not null; number++)
            {
                var learningRate = rate.At(number - 1);
                training.Update(learningRate);
                var ahead = session.Device.RunsAhead & !pause(number);
                var (next, fault) = ahead ? TryBeginNext(number) : (null, null);
                var result = training.Finish();
                var start = end;
                end = Stopwatch.GetTimestamp();
                position = new RunPosition(number, !result.Skipped ? 0 : position.SkippedInARow + (result.LossScale <= 1 ? 1 : 0), batch.Position) { Place = batch.Place };
                var report = new StepReport(number, batch.Epoch, result.Loss,
                    learningRate, result.GradientNorm, batch.Tokens, Stopwatch.GetElapsedTime(start, end).TotalMilliseconds,
                    session.PeakBytes(), session.PlannedPeakBytes, result.Skipped) { Work = session.Work.Of(batch.Tokens, batch.Batches) };
                if (!goOn(report, position)) break;
                fault?.Throw();
                batch = ahead ? next : BeginNext(number);
            }
        }
        finally
        {
            // A batch that nobody waits for any more is still being built from the source that goes now.
            Task.WaitAny(coming);
        }
        return position;

        StepBatches? BeginNext(int number)
        {
            var next = coming.GetAwaiter().GetResult();
            coming = Fetch(number + 2);
            if (next is not null) training.Begin(next.Batches);
            return next;
        }

        // A fault of the data must not hide that this step was done.
        (StepBatches? Next, ExceptionDispatchInfo? Fault) TryBeginNext(int number)
        {
            try
            {
                return (BeginNext(number), null);
            }
            catch (Exception e) when (e is not DeviceException)
            {
                return (null, ExceptionDispatchInfo.Capture(e));
            }
        }
    }
}
