using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;

namespace Graph.Generator.Cuda;

/// <summary>
/// Literals of Templates/gemm.cu: a block computes M x N of D, K deep per stage, Stages of them in shared memory; a warp computes WarpM x WarpN.
/// MinBlocks blocks must fit on one multiprocessor (it bounds the registers of a thread).
/// </summary>
public sealed record GemmTile(int M, int N, int K, int Stages, int WarpM, int WarpN, int MinBlocks)
{
    public int Threads => M / WarpM * (N / WarpN) * 32;

    /// <summary>Dynamic shared memory of a block in bytes: both operands' tiles, 2 bytes an element.</summary>
    public int SharedBytes => Stages * (M + N) * K * 2;
}

/// <summary>The tile of every target. Wide tiles hide ldmatrix behind 64 x 64 per warp; skinny ones keep many bytes in flight, since they only stream the long operand.</summary>
public static class GemmTiles
{
    /// <summary>
    /// What the schedule multiplies: outputs and S (nt), input gradients and G (nn), adapter gradients in fp32 (tn). Where no kernel takes two k-segments, the second one is added by a launch of its own.
    /// </summary>
    static IEnumerable<(GemmLayout Layout, bool F32, bool Accumulate)> Products(string target) => new[]
    {
        (GemmLayout.Nt, false, false),
        (GemmLayout.Nn, false, false),
        (GemmLayout.Tn, true, true),
    }.Concat(HasWgmma(target) ? Array.Empty<(GemmLayout, bool, bool)>() : new[] { (GemmLayout.Nt, false, true), (GemmLayout.Nn, false, true) });

    /// <param name="target">A CUDA target such as "sm_80".</param>
    /// <exception cref="ArgumentException">The target has no row.</exception>
    public static GemmTile For(string target, Skinny skinny) => (target, skinny != Skinny.None) switch
    {
        // 64 KB of shared memory, no asynchronous copies: two stages, the next one waits in registers.
        ("sm_75", false) => new GemmTile(128, 256, 32, 2, 64, 64, 1),
        ("sm_75", true) => Narrow(skinny, 2),
        ("sm_80", false) => new GemmTile(128, 256, 64, 3, 64, 64, 1),
        ("sm_80", true) => Narrow(skinny, 6),
        // 100 KB of shared memory per multiprocessor.
        ("sm_86" or "sm_89", false) => new GemmTile(128, 128, 32, 3, 64, 64, 2),
        ("sm_86" or "sm_89", true) => Narrow(skinny, 4),
        ("sm_90a", false) => new GemmTile(128, 256, 64, 4, 64, 64, 1),
        ("sm_90a", true) => Narrow(skinny, 8),
        _ => throw new ArgumentException("gemm: target '" + target + "' has no tile; add a row to GemmTiles.For"),
    };

    static GemmTile Narrow(Skinny skinny, int stages) => skinny == Skinny.N ? new GemmTile(64, 32, 64, stages, 16, 32, 1) : new GemmTile(32, 64, 64, stages, 16, 32, 1);

    /// <summary>Every GEMM of a target: how it is launched, its #define lines and the templates that follow prelude.cu and mma.cu.</summary>
    public static IEnumerable<(KernelInfo Info, string Literals, string[] Templates)> Kernels(string target) =>
        from product in Products(target)
        from skinny in new[] { Skinny.None, Skinny.M, Skinny.N }
        let form = new GemmForm(product.Layout, product.F32, product.Accumulate, skinny)
        let wide = form with { Layout = GemmLayout.Nt } == new GemmForm(GemmLayout.Nt, false, false, Skinny.None)
        select wide && HasWgmma(target) ? OnTma(form) : OnMma(form, For(target, skinny));

    static (KernelInfo, string, string[]) OnMma(GemmForm form, GemmTile tile) =>
        (new KernelInfo(form.Name, KernelKind.Gemm, tile.Threads, tile.SharedBytes, tile.M, tile.N, 1) { Gemm = form },
            Literals(form.Name, ("LAYOUT", (int)form.Layout), ("OUT_F32", form.F32 ? 1 : 0), ("ACCUMULATE", form.Accumulate ? 1 : 0), ("TILE_M", tile.M), ("TILE_N", tile.N), ("TILE_K", tile.K), ("STAGES", tile.Stages),
                ("WARP_M", tile.WarpM), ("WARP_N", tile.WarpN), ("MIN_BLOCKS", tile.MinBlocks)),
            new[] { "@gemm.cu" });

    static (KernelInfo, string, string[]) OnTma(GemmForm form) =>
        (WgmmaInfo(form.Name, KernelKind.GemmTma) with { Gemm = form }, WgmmaLiterals(form.Name, form.Layout, null), new[] { "@wgmma.cu", "@gemm_sm90.cu" });

    /// <summary>Wide products run on gemm_sm90.cu, and other kernels can be their epilogues.</summary>
    public static bool HasWgmma(string target) => target == "sm_90a";

    const int WgmmaM = 128, WgmmaN = GemmKernel.TileColumns, WgmmaK = 64;

    // Three k-blocks and a tile's sums, or four and half of a tile's sums: what fits 227 KB.
    static (int Stages, int Panels) WgmmaDepth(bool epilogue) => epilogue ? (3, 8) : (4, 4);

    /// <summary>gemm_sm90.cu: STAGES k-blocks of both operands, panels of 8 KB through which sums leave, barriers. Two warpgroups multiply, a third one copies and does an epilogue.</summary>
    internal static KernelInfo WgmmaInfo(string name, KernelKind kind)
    {
        var epilogue = kind == KernelKind.GemmEpilogue;
        var (stages, panels) = WgmmaDepth(epilogue);
        return new(name, kind, 384, stages * (WgmmaM + WgmmaN) * WgmmaK * 2 + panels * 64 * 128 + 128, WgmmaM, WgmmaN, 1);
    }

    /// <param name="epilogue">Null: the product alone.</param>
    internal static string WgmmaLiterals(string name, GemmLayout layout, EpilogueForm? epilogue) =>
        Literals(name, ("LAYOUT", (int)layout), ("TILE_M", WgmmaM), ("TILE_N", WgmmaN), ("TILE_K", WgmmaK), ("STAGES", WgmmaDepth(epilogue is not null).Stages), ("EPILOGUE", epilogue is null ? 0 : 1),
            ("PAIR", epilogue?.Pair ?? 0), ("HALVES", epilogue?.Halves == true ? 1 : 0), ("SUMS", epilogue?.Sums ?? 0));

    static string Literals(string name, params (string Literal, int Value)[] literals)
    {
        var text = new StringBuilder().Append("#define KERNEL_NAME ").Append(name).Append('\n');
        foreach (var (literal, value) in literals) text.Append("#define ").Append(literal).Append(' ').Append(value.ToString(CultureInfo.InvariantCulture)).Append('\n');
        return text.ToString();
    }
}
