using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>Puts bound launches on the stream, straight or into a capture.</summary>
/// <param name="Library">Null: every product runs on emitted kernels.</param>
/// <param name="Multiprocessors">Blocks of a kernel that walks its tiles itself.</param>
internal sealed record Launcher(CudaStream Stream, KernelTable Kernels, CublasLtGemm? Library, int Multiprocessors)
{
    /// <summary>What must not happen inside a capture: kernels are looked up, GEMM algorithms chosen.</summary>
    /// <exception cref="DeviceException">A launch has no kernel or no algorithm.</exception>
    internal void Prepare(BoundLaunch launch)
    {
        switch (launch)
        {
            case BoundKernel k: Kernels.Find(Name(k)); break;
            case BoundGemm { Sums: { } sums } g when Fuses(g, sums): Kernels.Find(sums.Kernels.Product); break;
            case BoundGemm g when OnTma(g) is not null: break;
            case BoundGemm g when Library is not null:
                Library.Prepare(g);
                if (g.Unit < int.MaxValue) Kernels.Find(KernelArguments.AddUnitsKernel);
                break;
            case BoundGemm g:
                foreach (var part in g.Apart()) OnPointers(Added(part));
                break;
            case BoundGemmEpilogue fused when Fuses(fused): break;
            case BoundGemmEpilogue fused:
                Prepare(fused.Gemm);
                Prepare(fused.Kernel);
                break;
            case BoundRankGradients both when Ranks?.Fits(both) == true: break;
            case BoundRankGradients both:
                Prepare(both.G);
                Prepare(both.GradB);
                break;
            case BoundFill or BoundZeros or BoundCopy or BoundTransferStart or BoundTransferWait: break;
            default: throw new ArgumentException($"cuda: unknown launch {launch.GetType().Name}");
        }
    }

    /// <summary>G and dB from one read; null: as two products.</summary>
    internal RankLauncher? Ranks { get; init; }

    /// <summary>
    /// A product with an epilogue, with sums to make, with a row limit or with two segments, which no library's product has, runs on the emitted kernel for
    /// that, where there is one, whatever others run on.
    /// </summary>
    internal bool BeyondLibrary { get; init; }

    /// <summary>
    /// The kernel on tensor maps that runs the product; null: the library or a kernel on pointers does. cuBLASLt takes no count from the device, so rows that
    /// are not wanted would be multiplied too, and one segment.
    /// </summary>
    LoadedKernel? OnTma(BoundGemm g)
    {
        if (Library is not null && !(BeyondLibrary && (g.Limit is not null || g.Segments.Count > 1))) return null;
        return Emitted(g) is { Info.Kind: KernelKind.GemmTma } kernel ? kernel : null;
    }

    /// <exception cref="DeviceException">The target has no kernel for such a product.</exception>
    LoadedKernel OnPointers(BoundGemm g) => Emitted(g) ?? throw new DeviceException($"cuda: no emitted GEMM makes {g.Label} ({Form(g).Name})");

    // The emitted kernel of a sum over tokens adds: what such a product is to write, it adds to zeros.
    BoundGemm Added(BoundGemm g) => g is { Layout: GemmLayout.Tn, DType: ElementType.F32 } ? g with { Accumulate = true } : g;

    LoadedKernel? Emitted(BoundGemm g) => Kernels.Gemm(Form(g)) ?? Kernels.Gemm(Form(g) with { Tile = TileShape.Wide });

    GemmForm Form(BoundGemm g) => new(g.Layout, g.DType == ElementType.F32, g.Accumulate, GemmKernel.TileOf(g.WholeM, g.N, g.Segments.Count, Multiprocessors));

    /// <summary>The launch is one kernel with its epilogue; of a product with sums: it makes them; of attention's backward: it keeps dS or starts from it.</summary>
    internal bool Fuses(BoundLaunch launch) => launch switch
    {
        BoundGemmEpilogue fused => Fuses(fused),
        BoundGemm { Sums: { } sums } g => Fuses(g, sums),
        BoundKernel k => Keeps(k),
        _ => false,
    };

    bool Fuses(BoundGemmEpilogue fused) => BeyondLibrary && Kernels.Has(fused.Fused) && fused.Gemm.M > 0 && fused.Gemm.N > 0;

