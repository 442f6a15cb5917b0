using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// Products against fp64 on the CPU: every layout, both output types, with and without accumulation, odd and aligned pitches, 1, 63 and 4,097 rows. D is poisoned, what lies between its rows must stay,
/// and a second run must give the same bits.
/// </summary>
static class GemmCheck
{
    internal static string Run()
    {
        using var device = Checking.Open();
        Checking.Require(device.Gemm == "cublaslt", "cuBLASLt is not used on this machine: " + CudaFacts.Collect().CublasLt.Problem);
        double worst = 0;
        var products = 0;
        foreach (var layout in Enum.GetValues<GemmLayout>())
            foreach (var f32 in new[] { false, true })
                foreach (var accumulate in new[] { false, true })
                    foreach (var (m, n, k) in new[] { (1, 120, 264), (63, 120, 264), (4097, 120, 264), (4097, 16, 1000), (16, 1000, 4097), (129, 8, 64) })
                        foreach (var odd in new[] { true, false })
                        {
                            worst = Math.Max(worst, One(device, layout, f32, accumulate, m, n, k, odd));
                            products++;
                        }
        return $"{products} products, worst error {worst:F2} of what is allowed; {Speed(device, GemmLayout.Nt, 8192, 3584, 3584)}, {Speed(device, GemmLayout.Nn, 8192, 3584, 14336)}, {Speed(device, GemmLayout.Tn, 16, 3584, 8192)}";
    }

    /// <summary>Largest error as a part of the allowed one.</summary>
    internal static double One(CudaDevice device, GemmLayout layout, bool f32, bool accumulate, int m, int n, int k, bool odd, int runs = 2)
    {
        var what = $"{layout} {m}x{n}x{k} {(f32 ? "f32" : "act")}{(accumulate ? " accumulate" : "")}{(odd ? " odd pitches" : "")}";
        var random = new Random(m + 31 * (n + 31 * (k + 31 * ((int)layout * 4 + (f32 ? 2 : 0) + (accumulate ? 1 : 0)))));
        var (aRows, aColumns) = layout == GemmLayout.Tn ? (k, m) : (m, k);
        var (bRows, bColumns) = layout == GemmLayout.Nt ? (n, k) : (k, n);
        int aPitch = Pitch(aColumns, odd, 1), bPitch = Pitch(bColumns, odd, 3), dPitch = Pitch(n, odd, 5);
        var (a, aAddress) = Operand(device, random, aRows * aPitch);
        var (b, bAddress) = Operand(device, random, bRows * bPitch);
        const float alpha = 0.75f;

        // Without accumulation D starts as NaN: nothing of it may be read.
        var start = Checking.Random(random, m * dPitch);
        var before = new float[m * dPitch];
        var bytes = new byte[m * dPitch * (f32 ? 4 : 2)];
        for (var i = 0; i < start.Length; i++)
        {
            var value = accumulate || i % dPitch >= n ? start[i] : float.NaN;
            if (f32) BitConverter.TryWriteBytes(bytes.AsSpan(4 * i), before[i] = value);
            else
            {
                var elem = Checking.ToElem(value, device.Act);
                BitConverter.TryWriteBytes(bytes.AsSpan(2 * i), elem);
                before[i] = Checking.FromElem(elem, device.Act);
            }
        }
        var d = device.Upload<byte>(bytes);
        using var program = device.Prepare([new BoundGemm(what, 0, 0, 0, layout, f32 ? ElementType.F32 : ElementType.Act, d, dPitch, aAddress, aPitch, bAddress, bPitch, m, n, k, alpha, accumulate)]);
        program.Run();
        var first = device.Download<byte>(d, bytes.Length);
        for (var run = 2; run <= runs; run++)
        {
            device.Upload(d, bytes);
            program.Run();
            Checking.Require(device.Download<byte>(d, bytes.Length).AsSpan().SequenceEqual(first), $"{what}: run {run} gave other bits than the first");
        }

        var worst = new double[m];
        Parallel.For(0, m, row =>
        {
            for (var column = 0; column < dPitch; column++)
            {
                var at = row * dPitch + column;
                var got = f32 ? BitConverter.ToSingle(first, 4 * at) : Checking.FromElem(BitConverter.ToUInt16(first, 2 * at), device.Act);
                if (column >= n)
                {
                    Checking.Require(got == before[at], $"{what}: D[{row},{column}] lies between the rows and was {before[at]}, now {got}");
                    continue;
                }
                double sum = 0, size = 0;
                for (var i = 0; i < k; i++)
                {
                    var product = (double)(layout == GemmLayout.Tn ? a[i * aPitch + row] : a[row * aPitch + i]) * (layout == GemmLayout.Nt ? b[column * bPitch + i] : b[i * bPitch + column]);
                    sum += product;
                    size += Math.Abs(product);
                }
                var expected = alpha * sum + (accumulate ? before[at] : 0);
                // fp32 accumulation errs by a few 2^-24 of the sum of magnitudes (tensor cores cut off rather than round), rounding to 16 bits by half of 2^-8 (bf16) of the result.
                // cuBLASLt may round the product before it adds the old value: schedules accumulate in fp32 only, where that costs nothing.
                var roundings = accumulate ? Math.Abs(expected) + Math.Abs(alpha * sum) : Math.Abs(expected);
                var allowed = 4e-6 * size + (f32 ? 1e-7 : device.Act == ActType.Bf16 ? 1 / 256.0 : 1 / 2048.0) * roundings + 1e-7;
                var error = Math.Abs(got - expected) / allowed;
                Checking.Require(error <= 1, $"{what}: D[{row},{column}] is {got}, expected {expected}");
                worst[row] = Math.Max(worst[row], error);
            }
        });
        foreach (var address in new[] { aAddress, bAddress, d }) device.Free(address);
        return worst.Max();
    }

