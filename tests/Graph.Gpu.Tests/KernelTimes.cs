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

/// <summary>
/// Median time of 20 launches at 8,192 tokens, one document (cross entropy: 1,024 rows). Arguments hold small equal
/// numbers: only the time is looked at. G and dB are made by two kernels, and either has the time of both.
/// </summary>
static class KernelTimes
{
    const int Tokens = 8192, LogitsRows = 1024, Repeats = 20;

    /// <summary>The optimizer's kernels and those that move rows take microseconds, whatever their text.</summary>
    internal static bool Takes(KernelJob job) => job.Kind is not (KernelKind.Optimizer or KernelKind.LabelRows);

    internal static int Run(IReadOnlyList<KernelJob> jobs)
    {
        Elem.Act = jobs[0].Act;
        var compiler = KernelCompiler.Default();
        foreach (var onTarget in jobs.GroupBy(j => j.Target))
        {
            using var device = CudaDevice.Create(onTarget.Key, compiler: compiler);
            foreach (var job in onTarget.Where(Takes))
            {
                device.Load(new TargetKernels(onTarget.Key, [job.Source, .. job.Sources(info => info.Name != job.Name && IsPartner(job, info))]));
                var addresses = new List<nint>();
                nint Allocate(long bytes)
                {
                    addresses.Add(device.Allocate(bytes));
                    device.Fill(addresses[^1], 0x3c, bytes);
                    return addresses[^1];
                }
                var (launch, size) = job.Kind switch
                {
                    KernelKind.Gemm or KernelKind.GemmTma => Gemm(job, Allocate),
                    KernelKind.CrossEntropy or KernelKind.CrossEntropyFromSums => CrossEntropy(device, job, Allocate),
                    KernelKind.GemmEpilogue when job.IsOfRowSums => Logits(job, Allocate),
                    KernelKind.GemmEpilogue => Epilogue(device, job, Allocate),
                    KernelKind.RankGradients or KernelKind.RankSum => RankProducts(job, Allocate),
                    KernelKind.Dequantize => Nf4Check.Timed(device, job, Allocate),
                    _ => Kernel(device, job, Allocate),
                };
                // Else the time would be that of the launches which the kernel stands for.
                Checking.Require(job.Kind != KernelKind.GemmEpilogue || device.Fuses(launch), $"{job.Name}: the device runs other kernels instead");
                using var program = device.Prepare([.. Enumerable.Repeat(launch, Repeats)]);
                program.Run();
                var times = program.Time().Order().ToArray();
                var (milliseconds, cost) = (times[times.Length / 2], device.AsRun(launch));
                Lines.Write(FormattableString.Invariant(
                    $"time\t{job.Index}\t{1000 * milliseconds:F1}\t{cost.Bytes / milliseconds / 1e6:F0}\t{cost.Flops / milliseconds / 1e9:F1}\t{size}"));
                foreach (var address in addresses) device.Free(address);
            }
        }
        return 0;
    }

    /// <summary>Kernels without which a device does not take the one that is timed.</summary>
    static bool IsPartner(KernelJob job, KernelInfo other) => job.Kind switch
    {
        KernelKind.GemmEpilogue when job.IsOfRowSums => other.Name == KernelCases.Head(job.Variant).Sums!.Kernel,
        KernelKind.RankGradients or KernelKind.RankSum => other.Rank == job.Source.Info.Rank,
        _ => false,
    };

    static (BoundLaunch, string) Kernel(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var shapes = KernelCases.Shapes(job.Variant, Tokens);
        var launch = KernelCases.Launch(job.Variant, KernelCases.NameOf(job.Variant, job.Source.Info));
        var batch = MicroBatch.Pack(Tokens, [(new int[Tokens], new int[Tokens])]);
        // Views of one tensor share a buffer, as in a step.
        var buffers = launch.Arguments.Select(v => v.Tensor).Distinct()
            .ToDictionary(t => t, t => shapes[t].Tensor.Kind == TensorKind.Weight && shapes[t].IsMatrix ? allocate(2L * shapes[t].Pitch) : allocate(shapes[t].Bytes));
        foreach (var (name, address) in buffers)
            if (shapes[name].Tensor.Type == ElementType.I32) device.Upload(address, MemoryMarshal.AsBytes(batch[name].AsSpan()));
        var cost = LaunchCost.Of(shapes, launch, batch.AttendedPairs);
        var arguments = launch.Arguments.Select(v => (Layout: shapes[v.Tensor], At: shapes.Resolve(v)))
            .Select(a => new BoundArgument(buffers[a.At.Tensor] + a.At.Column * a.Layout.ElementBytes, a.Layout.IsMatrix ? a.Layout.Pitch : 0)).ToArray();
        var bound = new BoundKernel(job.Name, 0, cost.Flops, cost.Bytes, launch.Kernel, arguments, Tokens);
        if (job.Kind != KernelKind.AttentionDqFromDs) return (bound, $"T={Tokens}");
        var kept = allocate(ScoreGradients.Lifetime(shapes, launch, 1, Tokens).Bytes);
        return (ScoreGradients.Bind(shapes, KernelCases.FromDs(job.Variant, job.Name), launch, bound, kept, Tokens, batch.AttendedPairs(launch.Attention!.Window)), $"T={Tokens}");
    }

