using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Training;

/// <summary>Launches of one name in a step. Tflops where operations decide how fast it can be, Gbps where bytes do.</summary>
/// <param name="OfLimit">The least time that operations and bytes allow, by the time taken.</param>
public sealed record KernelTime(string Name, int Count, double Milliseconds, double Share, double? Tflops, double? Gbps, double OfLimit);

/// <summary>What a step costs.</summary>
/// <param name="Steps">Milliseconds of steps as <c>train</c> runs them, sorted.</param>
/// <param name="Busy">Median milliseconds of the device's work in a step: its graphs, each from the first launch to the last.</param>
/// <param name="Kernels">A step launch by launch, slowest first. The sum is more than <paramref name="Busy"/> where launches are shorter than the host needs to start one.</param>
public sealed record StepMeasurement(IReadOnlyList<double> Steps, double Busy, DeviceLimits Limits, IReadOnlyList<KernelTime> Kernels)
{
    const int WarmUp = 2, Profiles = 3;
    const double Rate = 1e-4;

    /// <summary>Milliseconds; what is measured as nothing took less.</summary>
    const double Tick = 1e-4;

    public double Median => Of(Steps);

    /// <summary>The part of a step in which the device has nothing to do.</summary>
    public double Idle => Math.Max(0, 1 - Busy / Median);

    /// <param name="steps">Timed steps, after two that are not.</param>
    public static StepMeasurement Of(ModelSession session, MicroBatch batch, int steps)
    {
        var data = Enumerable.Range(1, steps + WarmUp).Select(i => new StepBatches(0, batch.Ids.Length, i, [batch]));
        var times = new List<double>();
        Trainer.Run(session, data, new LearningRate(LearningRateShape.Constant, Rate, 0, steps + WarmUp), RunPosition.Start, _ => false, (report, _) =>
        {
            times.Add(report.Milliseconds);
            return true;
        });
        var busy = Of([.. Enumerable.Range(0, Math.Max(3, steps / 2)).Select(_ => session.Training.Busy(batch, Rate)).Order()]);
        var profiles = Enumerable.Range(0, Profiles).Select(_ => session.Training.Profile(batch, Rate)).ToArray();
        var launches = profiles[0].Select((p, i) => (p.Launch, Milliseconds: Of([.. profiles.Select(profile => profile[i].Milliseconds).Order()]))).ToArray();
        var limits = session.Training.Limits();
        return new StepMeasurement([.. times.Skip(WarmUp).Order()], busy, limits, Table(launches, limits));
    }

    /// <summary>The middle of sorted values.</summary>
    public static double Of(IReadOnlyList<double> sorted) => (sorted[(sorted.Count - 1) / 2] + sorted[sorted.Count / 2]) / 2;

    static KernelTime[] Table(IReadOnlyList<(BoundLaunch Launch, double Milliseconds)> launches, DeviceLimits limits)
    {
        var all = launches.Sum(l => l.Milliseconds);
        return [.. launches.GroupBy(l => Name(l.Launch)).Select(same =>
        {
            var (ms, flops, bytes) = (Math.Max(Tick, same.Sum(l => l.Milliseconds)), same.Sum(l => (double)l.Launch.Flops), same.Sum(l => (double)l.Launch.Bytes));
            var compute = limits.IsCompute(same.First().Launch);
            return new KernelTime(same.Key, same.Count(), ms, ms / all, compute ? flops / ms / 1e9 : null, compute ? null
                : bytes / ms / 1e6, same.Sum(l => limits.Floor(l.Launch)) / ms);
        }).OrderByDescending(k => k.Milliseconds)];
    }

    /// <summary>The kernel; for a product its layout and output, with * for the number of the layer or group.</summary>
    public static string Name(BoundLaunch launch) => launch switch
    {
        BoundGemm gemm => $"gemm {gemm.Layout.ToString().ToLowerInvariant()}{(gemm.Accumulate ? " +=" : "")} {Stars(gemm.Label)}",
        BoundGemmEpilogue fused => $"{Name(fused.Gemm)}, {fused.Kernel.Kernel}",
        BoundTransferStart copy => $"{(copy.Lane == Lane.ToHost ? "to" : "from")} host {Stars(copy.Label)}",
        BoundTransferWait => "waits for copies",
        BoundRankGradients both => $"g, grad_b of {Stars(both.G.Label)}",
        _ => launch.Label,
    };

    static string Stars(string label) => string.Join('.', label.Split('[')[0].Split('.').Select(part => part.All(char.IsDigit) ? "*" : part));
}
