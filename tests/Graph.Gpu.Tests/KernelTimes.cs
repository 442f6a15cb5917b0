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

/// <summary>Median time of 20 launches at 8,192 tokens, one document (cross entropy: 1,024 rows). Arguments hold small equal numbers: only the time is looked at. G and dB are made by two kernels, and either has the time of both.</summary>
static class KernelTimes
{
    const int Tokens = 8192, LogitsRows = 1024, Repeats = 20;

    /// <summary>The optimizer's kernels and those that move rows take microseconds, whatever their text.</summary>
    internal static bool Takes(KernelJob job) => job.Kind is not ("optimizer" or KernelInfo.LabelRows);

    internal static int Run(IReadOnlyList<KernelJob> jobs)
    {
        Elem.Act = jobs[0].Act;
        var compiler = KernelCompiler.Default();
        foreach (var onTarget in jobs.GroupBy(j => j.Target))
        {
            using var device = CudaDevice.Create(onTarget.Key, compiler: compiler);
            foreach (var job in onTarget.Where(Takes))
            {
                device.Load(new TargetKernels(onTarget.Key, [job.Source, .. Models.Find(job.Variant).Kernels(job.Target).Kernels.Where(k => k.Info.Name != job.Name && Partners(job).Contains(k.Info.Name))]));
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
                    "cross_entropy" or KernelInfo.CrossEntropyFromSums => CrossEntropy(device, job, Allocate),
                    KernelInfo.GemmWithEpilogue when job.IsOfRowSums => Logits(job, Allocate),
                    KernelInfo.GemmWithEpilogue => Epilogue(device, job, Allocate),
                    RankKernel.Kind => RankProducts(job, Allocate),
                    _ => Kernel(device, job, Allocate),
                };
                // Else the time would be that of the launches which the kernel stands for.
                Checking.Require(job.Kind != KernelInfo.GemmWithEpilogue || device.Fuses(launch), $"{job.Name}: the device runs other kernels instead");
                using var program = device.Prepare([.. Enumerable.Repeat(launch, Repeats)]);
                program.Run();
                var times = program.Time().Order().ToArray();
                var (milliseconds, cost) = (times[times.Length / 2], device.AsRun(launch));
                Lines.Write(FormattableString.Invariant($"time\t{job.Index}\t{1000 * milliseconds:F1}\t{cost.Bytes / milliseconds / 1e6:F0}\t{cost.Flops / milliseconds / 1e9:F1}\t{size}"));
                foreach (var address in addresses) device.Free(address);
            }
        }
        return 0;
    }

    /// <summary>Kernels without which a device does not take the one that is timed.</summary>
    static string[] Partners(KernelJob job) => job.Kind switch
    {
        KernelInfo.GemmWithEpilogue when job.IsOfRowSums => [GemmKernel.FromSums(KernelCases.Head(job.Variant).Kernel)],
        RankKernel.Kind => [.. RankKernel.Ranks.Select(r => new[] { RankKernel.Gradients(r), RankKernel.Sum(r) }).Single(pair => pair.Contains(job.Name))],
        _ => [],
    };

    static (BoundLaunch, string) Kernel(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var shapes = KernelCases.Shapes(job.Variant, Tokens);
        var launch = KernelCases.Launch(job.Variant, KernelCases.NameOf(job.Source.Info));
        var batch = MicroBatch.Pack(Tokens, [(new int[Tokens], new int[Tokens])]);
        // Views of one tensor share a buffer, as in a step.
        var buffers = launch.Arguments.Select(v => v.Tensor).Distinct().ToDictionary(t => t, t => shapes[t].Tensor.Kind == TensorKind.Weight && shapes[t].IsMatrix ? allocate(2L * shapes[t].Pitch) : allocate(shapes[t].Bytes));
        foreach (var (name, address) in buffers)
            if (shapes[name].Tensor.Type == ElementType.I32) device.Upload(address, MemoryMarshal.AsBytes(batch[name].AsSpan()));
        var cost = LaunchCost.Of(shapes, launch, batch.AttendedPairs);
        var arguments = launch.Arguments.Select(v => (Layout: shapes[v.Tensor], At: shapes.Resolve(v))).Select(a => new BoundArgument(buffers[a.At.Tensor] + a.At.Column * a.Layout.ElementBytes, a.Layout.IsMatrix ? a.Layout.Pitch : 0)).ToArray();
        var bound = new BoundKernel(job.Name, 0, cost.Flops, cost.Bytes, launch.Kernel, arguments, Tokens);
        return (job.Kind != KernelInfo.DqFromDs ? bound : ScoreGradients.Bind(shapes, launch, bound, allocate(ScoreGradients.Lifetime(shapes, launch, 1, Tokens).Bytes), Tokens, batch.AttendedPairs(launch.Window)), $"T={Tokens}");
    }

    static (BoundLaunch, string) CrossEntropy(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var (head, vocabulary, _) = Head(job);
        nint logits = allocate(2L * LogitsRows * vocabulary), loss = allocate(4 * LogitsRows), labels = allocate(4 * LogitsRows), inverse = allocate(4);
        device.Fill(labels, 0, 4 * LogitsRows);
        BoundArgument[] arguments = [new(logits, vocabulary), new(loss, 0), new(labels, 0), new(inverse, 0)];
        var launch = new BoundKernel(job.Name, 0, 0, (4L * vocabulary + 8) * LogitsRows, head.Kernel, arguments, LogitsRows);
        return (job.Kind == "cross_entropy" ? launch : launch with { Sums = Sums(vocabulary, allocate) }, $"{LogitsRows} rows");
    }

    static (BoundLaunch, string) Logits(KernelJob job, Func<long, nint> allocate)
    {
        var (head, n, k) = Head(job);
        var (m, sums) = (LogitsRows, Sums(n, allocate));
        var product = new BoundGemm(job.Name, 0, 2L * m * n * k, 2L * ((long)m * k + (long)n * k + (long)m * n), GemmLayout.Nt, ElementType.Act, allocate(2L * m * n), n, allocate(2L * m * k), k, allocate(2L * n * k), k, m, n, k, 1, false);
        return (product with { Sums = new RowSums(head.Kernel, sums.Address, sums.Pitch) }, $"{m}x{n}x{k}");
    }

    static BoundArgument Sums(int vocabulary, Func<long, nint> allocate) => new(allocate(4L * LogitsRows * GemmKernel.RowSums(vocabulary)), GemmKernel.RowSums(vocabulary));

    static (CrossEntropyLaunch Head, int Vocabulary, int Hidden) Head(KernelJob job)
    {
        var head = KernelCases.Head(job.Variant);
        var table = KernelCases.Shapes(job.Variant, 1).Resolve(head.Table);
        return (head, table.Rows, table.Columns);
    }

    static (BoundLaunch, string) Epilogue(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        var (product, row) = EpilogueCheck.Pair(job);
        var (shapes, bind) = Binding(job, allocate, device);
        var gemm = (BoundGemm)bind(product);
        return (GemmEpilogues.Bind(shapes, product, row, gemm, (BoundKernel)bind(row), neededD: false) with { Label = job.Name }, $"{gemm.M}x{gemm.N}x{gemm.K}");
    }

    // The group with the widest dY.
    static (BoundLaunch, string) RankProducts(KernelJob job, Func<long, nint> allocate)
    {
        var rank = RankKernel.Ranks.Single(r => job.Name == RankKernel.Gradients(r) || job.Name == RankKernel.Sum(r));
        var (shapes, bind) = Binding(job, allocate, null, rank);
        var launches = KernelCases.Launches(job.Variant);
        return RankGradients.Pairs(shapes, launches).Select(p => (G: launches[p.Value], GradB: (GemmLaunch)launches[p.Key])).OrderByDescending(p => shapes.Resolve(p.GradB.A).Columns).Take(1)
            .Select(p => ((BoundLaunch)RankGradients.Bind(shapes, (BoundGemm)bind(p.G), (BoundGemm)bind(p.GradB), p.GradB), $"T={Tokens}, {shapes.Resolve(p.GradB.A).Columns} columns")).Single();
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
