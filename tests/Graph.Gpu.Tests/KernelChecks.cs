using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>A device that runs one target's texts.</summary>
sealed record CudaDeviceOfTarget(string Target, CudaDevice Device)
{
    readonly Dictionary<string, KernelInfo> loaded = [];

    /// <summary>Loads a kernel unless it is there with the same launch: the driver compiles PTX each time that it is loaded.</summary>
    internal void Load(KernelSource source)
    {
        if (loaded.TryGetValue(source.Info.Name, out var info) && info == source.Info) return;
        Device.Load(new TargetKernels(Target, [source]));
        loaded[source.Info.Name] = source.Info;
    }
}

/// <summary>What a kernel's check saw: worst relative L2 error, and the worst part of the allowed error.</summary>
readonly record struct Seen(double Error, double OfAllowed);

/// <summary>
/// Runs kernels of one variant and one 16-bit type in this process, each against the cpu kernel of its name. A reference serves every target.
/// Prints "start INDEX" and "result INDEX ..." lines for the parent; an error of the device ends the process with code 3, because a CUDA context that failed once fails always.
/// </summary>
static class KernelChecks
{
    const int Repeats = 100;

    internal static int Run(IReadOnlyList<KernelJob> jobs)
    {
        Elem.Act = jobs[0].Act;
        var compiler = new KernelCompiler(null, KernelCache.Open(KernelCache.DefaultFolder(Environment.GetEnvironmentVariable)
            ?? throw new CheckException("GRAPH_CACHE is off; kernels are kept between processes")));
        var devices = jobs.Select(j => j.Target).Distinct().ToDictionary(t => t, t => new CudaDeviceOfTarget(t, CudaDevice.Create(t, compiler: compiler)));
        // All texts of a target in parallel, before the first check.
        foreach (var (target, on) in devices)
        {
            var texts = jobs.Where(j => j.Target == target).ToArray();
            compiler.Get([.. texts.Select(j => j.Source.Text)], on.Device.Target.Architecture, i => texts[i].Name + ".cu");
        }
        foreach (var same in jobs.GroupBy(j => j.Name))
        {
            var first = same.First();
            if (!first.HasCases)
            {
                foreach (var job in same)
                    Report(job, () => first.Kind switch
                    {
                        KernelKind.Gemm or KernelKind.GemmTma => GeneratedGemmCheck.Run(devices[job.Target], job),
                        _ when job.IsOfRowSums => RowSumsCheck.Run(devices[job.Target], job),
                        KernelKind.GemmEpilogue => EpilogueCheck.Run(devices[job.Target], job),
                        KernelKind.LabelRows => LabelRowsCheck.Run(devices[job.Target], job),
                        KernelKind.Dequantize => Nf4Check.Run(devices[job.Target], job),
                        KernelKind.Optimizer => OptimizerCheck.Run(devices[job.Target], job),
                        KernelKind.Dropout => DropoutCheck.Run(devices[job.Target], job),
                        KernelKind.RankGradients or KernelKind.RankSum => RankCheck.Run(devices[job.Target], job),
                        _ => throw new CheckException($"{job.Name} is of kind {job.Kind}, which has no check here"),
                    });
                continue;
            }
            // Errors by job over all sizes; a job that failed is out.
            var left = same.ToDictionary(j => j, _ => new Seen());
            var clock = Stopwatch.StartNew();
            var seed = 1;
            foreach (var size in KernelCases.Sizes(first.Variant, first.Source.Info))
            {
                if (left.Count == 0) break;
                var test = KernelCases.Of(first.Variant, first.Source.Info, size, seed++);
                var (reference, compositions) = Expected(test);
                foreach (var job in left.Keys.ToArray())
                    if (Guard(job, () => left[job] = Worse(left[job], Compare(devices[job.Target], job, test, reference, compositions, repeat: seed == 2))) is { } problem)
                    {
                        left.Remove(job);
                        Result(job, false, 0, 0, clock.ElapsedMilliseconds, $"{test.Label}: {problem}");
                    }
            }
            foreach (var (job, seen) in left) Result(job, true, seen.Error, seen.OfAllowed, clock.ElapsedMilliseconds, "");
        }
        foreach (var on in devices.Values) on.Device.Dispose();
        return 0;
    }

    /// <summary>The fp32 outputs, and those of compositions: more of these where few rows would leave them to chance.</summary>
    internal static (float[][] Reference, float[][][] Compositions) Expected(KernelCase test)
    {
        var source = Models.Reference(test.Variant);
        var reference = test.OnCpu(source.Exact(test.KvHeads)[test.Kernel], null);
        var entry = source.Composition(test.KvHeads)[test.Kernel];
        var random = new Random(7);
        return (reference, [.. Enumerable.Range(0, Math.Clamp(512 / test.Rows, 1, 32)).Select(_ => test.OnCpu(entry, random))]);
    }

    static Seen Compare(CudaDeviceOfTarget on, KernelJob job, KernelCase test, float[][] reference, float[][][] compositions, bool repeat)
    {
        using var running = new DeviceCase(on, test, job);
        var bytes = running.Run();
        var got = running.Values(bytes);
        var seen = new Seen();
        for (var o = 0; o < got.Length; o++)
        {
            var output = test.Outputs[o];
            var errors = ErrorRule.Of(output.Name, reference[o], [.. compositions.Select(c => c[o])], got[o], output.Factor, output.Type == ElementType.Act, output.Columns);
            Checking.Require(errors.OfAllowed <= 1, errors.Where);
            seen = Worse(seen, new Seen(errors.Relative, errors.OfAllowed));
        }
        for (var i = 1; i < (repeat ? Repeats : 2); i++)
        {
            var again = running.Run();
            for (var o = 0; o < again.Length; o++) Checking.Require(again[o].AsSpan().SequenceEqual(bytes[o]),
                $"run {i + 1} gave other bits than the first in {test.Outputs[o].Name}");
        }
        return seen;
    }

    static Seen Worse(Seen a, Seen b) => new(Math.Max(a.Error, b.Error), Math.Max(a.OfAllowed, b.OfAllowed));

    static void Report(KernelJob job, Func<Seen> check)
    {
        var clock = Stopwatch.StartNew();
        var seen = new Seen();
        var problem = Guard(job, () => seen = check());
        Result(job, problem is null, seen.Error, seen.OfAllowed, clock.ElapsedMilliseconds, problem ?? "");
    }

    /// <summary>Null, or what was wrong. A device error ends the process.</summary>
    static string? Guard(KernelJob job, Action check)
    {
        Lines.Write($"start\t{job.Index}");
        try
        {
            check();
            return null;
        }
        catch (Exception e) when (Cause(e) is DeviceException device)
        {
            Result(job, false, 0, 0, 0, device.Message);
            Environment.Exit(3);
            return null;
        }
        catch (Exception e)
        {
            return Cause(e) is CheckException check2 ? check2.Message : Cause(e).ToString().ReplaceLineEndings(" ");
        }
    }

    static Exception Cause(Exception e) => e is AggregateException several ? several.GetBaseException() : e;

    static void Result(KernelJob job, bool passed, double error, double ofAllowed, long milliseconds, string problem) =>
        Lines.Write(FormattableString.Invariant($"result\t{job.Index}\t{(passed ? "ok" : "FAIL")}\t{error:G3}\t{ofAllowed:F2}\t{milliseconds}\t{problem}"));
}