    // A cross entropy starts from the product's sums where the product makes them: both ask the same.
    bool Fuses(LossFromSums kernels) => BeyondLibrary && Kernels.Has(kernels.Kernel);

    bool Fuses(BoundGemm g, RowSums sums) => Fuses(sums.Kernels) && g.M > 0;

    // dq starts from dS where there is a kernel for it; then, and only then, the kernel before it writes dS.
    bool Keeps(BoundKernel k) => k.ScoreGradients is { } kept && Kernels.Has(kept.DqFromDs);

    internal BoundLaunch AsRun(BoundLaunch launch) => launch is BoundKernel k && Keeps(k) ? ScoreGradients.Keeping(k, k.ScoreGradients!.Value) : launch;

    string Name(BoundKernel k) => k switch
    {
        { Sums: { } sums } when Fuses(sums.Kernels) => sums.Kernels.Kernel,
        { ScoreGradients: { Starts: true } kept } when Keeps(k) => kept.DqFromDs,
        _ => k.Kernel,
    };

    internal void Launch(BoundLaunch launch)
    {
        switch (launch)
        {
            case BoundKernel k: Launch(k); break;
            case BoundGemm { Sums: { } sums } g when Fuses(g, sums): LaunchOnTma(g, Kernels.Find(sums.Kernels.Product), storeD: true, [new(sums.Address, sums.Pitch)]); break;
            case BoundGemm { M: 0 } or BoundGemm { N: 0 }: break;
            case BoundGemm g when OnTma(g) is { } kernel: LaunchOnTma(g, kernel, storeD: true, []); break;
            case BoundGemm g when Library is not null: Library.Launch(g, Stream, Launch); break;
            case BoundGemm g:
                foreach (var part in g.Apart()) LaunchOnPointers(part);
                break;
            case BoundGemmEpilogue fused when Fuses(fused):
                LaunchOnTma(fused.Gemm, Kernels.Find(fused.Fused), fused.StoreD, [.. fused.Kernel.Arguments.Where((_, i) => i < fused.Outputs || !fused.Places.Contains(i))]);
                break;
            case BoundGemmEpilogue fused:
                Launch(fused.Gemm);
                Launch(fused.Kernel);
                break;
            case BoundRankGradients both when Ranks?.Fits(both) == true: Ranks.Launch(both); break;
            case BoundRankGradients both:
                Launch(both.G);
                Launch(both.GradB);
                break;
            case BoundFill f: Driver.Check(Driver.Fill(f.Address, f.Value, (nuint)f.Count, Stream), $"filling {f.Label}"); break;
            case BoundZeros z: Driver.Check(Driver.Fill2D(z.Address, (nuint)z.Pitch, 0, (nuint)z.Width, (nuint)z.Rows, Stream), $"zeroing {z.Label}"); break;
            case BoundCopy c: Driver.Check(Driver.Copy(c.Destination, c.Source, (nuint)c.Count, Stream), $"copying {c.Label}"); break;
            // Launch by launch: the copy in its turn. A program that runs as a graph has its own streams for it (CapturedTransfers).
            case BoundTransferStart t: Driver.Check(Driver.Copy(t.Destination, t.Source, (nuint)t.Count, Stream), $"copying {t.Label}"); break;
            case BoundTransferWait: break;
            default: throw new ArgumentException($"cuda: unknown launch {launch.GetType().Name}");
        }
    }

    // Per argument a pointer and, for matrices, an int pitch; last int rows. Every parameter takes one
    // 8-byte cell: the driver reads as many bytes of it as the function's signature says.
    unsafe void Launch(BoundKernel k)
    {
        if (k.Rows == 0) return;
        var kernel = Kernels.Find(Name(k));
        var cells = stackalloc long[2 * k.Arguments.Count + 3];
        var count = 0;
        foreach (var argument in KernelArguments.Of(k, kernel.Info.Kind, Keeps(k)))
        {
            cells[count++] = argument.Address;
            if (argument.Pitch != 0) cells[count++] = argument.Pitch;
        }
        cells[count++] = k.Rows;
        Launch(kernel, k.Label, Blocks(k.Rows, kernel.Info.TileRows), Math.Max(1, kernel.Info.GridY), cells, count);
    }

