using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// Products against fp64 on the CPU: every layout, both output types, with and without accumulation, odd and aligned pitches, 1, 63 and 4,097 rows, one and two
/// k-segments. D is poisoned, and so is all that lies between and behind the operands' rows; what lies between D's rows and behind them must stay, and a second
/// run must give the same bits.
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
                            // The library adds the second segment to the first one's D.
                            foreach (int[] depths in new[] { [k], new[] { k, 16 } }.Take(k == 264 ? 2 : 1))
                            {
                                worst = Math.Max(worst, One(device, layout, f32, accumulate, m, n, depths, odd, Sum.Apart));
                                products++;
                            }
                        }
        return $"{products} products, worst error {worst:F2} of what is allowed; {Speed(device, GemmLayout.Nt, 8192, 3584, 3584)}, "
            + $"{Speed(device, GemmLayout.Nn, 8192, 3584, 14336)}, {Speed(device, GemmLayout.Tn, 16, 3584, 8192)}";
    }

    /// <summary>Whether segments are one fp32 accumulation, or each is added to the rounded D of those before.</summary>
    internal enum Sum { One, Apart }

    /// <summary>Rows of op(A) and columns of op(B) with k side by side, so that an element of D is one dot product.</summary>
    sealed record Segment(float[] Rows, float[] Columns, GemmOperands On)
    {
        /// <summary>Σ a·b and Σ |a·b|, in fp64.</summary>
        internal (double Sum, double Size) Dot(int row, int column)
        {
            var a = MemoryMarshal.Cast<float, Vector<float>>(Rows.AsSpan(row * Depth, Depth));
            var b = MemoryMarshal.Cast<float, Vector<float>>(Columns.AsSpan(column * Depth, Depth));
            Vector<double> sum = default, size = default;
            for (var i = 0; i < a.Length; i++)
            {
                Vector.Widen(a[i], out var aLow, out var aHigh);
                Vector.Widen(b[i], out var bLow, out var bHigh);
                var (low, high) = (aLow * bLow, aHigh * bHigh);
                sum += low + high;
                size += Vector.Abs(low) + Vector.Abs(high);
            }
            return (Vector.Sum(sum), Vector.Sum(size));
        }

        int Depth => Padded(On.K);
    }

    /// <summary>Zeros fill the last vector.</summary>
    static int Padded(int k) => (k + Vector<float>.Count - 1) / Vector<float>.Count * Vector<float>.Count;

    /// <summary>[count, k] of a matrix whose element (i, at k = j) lies at i·<paramref name="step"/> + j·<paramref name="depthStep"/>.</summary>
    static float[] Gather(float[] matrix, int count, int k, int step, int depthStep)
    {
        var (gathered, depth) = (new float[count * Padded(k)], Padded(k));
        Parallel.For(0, count, i => { for (var j = 0; j < k; j++) gathered[i * depth + j] = matrix[i * step + j * depthStep]; });
        return gathered;
    }

    /// <summary>Largest error as a part of the allowed one.</summary>
    /// <param name="depths">k of every segment.</param>
    internal static double One(CudaDevice device, GemmLayout layout, bool f32, bool accumulate, int m, int n, int[] depths, bool odd, Sum sum, int runs = 2, float alpha = 0.75f)
    {
        var what = $"{layout} {m}x{n}x{string.Join("+", depths)} {(f32 ? "f32" : "act")}{(accumulate ? " accumulate" : "")}"
            + $"{(odd ? " odd pitches" : "")}{(alpha == 0.75f ? "" : FormattableString.Invariant($" alpha {alpha}"))}";
        var random = new Random(m + 31 * (n + 31 * (depths.Sum() + 31 * ((int)layout * 4 + (f32 ? 2 : 0) + (accumulate ? 1 : 0)))));
        var dPitch = Pitch(n, odd, 5);
        var segments = depths.Select(k =>
        {
            var (aRows, aColumns) = layout == GemmLayout.Tn ? (k, m) : (m, k);
            var (bRows, bColumns) = layout == GemmLayout.Nt ? (n, k) : (k, n);
            int aPitch = Pitch(aColumns, odd, 1), bPitch = Pitch(bColumns, odd, 3);
            var (a, aAddress) = Operand(device, random, aRows, aColumns, aPitch);
            var (b, bAddress) = Operand(device, random, bRows, bColumns, bPitch);
            var ofA = layout == GemmLayout.Tn ? Gather(a, m, k, 1, aPitch) : Gather(a, m, k, aPitch, 1);
            var ofB = layout == GemmLayout.Nt ? Gather(b, n, k, bPitch, 1) : Gather(b, n, k, 1, bPitch);
            return new Segment(ofA, ofB, new GemmOperands(aAddress, aPitch, bAddress, bPitch, k));
        }).ToArray();
        // Two rows more than D has.
        var rows = m + 2;

        // Without accumulation D starts as NaN: nothing of it may be read.
        var start = Checking.Random(random, rows * dPitch);
        var before = new float[rows * dPitch];
        var bytes = new byte[rows * dPitch * (f32 ? 4 : 2)];
        for (var i = 0; i < start.Length; i++)
        {
            var value = accumulate || i % dPitch >= n || i / dPitch >= m ? start[i] : float.NaN;
            if (f32) BitConverter.TryWriteBytes(bytes.AsSpan(4 * i), before[i] = value);
            else
            {
                var elem = Checking.ToElem(value, device.Act);
                BitConverter.TryWriteBytes(bytes.AsSpan(2 * i), elem);
                before[i] = Checking.FromElem(elem, device.Act);
            }
        }
        var d = device.Upload<byte>(bytes);
        using var program = device.Prepare([new BoundGemm(what, 0, 0, 0, layout, f32 ? ElementType.F32 : ElementType.Act,
            d, dPitch, m, n, [.. segments.Select(s => s.On)], alpha, accumulate)]);
        program.Run();
        var first = device.Download<byte>(d, bytes.Length);
        for (var run = 2; run <= runs; run++)
        {
            device.Upload(d, bytes);
            program.Run();
            Checking.Require(device.Download<byte>(d, bytes.Length).AsSpan().SequenceEqual(first), $"{what}: run {run} gave other bits than the first");
        }

        var worst = new double[rows];
        Parallel.For(0, rows, row =>
        {
            for (var column = 0; column < dPitch; column++)
            {
                var at = row * dPitch + column;
                var got = f32 ? BitConverter.ToSingle(first, 4 * at) : Checking.FromElem(BitConverter.ToUInt16(first, 2 * at), device.Act);
                if (column >= n || row >= m)
                {
                    if (got != before[at]) throw new CheckException($"{what}: D[{row},{column}] lies beside D and was {before[at]}, now {got}");
                    continue;
                }
                // What is rounded to D's type: the result; apart, also what D holds after each segment.
                double expected = accumulate ? before[at] : 0, size = 0, roundings = 0;
                for (var s = 0; s < segments.Length; s++)
                {
                    var (part, magnitudes) = segments[s].Dot(row, column);
                    size += magnitudes;
                    expected += alpha * part;
                    // cuBLASLt may round the product before it adds the old value: schedules accumulate in fp32 only, where that costs nothing.
                    if (sum == Sum.Apart) roundings += Math.Abs(expected) + (accumulate || s > 0 ? Math.Abs(alpha * part) : 0);
                }
                if (sum == Sum.One) roundings = Math.Abs(expected) + (accumulate ? Math.Abs(expected - before[at]) : 0);
                // fp32 accumulation errs by a few 2^-24 of the sum of magnitudes (tensor cores cut off rather
                // than round), rounding to 16 bits by half of 2^-8 (bf16) of the result.
                var allowed = 4e-6 * Math.Max(1, Math.Abs(alpha)) * size + (f32 ? 1e-7 : device.Act == ActType.Bf16 ? 1 / 256.0 : 1 / 2048.0) * roundings + 1e-7;
                var error = Math.Abs(got - expected) / allowed;
                if (!(error <= 1)) throw new CheckException($"{what}: D[{row},{column}] is {got}, expected {expected}");
                worst[row] = Math.Max(worst[row], error);
            }
        });
        foreach (var address in segments.SelectMany(s => new[] { s.On.A, s.On.B }).Append(d)) device.Free(address);
        return worst.Max();
    }

    static int Pitch(int columns, bool odd, int more) => odd ? columns + more + (columns + more + 1) % 2 : (columns + 15) / 8 * 8;

    // NaN between the rows, and three rows of it behind them.
    static (float[] Values, nint Address) Operand(CudaDevice device, Random random, int rows, int columns, int pitch)
    {
        var elems = Checking.Random(random, (rows + 3) * pitch).Select((v, i) => Checking.ToElem(i / pitch < rows && i % pitch < columns ? v : float.NaN, device.Act)).ToArray();
        return ([.. elems.Select(e => Checking.FromElem(e, device.Act))], device.Upload<ushort>(elems));
    }

    static string Speed(CudaDevice device, GemmLayout layout, int m, int n, int k)
    {
        var (aCount, bCount) = ((long)m * k, (long)n * k);
        nint a = device.Allocate(2 * aCount), b = device.Allocate(2 * bCount), d = device.Allocate(4L * m * n);
        foreach (var (address, count) in new[] { (a, aCount), (b, bCount) })
            for (long done = 0; done < count; done += 1 << 24)
                device.Upload<ushort>(address + (nint)(2 * done),
                    [.. Checking.Random(new Random(3), (int)Math.Min(1 << 24, count - done)).Select(v => Checking.ToElem(v, device.Act))]);
        var gemm = new BoundGemm("speed", 0, 0, 0, layout, layout == GemmLayout.Tn ? ElementType.F32 : ElementType.Act, d, n, a, layout == GemmLayout.Tn ? m : k,
            b, layout == GemmLayout.Nt ? k : n, m, n, k, 1, false);
        using var program = device.Prepare(Enumerable.Repeat<BoundLaunch>(gemm, 20).ToArray());
        program.Run();
        IReadOnlyList<double> times = [.. program.Time().Order()];
        foreach (var address in new[] { a, b, d }) device.Free(address);
        var median = times[times.Count / 2];
        return $"{layout} {m}x{n}x{k} {median * 1000:F0} us = {2.0 * m * n * k / median / 1e9:F0} TFLOP/s";
    }

    static void Upload<T>(this CudaDevice device, nint address, T[] values) where T : unmanaged =>
        device.Upload(address, MemoryMarshal.AsBytes<T>(values));
}
