using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// One emitted GEMM against fp64, on shapes that the runtime gives to this kernel: tile edges from both sides, one row, a k that is no multiple of a stage: a
/// last one of 8 to 56, which a wide product multiplies in one to four steps of 16. The device must have been told to use emitted kernels.
/// </summary>
static class GeneratedGemmCheck
{
    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        Checking.Require(on.Device.Gemm == "generated", "the device multiplies with " + on.Device.Gemm + "; GRAPH_GEMM=generated is needed here");
        on.Load(job.Source);
        var (layout, f32, accumulate, tile) = job.Source.Info.Gemm!.Value;
        var onTma = job.Kind == KernelKind.GemmTma;

        // n and row lengths are multiples of 8; in tn the rows of A are m long and k is free.
        (int M, int N, int K)[] shapes = (tile, layout == GemmLayout.Tn) switch
        {
            (TileShape.SkinnyN, false) => [(129, 16, 264), (1, 16, 264), (63, 8, 72), (64, 64, 64), (65, 32, 8), (4097, 16, 1000)],
            (TileShape.SkinnyN, true) => [(136, 16, 257), (8, 16, 1), (64, 64, 63), (72, 32, 64), (3584, 16, 129), (1000, 24, 4097)],
            (TileShape.SkinnyM, false) => [(17, 136, 264), (1, 120, 264), (16, 1000, 72), (63, 72, 64), (64, 65 * 8, 8), (32, 4096, 520)],
            (TileShape.SkinnyM, true) => [(16, 136, 257), (8, 120, 1), (64, 1000, 63), (24, 72, 65), (16, 3584, 129), (16, 1000, 4097)],
            // Of the two on TMA the narrow one takes whatever both do in one wave; last tiles of 8, 72, 184 and 200 columns, three tiles a block.
            (TileShape.Narrow, _) => [(129, 136, 264), (65, 72, 8), (127, 256, 64), (128, 264, 96), (257, 520, 1000), (4097, 136, 248), (129, 184, 72), (129, 192, 200),
                (65, 200, 56), (4097, 2304, 72)],
            (TileShape.Wide, false) when onTma => [(4097, 776, 264), (4100, 1000, 72), (4224, 1024, 64), (4097, 784, 8), (4111, 1000, 328)],
            (TileShape.Wide, false) => [(129, 136, 264), (65, 72, 8), (127, 256, 64), (128, 264, 96), (257, 520, 1000), (4097, 136, 248)],
            (TileShape.Wide, true) => [(136, 136, 257), (72, 72, 1), (128, 256, 63), (256, 264, 65), (520, 520, 129), (200, 136, 4097)],
            _ => throw new ArgumentException("gemm: no shapes for a tile " + tile),
        };
        double worst = 0;
        for (var i = 0; i < shapes.Length; i++)
        {
            var (m, n, k) = shapes[i];
            Require(m, n, 1);
            worst = Math.Max(worst, GemmCheck.One(on.Device, layout, f32, accumulate, m, n, [k], odd: false, GemmCheck.Sum.One, runs: i == 0 && m < 1000 ? 100 : 2));
        }
        foreach (var (m, n, k, k2) in !onTma ? OnPointers(on, job, shapes) : tile == TileShape.Narrow ? Segments() : WideSegments())
        {
            if (onTma) Require(m, n, 2);
            var sum = onTma ? GemmCheck.Sum.One : GemmCheck.Sum.Apart;
            worst = Math.Max(worst, GemmCheck.One(on.Device, layout, f32, accumulate, m, n, [k, k2], odd: false,
                sum, runs: (k, k2) == (512, 48) ? 100 : 2, alpha: k2 % 3 == 0 ? 1 : -2.5f));
        }
        if (on.Device.Act == ActType.F16 && !f32 && !accumulate) Range(on.Device, layout, shapes[0].M, shapes[0].N);
        if (onTma)
            foreach (var (m, n, k) in shapes) Limits(on.Device, layout, m, n, k, job.Source.Info.TileRows);
        // The bound is one rounding of the output and fp32 sums, so its part is the error.
        return new Seen(worst * (f32 ? 1e-6 : Elem.UnitRoundoff), worst);