    unsafe void LaunchOnPointers(BoundGemm product)
    {
        var g = Added(product);
        if (g.Accumulate && !product.Accumulate)
            Driver.Check(Driver.Fill2D(g.D, sizeof(float) * (nuint)g.DPitch, 0, sizeof(float) * (nuint)g.N, (nuint)g.M, Stream), $"zeroing {g.Label}");
        var (kernel, s) = (OnPointers(g), g.Operands);
        var cells = stackalloc long[] { g.D, g.DPitch, s.A, s.APitch, s.B, s.BPitch, g.M, g.N, s.K, BitConverter.SingleToInt32Bits(g.Alpha), g.Unit };
        // Only what accumulates over tokens has units.
        var units = g is { Layout: GemmLayout.Tn, Accumulate: true };
        Launch(kernel, g.Label, Blocks(g.M, kernel.Info.TileRows), Blocks(g.N, kernel.Info.TileCols), cells, units ? 11 : 10);
    }

    // Maps of A (k beside m) and B (nt: k beside n; nn: n beside k) of both segments and of D, then m, n, the segments' k, alpha, the row limit's count (0:
    // none) and first row; with an epilogue whether D is stored and the epilogue's arguments as cells of 16 bytes. The driver copies all of it when it launches
    // or captures.
    unsafe void LaunchOnTma(BoundGemm g, LoadedKernel kernel, bool storeD, IReadOnlyList<BoundArgument> epilogue)
    {
        const int maps = 2 * MaxSegments + 1;
        var room = stackalloc byte[maps * sizeof(TensorMap) + 64];
        var map = (TensorMap*)(((nint)room + 63) & ~(nint)63);
        var transposed = g.Layout == GemmLayout.Nn;
        for (var i = 0; i < MaxSegments; i++)
        {
            // A segment that is not there is never read; its maps are the first one's.
            var s = g.Segments[Math.Min(i, g.Segments.Count - 1)];
            TensorMap.Encode(map + 2 * i, s.A, g.M, s.K, s.APitch, kernel.Info.TileRows, g.Label);
            TensorMap.Encode(map + 2 * i + 1, s.B, transposed ? s.K : g.N, transposed ? g.N : s.K, s.BPitch, transposed ? 64 : kernel.Info.TileCols / 2, g.Label);
        }
        TensorMap.Encode(map + maps - 1, g.D, g.M, g.N, g.DPitch, 64, g.Label);
        var second = g.Segments.Count > 1 ? g.Segments[1].K : 0;
        var cells = stackalloc long[] { g.M, g.N, g.Segments[0].K, second, BitConverter.SingleToInt32Bits(g.Alpha), g.Limit?.Count ?? 0, g.Limit?.First ?? 0, storeD ? 1 : 0 };
        var arguments = stackalloc long[2 * epilogue.Count + 1];
        for (var i = 0; i < epilogue.Count; i++) (arguments[2 * i], arguments[2 * i + 1]) = (epilogue[i].Address, epilogue[i].Pitch);
        var parameters = stackalloc void*[maps + 9];
        for (var i = 0; i < maps; i++) parameters[i] = map + i;
        for (var i = 0; i < 8; i++) parameters[maps + i] = cells + i;
        parameters[maps + 8] = arguments;
        var tiles = (long)Blocks(g.M, kernel.Info.TileRows) * Blocks(g.N, kernel.Info.TileCols);
        Launch(kernel, g.Label, (int)Math.Min(Multiprocessors, tiles), 1, parameters);
    }

    // k-segments of gemm_sm90.cu.
    const int MaxSegments = 2;

    unsafe void Launch(LoadedKernel kernel, string label, int gridX, int gridY, long* cells, int count)
    {
        var parameters = stackalloc void*[count];
        for (var i = 0; i < count; i++) parameters[i] = cells + i;
        Launch(kernel, label, gridX, gridY, parameters);
    }

    unsafe void Launch(LoadedKernel kernel, string label, int gridX, int gridY, void** parameters)
    {
        var (info, function) = kernel;
        Driver.Check(Driver.LaunchKernel(function, (uint)gridX, (uint)gridY, 1, (uint)info.Block, 1, 1, (uint)info.SharedBytes, Stream, parameters, null),
            $"launching {info.Name} for {label} (grid {gridX} x {gridY}, block {info.Block}, {info.SharedBytes} bytes shared)");
    }

    // Not (extent + tile - 1) / tile: a kernel of one block has a tile of int.MaxValue rows.
    internal static int Blocks(int extent, int tile) => (extent - 1) / tile + 1;
}
