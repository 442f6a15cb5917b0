using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>Median time of 20 launches at 8,192 tokens, one document (cross entropy: 1,024 rows). Arguments hold small equal numbers: only the time is looked at.</summary>
static class KernelTimes
{
    const int Tokens = 8192, LogitsRows = 1024, Launches = 20;

    internal static int Run(IReadOnlyList<KernelJob> jobs)
    {
        Elem.Act = jobs[0].Act;
        var compiler = KernelCompiler.Default();
        foreach (var onTarget in jobs.GroupBy(j => j.Target))
        {
            using var device = CudaDevice.Create(onTarget.Key, compiler: compiler);
            foreach (var job in onTarget.Where(j => j.Kind is not ("optimizer" or RankKernel.Kind or KernelInfo.LabelRows or KernelInfo.GemmWithEpilogue)))
            {
                device.Load(new TargetKernels(onTarget.Key, [job.Source]));
                var addresses = new List<nint>();
                nint Allocate(long bytes)
                {
                    addresses.Add(device.Allocate(bytes));
                    device.Fill(addresses[^1], 0x3c, bytes);
                    return addresses[^1];
                }
                var (launch, size) = job.Kind switch
                {
                    "gemm" or KernelInfo.GemmOnTma => Gemm(job, Allocate),
                    "cross_entropy" => CrossEntropy(device, job, Allocate),
                    _ => Kernel(device, job, Allocate),
                };
                using var program = device.Prepare([.. Enumerable.Repeat(launch, Launches)]);
                program.Run();
                var times = program.Time().Order().ToArray();
                var milliseconds = times[times.Length / 2];
                Lines.Write(FormattableString.Invariant($"time\t{job.Index}\t{1000 * milliseconds:F1}\t{launch.Bytes / milliseconds / 1e6:F0}\t{launch.Flops / milliseconds / 1e9:F1}\t{size}"));
                foreach (var address in addresses) device.Free(address);
            }
        }
        return 0;
    }

    static (BoundLaunch, string) Kernel(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var shapes = KernelCases.Shapes(job.Variant, Tokens);
        var launch = KernelCases.Launch(job.Variant, job.Name);
        var batch = MicroBatch.Pack(Tokens, [(new int[Tokens], new int[Tokens])]);
        // Views of one tensor share a buffer, as in a step.
        var buffers = launch.Arguments.Select(v => v.Tensor).Distinct().ToDictionary(t => t, t => shapes[t].Tensor.Kind == TensorKind.Weight && shapes[t].IsMatrix ? allocate(2L * shapes[t].Pitch) : allocate(shapes[t].Bytes));
        foreach (var (name, address) in buffers)
            if (shapes[name].Tensor.Type == ElementType.I32) device.Upload(address, MemoryMarshal.AsBytes(batch[name].AsSpan()));
        var cost = LaunchCost.Of(shapes, launch, batch.AttendedPairs);
        var arguments = launch.Arguments.Select(v => (Layout: shapes[v.Tensor], At: shapes.Resolve(v))).Select(a => new BoundArgument(buffers[a.At.Tensor] + a.At.Column * a.Layout.ElementBytes, a.Layout.IsMatrix ? a.Layout.Pitch : 0)).ToArray();
        return (new BoundKernel(job.Name, 0, cost.Flops, cost.Bytes, job.Name, arguments, Tokens), $"T={Tokens}");
    }

    static (BoundLaunch, string) CrossEntropy(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var test = KernelCases.Of(job.Variant, job.Source.Info, new([LogitsRows / 8]), 1);
        int vocabulary = test.Arguments[0].Columns, pitch = test.Arguments[0].Pitch;
        nint logits = allocate(2L * LogitsRows * pitch), loss = allocate(4 * LogitsRows), labels = allocate(4 * LogitsRows), inverse = allocate(4);
        device.Fill(labels, 0, 4 * LogitsRows);
        BoundArgument[] arguments = [new(logits, pitch), new(loss, 0), new(labels, 0), new(inverse, 0)];
        return (new BoundKernel(job.Name, 0, 0, (4L * vocabulary + 8) * LogitsRows, job.Name, arguments, LogitsRows), $"{LogitsRows} rows");
    }

    static (BoundLaunch, string) Gemm(KernelJob job, Func<long, nint> allocate)
    {
        var (skinnyM, skinnyN) = (job.Name.EndsWith("skinny_m", StringComparison.Ordinal), job.Name.EndsWith("skinny_n", StringComparison.Ordinal));
        var layout = job.Name.Contains("_nt", StringComparison.Ordinal) ? GemmLayout.Nt : job.Name.Contains("_nn", StringComparison.Ordinal) ? GemmLayout.Nn : GemmLayout.Tn;
        var (f32, accumulate) = (job.Name.Contains("_f32", StringComparison.Ordinal), job.Name.Contains("_add", StringComparison.Ordinal));
        var (m, n, k) = layout == GemmLayout.Tn ? (skinnyM ? 16 : 3584, skinnyN ? 16 : 3584, Tokens) : (skinnyM ? 16 : Tokens, skinnyN ? 16 : 3584, 3584);
        var (aRows, aColumns) = layout == GemmLayout.Tn ? (k, m) : (m, k);
        var (bRows, bColumns) = layout == GemmLayout.Nt ? (n, k) : (k, n);
        nint d = allocate((f32 ? 4L : 2L) * m * n), a = allocate(2L * aRows * aColumns), b = allocate(2L * bRows * bColumns);
        var bytes = 2L * (aRows * aColumns + (long)bRows * bColumns) + (f32 ? 4L : 2L) * m * n;
        return (new BoundGemm(job.Name, 0, 2L * m * n * k, bytes, layout, f32 ? ElementType.F32 : ElementType.Act, d, n, a, aColumns, b, bColumns, m, n, k, 1, accumulate), $"{m}x{n}x{k}");
    }
}