        void Require(int m, int n, int segments)
        {
            var chosen = GemmKernel.TileOf(m, n, segments, on.Device.Info.Multiprocessors);
            // Targets without TMA have no narrow tile: wide serves.
            Checking.Require(chosen == tile || (!onTma && (chosen, tile) == (TileShape.Narrow, TileShape.Wide)), $"{m}x{n} does not run on {job.Name}");
        }
    }

    /// <summary>As <see cref="Segments"/>, for shapes that take the wide tile: remainders of either segment, and several k-blocks.</summary>
    static IEnumerable<(int M, int N, int K, int K2)> WideSegments()
    {
        foreach (var (k, k2) in new[] { (72, 1), (64, 16), (264, 48), (128, 63), (64, 64), (1, 48), (17, 48), (48, 136) }) yield return (4097, 776, k, k2);
        yield return (4111, 1000, 200, 17);
    }

    /// <summary>
    /// Two segments in one accumulation: every remainder of either, by itself and beside the other one's, segments of one and of several k-blocks in either
    /// order, more tiles than multiprocessors; also with few rows or columns, for which a product of two segments has no skinny tile.
    /// </summary>
    static IEnumerable<(int M, int N, int K, int K2)> Segments()
    {
        for (var k = 1; k <= 64; k++)
        {
            yield return (129, 136, 264, k);
            yield return (129, 136, k, 48);
            yield return (65, 72, k, 65 - k);
        }
        foreach (var (k, k2) in new[] { (512, 48), (48, 512), (520, 512), (63, 129), (65, 1), (64, 64), (128, 64), (200, 17), (1000, 333),
            (3584, 96) }) yield return (257, 520, k, k2);
        foreach (var (m, n) in new[] { (1, 136), (1, 8), (16, 264), (63, 72), (129, 16), (257, 64), (4097, 136), (2049, 2056) }) yield return (m, n, 264, 48);
    }

    /// <summary>
    /// A kernel on pointers takes one segment; a second kernel adds the other one, where the target has it: one whose products of two segments run on tensor
    /// maps does not.
    /// </summary>
    static IEnumerable<(int M, int N, int K, int K2)> OnPointers(CudaDeviceOfTarget on, KernelJob job, (int M, int N, int K)[] shapes)
    {
        var form = job.Source.Info.Gemm!.Value;
        if (form.Layout == GemmLayout.Tn || job.Sources(info => info.Gemm == form with { Accumulate = true }).FirstOrDefault() is not { } adds) yield break;
        on.Load(adds);
        foreach (var (m, n, k) in shapes)
            foreach (var k2 in new[] { 8, 48, 72 }) yield return (m, n, k, k2);
    }

    /// <summary>Beyond fp16's range a product of the forward (nt) is its largest number, a gradient (nn) infinity, by which a loss scale is found too large.</summary>
    static void Range(CudaDevice device, GemmLayout layout, int m, int n)
    {
        const int k = 64;
        foreach (var sign in new[] { 1, -1 })
        {
            var (forty, signed) = (Checking.ToElem(40, ActType.F16), Checking.ToElem(40 * sign, ActType.F16));
            nint a = device.Upload<ushort>([.. Enumerable.Repeat(forty, m * k)]), b = device.Upload<ushort>([.. Enumerable.Repeat(signed, n * k)]), d = device.Allocate(2L * m * n);
            using var program = device.Prepare([new BoundGemm($"{layout} beyond fp16", 0, 0, 0, layout, ElementType.Act, d, n,
                a, k, b, layout == GemmLayout.Nt ? k : n, m, n, k, 1, false)]);
            program.Run();
            var expected = (ushort)((layout == GemmLayout.Nt ? 0x7bff : 0x7c00) | (sign < 0 ? 0x8000 : 0));
            Checking.Require(device.Download<ushort>(d, m * n).All(x => x == expected), $"{layout}: 64 products of 40 and {40 * sign} are not {expected:x4} everywhere");
            foreach (var address in new[] { a, b, d }) device.Free(address);
        }
    }

    /// <summary>
    /// With a row limit: wanted rows have the bits that the product of all rows has, tiles wholly behind them stay, and what the count says is read at each run.
    /// </summary>
    static void Limits(CudaDevice device, GemmLayout layout, int m, int n, int k, int tileRows)
    {
        var random = new Random(m);
        int aPitch = (k + 15) / 8 * 8, bPitch = ((layout == GemmLayout.Nt ? k : n) + 15) / 8 * 8, dPitch = (n + 15) / 8 * 8;
        ushort[] Operand(int count) => [.. Checking.Random(random, count).Select(v => Checking.ToElem(v, device.Act))];
        nint a = device.Upload<ushort>(Operand(m * aPitch)), b = device.Upload<ushort>(Operand((layout == GemmLayout.Nt ? n : k) * bPitch)),
            d = device.Allocate(2L * m * dPitch), count = device.Allocate(4);
        var all = new BoundGemm($"{layout} {m}x{n}x{k}", 0, 0, 0, layout, ElementType.Act, d, dPitch, a, aPitch, b, bPitch, m, n, k, 0.75f, false);
        var expected = Run(all, null);
        foreach (var first in new[] { 0, 256 })
        {
            using var program = device.Prepare([all with { Limit = new RowLimit(count, first) }]);
            foreach (var counted in new[] { 0, first, first + 1, first + 128, first + 129, first + m - 1, first + m, first + m + 5000 })
            {
                device.Upload(count, BitConverter.GetBytes(counted));
                var got = Run(all, program);
                var wanted = Math.Clamp(counted - first, 0, m);
                var computed = (wanted + tileRows - 1) / tileRows * tileRows;
                for (var row = 0; row < m; row++)
                {
                    // Of the last tile's other rows nothing is said.
                    if (row >= wanted && row < computed) continue;
                    // The sentence is made for a fault alone: there are millions of elements.
                    for (var c = 0; c < dPitch; c++)
                        if (got[row * dPitch + c] != (row < wanted ? expected[row * dPitch + c] : (ushort)0xffff))
                            throw new CheckException($"{all.Label}, {counted} rows from {first}: D[{row},{c}] is {got[row * dPitch + c]:x4}");
                }
            }
        }
        foreach (var address in new[] { a, b, d, count }) device.Free(address);

        ushort[] Run(BoundGemm product, IProgram? limited)
        {
            device.Fill(d, 0xff, 2L * m * dPitch);
            using var unlimited = limited is null ? device.Prepare([product]) : null;
            (limited ?? unlimited)!.Run();
            return device.Download<ushort>(d, m * dPitch);
        }
    }
}