    static int Pitch(int columns, bool odd, int more) => odd ? columns + more + (columns + more + 1) % 2 : (columns + 15) / 8 * 8;

    static (float[] Values, nint Address) Operand(CudaDevice device, Random random, int count)
    {
        var elems = Checking.Random(random, count).Select(v => Checking.ToElem(v, device.Act)).ToArray();
        return ([.. elems.Select(e => Checking.FromElem(e, device.Act))], device.Upload<ushort>(elems));
    }

    static string Speed(CudaDevice device, GemmLayout layout, int m, int n, int k)
    {
        var (aCount, bCount) = ((long)m * k, (long)n * k);
        nint a = device.Allocate(2 * aCount), b = device.Allocate(2 * bCount), d = device.Allocate(4L * m * n);
        foreach (var (address, count) in new[] { (a, aCount), (b, bCount) })
            for (long done = 0; done < count; done += 1 << 24)
                device.Upload<ushort>(address + (nint)(2 * done), [.. Checking.Random(new Random(3), (int)Math.Min(1 << 24, count - done)).Select(v => Checking.ToElem(v, device.Act))]);
        var gemm = new BoundGemm("speed", 0, 0, 0, layout, layout == GemmLayout.Tn ? ElementType.F32 : ElementType.Act, d, n, a, layout == GemmLayout.Tn ? m : k, b, layout == GemmLayout.Nt ? k : n, m, n, k, 1, false);
        using var program = device.Prepare(Enumerable.Repeat<BoundLaunch>(gemm, 20).ToArray());
        program.Run();
        IReadOnlyList<double> times = [.. program.Time().Order()];
        foreach (var address in new[] { a, b, d }) device.Free(address);
        var median = times[times.Count / 2];
        return $"{layout} {m}x{n}x{k} {median * 1000:F0} us = {2.0 * m * n * k / median / 1e9:F0} TFLOP/s";
    }

    static void Upload<T>(this CudaDevice device, nint address, T[] values) where T : unmanaged =>
        device.Upload(address, System.Runtime.InteropServices.MemoryMarshal.AsBytes<T>(values));
}
