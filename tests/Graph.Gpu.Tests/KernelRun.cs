using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading.Tasks;

namespace Graph.Gpu.Tests;

/// <summary>What is known of a kernel that ran and was right.</summary>
sealed record VerifiedKernel(KernelJob Job, double Error, double OfAllowed)
{
    internal double? Microseconds { get; set; }
    internal double? Gbps { get; set; }
    internal double? Tflops { get; set; }
}

/// <summary>Runs every kernel in child processes, a few at a time, and starts a child again without the kernel that ended it.</summary>
static class KernelRun
{
    const int QuietSeconds = 120, KernelsOfAProcess = 6;

    /// <param name="keep">Receives all that passed so far, after each of them, one call at a time.</param>
    internal static (IReadOnlyList<VerifiedKernel> Passed, IReadOnlyList<string> Failed) Check(IReadOnlyList<KernelJob> jobs, int parallel,
        Action<IReadOnlyList<VerifiedKernel>> keep)
    {
        var passed = new List<VerifiedKernel>();
        var failed = new List<string>();
        // Targets share the reference of a kernel; a process has a few kernels, so that all processes end at about the same time.
        var units = jobs.GroupBy(j => (j.Variant, j.Act)).SelectMany(g => g.GroupBy(j => j.Name).Chunk(KernelsOfAProcess))
            .Select(names => names.SelectMany(n => n).ToArray()).ToArray();
        Parallel.ForEach(Partitioner.Create(units, EnumerablePartitionerOptions.NoBuffering),
            new ParallelOptions { MaxDegreeOfParallelism = parallel }, unit => CheckUnit(unit, passed, failed, keep));
        return ([.. passed.OrderBy(p => p.Job.Index)], [.. failed.Order(StringComparer.Ordinal)]);
    }

    static void CheckUnit(KernelJob[] unit, List<VerifiedKernel> passed, List<string> failed, Action<IReadOnlyList<VerifiedKernel>> keep)
    {
        var left = unit.ToDictionary(j => j.Index);
        while (left.Count > 0)
        {
            int? current = null;
            var before = left.Count;
            var end = Child.Run(["--child", "kernels", string.Join(',', left.Keys.Order())], QuietSeconds, line =>
            {
                var words = line.Split('\t');
                if (words is ["start", var started]) current = int.Parse(started, CultureInfo.InvariantCulture);
                else if (words is ["result", var index, var verdict, var error, var share, var milliseconds, var problem]
                && left.Remove(int.Parse(index, CultureInfo.InvariantCulture), out var job))
                {
                    lock (passed)
                    {
                        if (verdict == "ok")
                        {
                            passed.Add(new VerifiedKernel(job, Number(error), Number(share)));
                            keep(passed);
                        }
                        else failed.Add($"{Title(job)}: {problem}");
                    }
                    Lines.Write(verdict == "ok" ? $"ok   {Title(job)} error {error}, {share} of allowed, {milliseconds} ms" : $"FAIL {Title(job)}: {problem}");
                }
                else Lines.Write("     " + line);
            });
            if (left.Count == 0) return;
            // The kernel that was running takes the blame; without one the child never began.
            var blamed = current is { } c && left.Remove(c, out var victim) ? victim : before == left.Count ? left.Values.First() : null;
            if (blamed is null) continue;
            var all = current is null ? left.Values.Append(blamed).DistinctBy(j => j.Index).ToArray() : [blamed];
            foreach (var job in all)
            {
                left.Remove(job.Index);
                var sentence = $"{Title(job)}: its process {(end.Hung ? $"printed nothing for {QuietSeconds} s" : $"ended with code {end.ExitCode}")}"
                    + $"{(end.LastError.Length > 0 ? ": " + end.LastError : "")}";
                lock (passed) failed.Add(sentence);
                Lines.Write("FAIL " + sentence);
            }
        }
    }

    /// <summary>Adds times to kernels that passed, one process per 16-bit type, one kernel at a time.</summary>
    internal static void Time(IReadOnlyList<VerifiedKernel> kernels)
    {
        foreach (var unit in kernels.GroupBy(k => k.Job.Act))
        {
            var byIndex = unit.ToDictionary(k => k.Job.Index);
            var end = Child.Run(["--child", "time", string.Join(',', byIndex.Keys)], QuietSeconds, line =>
            {
                if (line.Split('\t') is not ["time", var index, var microseconds, var gbps, var tflops, var size]
                    || !byIndex.TryGetValue(int.Parse(index, CultureInfo.InvariantCulture), out var kernel)) return;
                (kernel.Microseconds, kernel.Gbps, kernel.Tflops) = (Number(microseconds), Positive(gbps), Positive(tflops));
                Lines.Write($"time {Title(kernel.Job)} {size}: {microseconds} us"
                    + (kernel.Tflops is { } t ? FormattableString.Invariant($", {t:F0} TFLOP/s") : kernel.Gbps is { } g ? FormattableString.Invariant($", {g:F0} GB/s") : ""));
            });
            if (end.ExitCode != 0) Lines.Write($"FAIL times of {unit.Key} kernels: {(end.Hung ? "hung" : $"code {end.ExitCode}")} {end.LastError}");
        }
    }

    static string Title(KernelJob job) => $"{job.Variant} {job.Target} {job.Name}";
    static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
    static double? Positive(string text) => Number(text) is > 0 and var value ? value : null;
}
