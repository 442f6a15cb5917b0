using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// Literals of gemm.cu: a block computes M x N of D, K deep per stage, Stages of them in shared memory; a warp computes WarpM x WarpN.
/// MinBlocks blocks must fit on one multiprocessor (it bounds the registers of a thread).
/// </summary>
public sealed record GemmTile(int M, int N, int K, int Stages, int WarpM, int WarpN, int MinBlocks)
{
    public int Threads => M / WarpM * (N / WarpN) * 32;

    /// <summary>Dynamic shared memory of a block in bytes: both operands' tiles, 2 bytes an element.</summary>
    public int SharedBytes => Stages * (M + N) * K * 2;
}

/// <summary>
/// Literals of gemm_sm90.cu: a block computes 128 x N of D, 64 deep per stage, Stages of them in shared memory; each multiplying warpgroup has Panels
/// of 64 x 64 sums there on their way out.
/// All of it must fit 227 KB.
/// </summary>
sealed record WgmmaTile(int N, int Stages, int Panels)
{
    public const int M = GemmKernel.TileRows, K = 64;

    /// <summary>Dynamic shared memory of a block in bytes: both operands' tiles and the sums of two warpgroups, 2 bytes an element, and barriers.</summary>
    public int SharedBytes => Stages * (M + N) * K * 2 + 2 * Panels * 64 * 64 * 2 + 128;
}

/// <summary>Every GEMM of a target. Wide tiles hide ldmatrix behind 64 x 64 per warp; skinny ones keep many bytes in flight, since they only stream the long operand.</summary>
public static class GemmTiles
{
    /// <summary>
    /// What the schedule multiplies: outputs and S (nt), input gradients and G (nn), adapter gradients in fp32 (tn). Where no kernel takes two k-segments, the
    /// second one is added by a launch of its own.
    /// </summary>
    static IEnumerable<(GemmLayout Layout, bool F32, bool Accumulate)> Products(Target target) => new[]
    {
        (GemmLayout.Nt, false, false),
        (GemmLayout.Nn, false, false),
        (GemmLayout.Tn, true, true),
    }.Concat(target.HasWgmma ? Array.Empty<(GemmLayout, bool, bool)>() : new[] { (GemmLayout.Nt, false, true), (GemmLayout.Nn, false, true) });

    /// <summary>Of gemm.cu.</summary>
    /// <param name="shape">Not narrow.</param>
    internal static GemmTile For(Target target, TileShape shape) => (shape, target.SharedKilobytes) switch
    {
        // Without asynchronous copies there are two stages, and the next one waits in registers.
        (TileShape.Wide, _) when !target.HasAsyncCopies => new GemmTile(128, 256, 32, 2, 64, 64, 1),
        (TileShape.Wide, < 163) => new GemmTile(128, 128, 32, 3, 64, 64, 2),
        (TileShape.Wide, < 227) => new GemmTile(128, 256, 64, 3, 64, 64, 1),
        (TileShape.Wide, _) => new GemmTile(128, 256, 64, 4, 64, 64, 1),
        (TileShape.SkinnyM, _) => new GemmTile(32, 64, 64, SkinnyStages(target), 16, 32, 1),
        (TileShape.SkinnyN, _) => new GemmTile(64, 32, 64, SkinnyStages(target), 16, 32, 1),
        _ => throw new ArgumentException("gemm: " + shape + " is no tile of gemm.cu"),
    };

    static int SkinnyStages(Target target) => !target.HasAsyncCopies ? 2 : target.SharedKilobytes switch { < 163 => 4, < 227 => 6, _ => 8 };

    public static IEnumerable<EmittedKernel> Kernels(Target target) =>
        from product in Products(target)
        let onTma = target.HasWgmma && product is { Layout: not GemmLayout.Tn, F32: false, Accumulate: false }
        from shape in new[] { TileShape.Wide, TileShape.Narrow, TileShape.SkinnyM, TileShape.SkinnyN }
        where onTma || shape != TileShape.Narrow
        let form = new GemmForm(product.Layout, product.F32, product.Accumulate, shape)
        select onTma && shape == TileShape.Wide ? OnTma(target, form, Wide) : shape == TileShape.Narrow ? OnTma(target, form, Narrow) : OnMma(target, form, For(target, shape));

