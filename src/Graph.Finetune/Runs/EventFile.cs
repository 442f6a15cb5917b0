using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using Graph.Finetune.Training;

namespace Graph.Finetune.Runs;

/// <summary>The steps of a run for TensorBoard: a file events.out.tfevents.SECONDS.HOST in the run's folder for each
/// start, in the order of their names. One that goes on after step N says so, and readers drop what
/// earlier files have behind it.</summary>
/// <param name="after">The step that the run goes on from; 0: it begins, and files of an earlier run go.</param>
/// <param name="warn">Receives what is wrong, without a full stop.</param>
public sealed class EventFile : IDisposable
{
    const string Prefix = "events.out.tfevents.";

    readonly AppendedFile file;

    public EventFile(string directory, int after, Action<string> warn)
    {
        var seconds = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        string[] earlier = [];
        try
        {
            earlier = Directory.GetFiles(directory, Prefix + "*");
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            // Opening says it.
        }
        // A clock may be behind, and two starts may fall into one second.
        var last = earlier.Select(f => long.TryParse(Path.GetFileName(f)[Prefix.Length..].Split('.')[0], NumberStyles.None, CultureInfo.InvariantCulture, out var s) ? s : 0)
            .DefaultIfEmpty().Max();
        var path = Path.Combine(directory,
            string.Create(CultureInfo.InvariantCulture, $"{Prefix}{(after > 0 ? Math.Max(seconds, last + 1) : seconds):D10}.{Environment.MachineName}"));
        file = new AppendedFile(path, () =>
        {
            if (after == 0) foreach (var old in earlier) File.Delete(old);
            return new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, 0);
        }, warn);
        EventRecords.WriteVersion(file.Waiting, Now);
        EventRecords.WriteStart(file.Waiting, Now, after + 1);
    }

    public void Write(StepReport report)
    {
        List<(string, double)> scalars =
        [
            ("train/loss", report.Loss), ("train/learning_rate", report.LearningRate), ("train/grad_norm", report.GradientNorm), ("train/epoch", report.Epoch),
                ("train/skipped", report.Skipped ? 1 : 0),
            ("speed/tokens_per_second", report.TokensPerSecond), ("speed/step_ms", report.Milliseconds), ("memory/peak_gib", report.PeakBytes / (double)(1L << 30)),
        ];
        if (report.EvaluationLoss is { } loss) scalars.Add(("eval/loss", loss));
        EventRecords.WriteScalars(file.Waiting, Now, report.Step, scalars);
        file.Flush();
    }

    public void Dispose() => file.Dispose();

    static double Now => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;
}