    static (BoundLaunch, string) CrossEntropy(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var (head, vocabulary, _) = Head(job);
        nint logits = allocate(2L * LogitsRows * vocabulary), loss = allocate(4 * LogitsRows), labels = allocate(4 * LogitsRows), inverse = allocate(4);
        device.Fill(labels, 0, 4 * LogitsRows);
        BoundArgument[] arguments = [new(logits, vocabulary), new(loss, 0), new(labels, 0), new(inverse, 0)];
        var launch = new BoundKernel(job.Name, 0, 0, (4L * vocabulary + 8) * LogitsRows, head.Kernel, arguments, LogitsRows);
        return (job.Kind == KernelKind.CrossEntropy ? launch : launch with { Sums = Sums(head, vocabulary, allocate) }, $"{LogitsRows} rows");
    }

    static (BoundLaunch, string) Logits(KernelJob job, Func<long, nint> allocate)
    {
        var (head, n, k) = Head(job);
        const int m = LogitsRows;
        var product = new BoundGemm(job.Name, 0, 2L * m * n * k, 2L * ((long)m * k + (long)n * k + (long)m * n), GemmLayout.Nt, ElementType.Act, allocate(2L * m * n),
            n, allocate(2L * m * k), k, allocate(2L * n * k), k, m, n, k, 1, false);
        return (product with { Sums = Sums(head, n, allocate) }, $"{m}x{n}x{k}");
    }

    static RowSums Sums(CrossEntropyLaunch head, int vocabulary, Func<long, nint> allocate) =>
        new(head.Sums!, allocate(4L * LogitsRows * GemmKernel.RowSums(vocabulary)), GemmKernel.RowSums(vocabulary));

    static (CrossEntropyLaunch Head, int Vocabulary, int Hidden) Head(KernelJob job)
    {
        var head = KernelCases.Head(job.Variant);
        var table = KernelCases.Shapes(job.Variant, 1).Resolve(head.Table);
        return (head, table.Rows, table.Columns);
    }

    static (BoundLaunch, string) Epilogue(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var (fusion, product, row) = EpilogueCheck.Pair(job);
        var (shapes, bind) = Binding(job, allocate, device);
        var gemm = (BoundGemm)bind(product);
        return (GemmEpilogues.Bind(shapes, fusion, product, row, gemm,
            (BoundKernel)bind(row), neededD: false) with { Label = job.Name }, $"{gemm.M}x{gemm.N}x{string.Join("+", gemm.Segments.Select(s => s.K))}");
    }

    // The stack of adapters with the widest dY.
    static (BoundLaunch, string) RankProducts(KernelJob job, Func<long, nint> allocate)
    {
        var (shapes, bind) = Binding(job, allocate, null, job.Source.Info.Rank);
        int Columns(GemmLaunch gradB) => shapes.Resolve(gradB.Segments[0].A).Columns;
        var (g, gradB) = KernelCases.ScheduleOf(job.Variant).Fusions.OfType<RankGradientsFusion>().Select(f => KernelCases.Pair(job.Variant, f))
            .Select(p => (p.First, (GemmLaunch)p.Second)).MaxBy(p => Columns(p.Item2));
        return (RankGradients.Bind(shapes, (BoundGemm)bind(g), (BoundGemm)bind(gradB), gradB), $"T={Tokens}, {Columns(gradB)} columns");
    }

    // Views of one tensor share a buffer, as in a step.
    static (Shapes Shapes, Func<Launch, BoundLaunch> Bind) Binding(KernelJob job, Func<long, nint> allocate, CudaDevice? device, int rank = 8)
    {
        var schedule = KernelCases.ScheduleOf(job.Variant);
        var shapes = new Shapes(schedule, Tokens, RankTable.Create(schedule, _ => rank), Elem.Act);
        var batch = MicroBatch.Pack(Tokens, [(new int[Tokens], new int[Tokens])]);
        var (binder, buffers) = (new LaunchBinder(shapes, 1, LogitsRows, batch.AttendedPairs), new Dictionary<string, nint>());
        return (shapes, launch => binder.Bind(launch, Address).Single());

        nint Address(string tensor)
        {
            if (buffers.TryGetValue(tensor, out var known)) return known;
            var address = buffers[tensor] = allocate(shapes[tensor].Bytes);
            if (shapes[tensor].Tensor.Type == ElementType.I32) device!.Upload(address, MemoryMarshal.AsBytes(batch[tensor].AsSpan()));
            return address;
        }
    }

    static (BoundLaunch, string) Gemm(KernelJob job, Func<long, nint> allocate)
    {
        var (layout, f32, accumulate, tile) = job.Source.Info.Gemm!.Value;
        // 2B's width is what a narrow tile is for.
        var (m, n, k) = layout == GemmLayout.Tn ? (tile == TileShape.SkinnyM ? 16 : 3584, tile == TileShape.SkinnyN ? 16 : 3584, Tokens)
            : (tile == TileShape.SkinnyM ? 16 : Tokens, tile switch { TileShape.SkinnyN => 16, TileShape.Narrow => 2304, _ => 3584 }, 3584);
        var (aRows, aColumns) = layout == GemmLayout.Tn ? (k, m) : (m, k);
        var (bRows, bColumns) = layout == GemmLayout.Nt ? (n, k) : (k, n);
        nint d = allocate((f32 ? 4L : 2L) * m * n), a = allocate(2L * aRows * aColumns), b = allocate(2L * bRows * bColumns);
        var bytes = 2L * (aRows * aColumns + (long)bRows * bColumns) + (f32 ? 4L : 2L) * m * n;
        return (new BoundGemm(job.Name, 0, 2L * m * n * k, bytes, layout, f32 ? ElementType.F32 : ElementType.Act, d, n, a, aColumns, b, bColumns, m, n, k, 1,
            accumulate), $"{m}x{n}x{k}");
    }
}