    // Products of the forward are nt, and only those: gradients are nn and tn.
    static EmittedKernel OnMma(Target target, GemmForm form, GemmTile tile) => new(
        new KernelInfo(form.Name, KernelKind.Gemm, tile.Threads, tile.SharedBytes, tile.M, tile.N, 1) { Gemm = form }, new[]
        {
            Sentence(form, tile.M, tile.N, tile.K, tile.Stages, "") + CudaText.Elem(target)
                + CudaText.Named(form.Name, ("LAYOUT", (int)form.Layout), ("OUT_F32", form.F32 ? 1 : 0), ("ACCUMULATE", form.Accumulate ? 1 : 0),
                    ("BY_UNITS", form is { Layout: GemmLayout.Tn, Accumulate: true } ? 1 : 0),
                    ("TILE_M", tile.M), ("TILE_N", tile.N), ("TILE_K", tile.K), ("STAGES", tile.Stages), ("WARP_M", tile.WarpM),
                    ("WARP_N", tile.WarpN), ("MIN_BLOCKS", tile.MinBlocks)),
            "@prelude.cu", "@mma.cu", "@gemm.cu",
        }.SelectMany(p => p == "@prelude.cu" && !target.HasBf16 && form is { Layout: GemmLayout.Nt, F32: false } ? new[] { p, "@saturate.cu" } : new[] { p }).ToArray());

    static EmittedKernel OnTma(Target target, GemmForm form, WgmmaTile tile) => new(Info(form.Name, KernelKind.GemmTma, tile) with { Gemm = form },
        new[]
        {
            Sentence(form, WgmmaTile.M, tile.N, WgmmaTile.K, tile.Stages, ", a linear and its adapter in one accumulation")
                + CudaText.Elem(target) + Literals(form.Name, form.Layout, null, tile),
            "@prelude.cu", "@mma.cu", "@wgmma.cu", "@gemm_sm90.cu",
        });

    /// <param name="second">What the second k-segment is for; empty: there is none.</param>
    static string Sentence(GemmForm form, int m, int n, int k, int stages, string second) => CudaText.Sentence(
        "Product " + Formula(form.Layout, second.Length > 0, form.Accumulate) + second + ", in tiles of " + FusedOps.Number(m) + " x " + FusedOps.Number(n)
        + ": what a block loads of A serves " + FusedOps.Number(n) + " columns of D and what it loads of B " + FusedOps.Number(m)
        + " rows, sums over k stay in fp32 registers and D is " + (form.Accumulate ? "read and " : "") + "written once" + (form.F32 ? ", in fp32" : "") + "; "
        + FusedOps.Number(stages) + " stages, " + FusedOps.Number(k) + " of k each, hide the loads.");

    internal static string Formula(GemmLayout layout, bool two, bool accumulate = false)
    {
        string Term(string number) => layout switch
        {
            GemmLayout.Nt => "A" + number + " B" + number + "^T",
            GemmLayout.Nn => "A" + number + " B" + number,
            GemmLayout.Tn => "A" + number + "^T B" + number,
            _ => throw new ArgumentException("gemm: unknown layout " + layout),
        };
        return "D " + (accumulate ? "+=" : "=") + " alpha " + (two ? "(" + Term("") + " + " + Term("2") + ")" : Term(""));
    }

    // All of a tile's sums wait for an epilogue; a product alone sends them off panel by panel.
    static readonly WgmmaTile WithEpilogue = new(GemmKernel.TileColumns, 3, 4), Wide = new(GemmKernel.TileColumns, 4, 2), Narrow = new(GemmKernel.NarrowColumns, 4, 3);

    internal static KernelInfo EpilogueInfo(string name) => Info(name, KernelKind.GemmEpilogue, WithEpilogue);

    internal static string EpilogueLiterals(string name, GemmLayout layout, EpilogueForm epilogue) => Literals(name, layout, epilogue, WithEpilogue);

    // Two warpgroups multiply, a third one copies and does an epilogue.
    static KernelInfo Info(string name, KernelKind kind, WgmmaTile tile) => new(name, kind, 384, tile.SharedBytes, WgmmaTile.M, tile.N, 1);

    // No epilogue: the product alone.
    static string Literals(string name, GemmLayout layout, EpilogueForm? epilogue, WgmmaTile tile) =>
        CudaText.Named(name, ("LAYOUT", (int)layout), ("TILE_M", WgmmaTile.M), ("TILE_N", tile.N), ("TILE_K", WgmmaTile.K), ("STAGES", tile.Stages), ("PANELS", tile.Panels),
            ("EPILOGUE", epilogue is null ? 0 : 1), ("PAIR", epilogue?.Pair ?? 0), ("HALVES", epilogue?.Halves == true ? 1 : 0), ("SUMS", epilogue?.Sums ?? 0));
}
