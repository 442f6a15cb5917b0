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
        if (launch is BoundKernel k) Kernels.Find(Name(k));
        else if (launch is BoundGemm { Sums: { } sums } summed && Fuses(summed, sums)) Kernels.Find(Name(summed, sums));
        else if (launch is BoundGemm g && OnLibrary(g)) Library!.Prepare(g);
        else if (launch is BoundGemm generated) Generated(generated);
        else if (launch is BoundGemmEpilogue fused && !Fuses(fused))
        {
            Prepare(fused.Gemm);
            Prepare(fused.Kernel);
        }
        else if (launch is BoundRankGradients both && Ranks?.Fits(both) != true)
        {
            Prepare(both.G);
            Prepare(both.GradB);
        }
    }

    /// <summary>G and dB from one read; null: as two products.</summary>
    internal RankLauncher? Ranks { get; init; }

    /// <summary>A product with an epilogue, with sums to make or with a row limit, which no library's product has, runs on the emitted kernel for that, where there is one, whatever others run on.</summary>
    internal bool BeyondLibrary { get; init; }

    // cuBLASLt takes no count from the device, so rows that are not wanted would be multiplied too.
    bool OnLibrary(BoundGemm g) => Library is not null && !(BeyondLibrary && g.Limit is not null && IsOnTma(g));

    bool IsOnTma(BoundGemm g) => GeneratedName(g) is var name && Kernels.Has(name) && Kernels.Find(name).Info.Kind == KernelInfo.GemmOnTma;

    /// <summary>The launch is one kernel with its epilogue; of a product with sums: it makes them; of attention's backward: it keeps dS or starts from it.</summary>
    internal bool Fuses(BoundLaunch launch) => launch switch
    {
        BoundGemmEpilogue fused => Fuses(fused),
        BoundGemm { Sums: { } sums } g => Fuses(g, sums),
        BoundKernel k => Keeps(k),
        _ => false,
    };

    bool Fuses(BoundGemmEpilogue fused) => BeyondLibrary && Kernels.Has(Name(fused)) && fused.Gemm.M > 0 && fused.Gemm.N > 0;

    // A cross entropy starts from the product's sums where the product makes them: both ask the same.
    bool FusesSums(string crossEntropy) => BeyondLibrary && Kernels.Has(GemmKernel.FromSums(crossEntropy));

    bool Fuses(BoundGemm g, RowSums sums) => FusesSums(sums.Kernel) && g.M > 0;

    bool StartsFromSums(BoundKernel k) => k.Sums is not null && FusesSums(k.Kernel);

    // dq starts from dS where there is a kernel for it; then, and only then, the kernel before it writes dS.
    bool Keeps(BoundKernel k) => k.ScoreGradients is { } kept && Kernels.Has(KernelInfo.FromDs(kept.Dq));

    internal BoundLaunch AsRun(BoundLaunch launch) => launch is BoundKernel k && Keeps(k) ? ScoreGradients.Keeping(k, k.ScoreGradients!.Value) : launch;

    string Name(BoundKernel k) => StartsFromSums(k) ? GemmKernel.FromSums(k.Kernel) : Keeps(k) && k.Kernel == k.ScoreGradients!.Value.Dq ? KernelInfo.FromDs(k.Kernel) : k.Kernel;

    static string Name(BoundGemm g, RowSums sums) => GemmKernel.WithEpilogue(g.Layout, sums.Kernel);

    static string Name(BoundGemmEpilogue fused) => GemmKernel.WithEpilogue(fused.Gemm.Layout, fused.Kernel.Kernel);

    internal void Launch(BoundLaunch launch)
    {
        switch (launch)
        {
            case BoundKernel k: Launch(k); break;
            case BoundGemm { Sums: { } sums } g when Fuses(g, sums): LaunchOnTma(g, Kernels.Find(Name(g, sums)), storeD: true, [new(sums.Address, sums.Pitch)]); break;
            case BoundGemm g when OnLibrary(g): Library!.Launch(g, Stream); break;
            case BoundGemm g: LaunchGenerated(g); break;
            case BoundGemmEpilogue fused when Fuses(fused):
                LaunchOnTma(fused.Gemm, Kernels.Find(Name(fused)), fused.StoreD, [.. fused.Kernel.Arguments.Where((_, i) => i < fused.Outputs || !fused.Places.Contains(i))]);
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
            case BoundCopy c: Driver.Check(Driver.Copy(c.Destination, c.Source, (nuint)c.Count, Stream), $"copying {c.Label}"); break;
            default: throw new ArgumentException($"cuda: unknown launch {launch.GetType().Name}");
        }
    }

    // Per argument a pointer and, for matrices, an int pitch; last int rows. Every parameter takes one 8-byte cell: the driver reads as many bytes of it as the function's signature says.
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

    unsafe void LaunchGenerated(BoundGemm g)
    {
        if (g.M == 0 || g.N == 0) return;
        var kernel = Generated(g);
        if (kernel.Info.Kind == KernelInfo.GemmOnTma)
        {
            LaunchOnTma(g, kernel, storeD: true, []);
            return;
        }
        var cells = stackalloc long[] { g.D, g.DPitch, g.A, g.APitch, g.B, g.BPitch, g.M, g.N, g.K, BitConverter.SingleToInt32Bits(g.Alpha) };
        Launch(kernel, g.Label, Blocks(g.M, kernel.Info.TileRows), Blocks(g.N, kernel.Info.TileCols), cells, 10);
    }

    // Maps of A (k beside m), B (nt: k beside n; nn: n beside k) and D, then m, n, k, alpha, the row limit's count (0: none) and first row; with an epilogue whether D is stored and
    // the epilogue's arguments as cells of 16 bytes. The driver copies all of it when it launches or captures.
    unsafe void LaunchOnTma(BoundGemm g, LoadedKernel kernel, bool storeD, IReadOnlyList<BoundArgument> epilogue)
    {
        var room = stackalloc byte[3 * sizeof(TensorMap) + 64];
        var maps = (TensorMap*)(((nint)room + 63) & ~(nint)63);
        var transposed = g.Layout == GemmLayout.Nn;
        TensorMap.Encode(maps, g.A, g.M, g.K, g.APitch, kernel.Info.TileRows, g.Label);
        TensorMap.Encode(maps + 1, g.B, transposed ? g.K : g.N, transposed ? g.N : g.K, g.BPitch, transposed ? 64 : kernel.Info.TileCols / 2, g.Label);
        TensorMap.Encode(maps + 2, g.D, g.M, g.N, g.DPitch, 64, g.Label);
        var cells = stackalloc long[] { g.M, g.N, g.K, BitConverter.SingleToInt32Bits(g.Alpha), g.Limit?.Count ?? 0, g.Limit?.First ?? 0, storeD ? 1 : 0 };
        var arguments = stackalloc long[2 * epilogue.Count + 1];
        for (var i = 0; i < epilogue.Count; i++) (arguments[2 * i], arguments[2 * i + 1]) = (epilogue[i].Address, epilogue[i].Pitch);
        var parameters = stackalloc void*[11];
        for (var i = 0; i < 3; i++) parameters[i] = maps + i;
        for (var i = 0; i < 7; i++) parameters[i + 3] = cells + i;
        parameters[10] = arguments;
        var tiles = (long)Blocks(g.M, kernel.Info.TileRows) * Blocks(g.N, kernel.Info.TileCols);
        Launch(kernel, g.Label, (int)Math.Min(Multiprocessors, tiles), 1, parameters);
    }

    LoadedKernel Generated(BoundGemm g) => Kernels.Find(GeneratedName(g));

    string GeneratedName(BoundGemm g)
    {
        var f32 = g.DType == ElementType.F32;
        var skinny = GemmKernel.Name(g.Layout, f32, g.Accumulate, GemmKernel.SkinnyM(g.M, g.N), GemmKernel.SkinnyN(g.N));
        return Kernels.Has(skinny) ? skinny : GemmKernel.Name(g.Layout, f32, g.Accumulate, false, false);
    }

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
