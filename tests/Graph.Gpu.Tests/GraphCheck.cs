using System;
using System.Diagnostics;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// A fill, two products of which the second accumulates, a copy and a kernel as one CUDA graph: replayed twice it gives the bits of the same launches one by one.
/// </summary>
static class GraphCheck
{
    internal static string Run()
    {
        using var device = Checking.Open();
        device.Load(new TargetKernels(device.Info.Target, NvrtcCheck.Sources));
        const int m = 257, n = 384, k = 512, count = m * n;
        var random = new Random(4);
        nint Elems(int size) => device.Upload<ushort>(Checking.Random(random, size).Select(v => Checking.ToElem(v, device.Act)).ToArray());
        nint a = Elems(m * k), b = Elems(n * k), d = device.Allocate(4L * count), copy = device.Allocate(4L * count), sum = device.Allocate(4L * count);
        var added = Checking.Random(random, count);
        var addend = device.Upload<float>(added);
        BoundGemm Gemm(float alpha, bool accumulate) => new("product", 0, 0, 0, GemmLayout.Nt, ElementType.F32, d, n, a, k, b, k, m, n, k, alpha, accumulate);
        BoundLaunch[] launches =
        [
            new BoundFill("d", d, 0xff, 4L * count), Gemm(1, false), Gemm(0.5f, true), new BoundCopy("copy", copy, d, 4L * count),
            // Columns 3 to 8 of all rows but the last.
            new BoundZeros("zeros", 0, copy + 4 * 3, 4L * n, 4 * 5, m - 1),
            new BoundKernel("sum", 0, 0, 0, "vector_add", [new(sum, 0), new(copy, 0), new(addend, 0)], count),
        ];
        using var program = device.Prepare(launches);
        Checking.Require(program.Time().Count == launches.Length, "not every launch was timed");
        var direct = device.Download<float>(sum, count);
        Checking.Require(direct.All(float.IsFinite) && direct.Any(v => Math.Abs(v) > 1), "the launches one by one left no sums");
        for (var i = 0; i < count; i++)
            Checking.Require((i / n < m - 1 && i % n is >= 3 and < 8) == (direct[i] == added[i]),
                $"element {i % n} of row {i / n} is {direct[i]}, and {added[i]} was added to {(i / n < m - 1 && i % n is >= 3 and < 8 ? "zeros" : "a product")}");
        for (var replay = 0; replay < 2; replay++)
        {
            foreach (var address in new[] { copy, sum }) device.Fill(address, 0xff, 4L * count);
            program.Run();
            var replayed = device.Download<float>(sum, count);
            for (var i = 0; i < count; i++)
                Checking.Require(BitConverter.SingleToInt32Bits(replayed[i]) == BitConverter.SingleToInt32Bits(direct[i]),
                    $"replay {replay}: element {i} is {replayed[i]}, one by one it was {direct[i]}");
        }

        // The start of the graph lies outside a span: it is not more than the same launches one by one.
        var (span, oneByOne) = (program.Span(), program.Time().Sum());
        Checking.Require(span > 0 && span < 2 * oneByOne + 1, $"a span is {span} ms, the launches one by one take {oneByOne} ms");
        Checking.Require(device.Download<float>(sum, count).AsSpan().SequenceEqual(direct), "a measured run gave other values");

        // 2,000 kernels, as many as a step of a large model: what starting them costs the host.
        using var step = device.Prepare([.. Enumerable.Repeat(launches[^1], 2000)]);
        step.Run();
        device.Synchronize();
        var clock = Stopwatch.StartNew();
        step.Run();
        var started = clock.Elapsed.TotalMilliseconds;
        device.Synchronize();
        // What a plan keeps free for graphs is enough, for a few launches and for as many as tiles of a long document have.
        var taken = new[] { 100, 2000, 20000 }.Select(count => Taken(device, launches[^1], count)).ToArray();
        return $"{string.Join(", ", taken)}; replays equal the direct run; span {span:F3} ms, one by one {oneByOne:F3} ms; "
            + $"2,000 kernels started in {started:F2} ms of host time, done in {clock.Elapsed.TotalMilliseconds:F1} ms";
    }
    static string Taken(CudaDevice device, BoundLaunch launch, int count)
    {
        var before = device.FreeBytes;
        using var program = device.Prepare([.. Enumerable.Repeat(launch, count)]);
        program.Run();
        device.Synchronize();
        var (bytes, planned) = (before - device.FreeBytes, Footprint.OfGraph(count));
        Checking.Require(bytes <= planned, $"a graph of {count} launches took {bytes} bytes, planned are {planned}");
        return $"{count} launches took {bytes} bytes, planned {planned}";
    }
}
