using System;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Which products an emitted GEMM serves.</summary>
/// <param name="F32">D is fp32, else the activation type.</param>
/// <param name="Accumulate">D +=.</param>
/// <param name="Tile">What a block computes of D at a time. It only changes speed.</param>
public readonly record struct GemmForm(GemmLayout Layout, bool F32, bool Accumulate, TileShape Tile)
{
    /// <summary>For example gemm_nt, gemm_nt_n192, gemm_nn_add, gemm_tn_f32_add_skinny_m.</summary>
    public string Name => "gemm_" + ScheduleText.Lower(Layout) + (F32 ? "_f32" : "") + (Accumulate ? "_add" : "") + Tile switch
    {
        TileShape.Wide => "",
        TileShape.Narrow => "_n192",
        TileShape.SkinnyM => "_skinny_m",
        TileShape.SkinnyN => "_skinny_n",
        _ => throw new InvalidOperationException("gemm: no name for a tile " + Tile),
    };
}

/// <summary>
/// The tile of an emitted GEMM. Every target has a wide one for every product. A narrow one, of the GEMM on TMA, has fewer columns, for D whose wide tiles fill
/// their last wave badly.
/// A skinny one is for D with at most <see cref="GemmKernel.SkinnyExtent"/> rows (M) or columns (N; these decide when both): small there and deep in stages,
/// because it only streams the other operand.
/// </summary>
public enum TileShape { Wide, Narrow, SkinnyM, SkinnyN }

/// <summary>Facts that emitted GEMMs and the runtime share.</summary>
public static class GemmKernel
{
    /// <summary>At most this many rows or columns of D (ranks) take a skinny tile.</summary>
    public const int SkinnyExtent = 64;

    /// <summary>
    /// Tokens that a gradient of adapters with this many ranks in all is summed by: D = D + the sum over the first unit of tokens, then + the next one's, in order,
    /// so that cutting the tokens at multiples of a unit changes no bit. A unit's sum is as large as D, so it is longer where D is larger.
    /// </summary>
    public static int TokenUnit(int ranks) => ranks <= 96 ? RankKernel.TokenUnit : 4 * RankKernel.TokenUnit;

    /// <summary>Rows of a tile of the GEMM on TMA.</summary>
    public const int TileRows = 128;

    /// <summary>Columns of a wide tile of the GEMM on TMA: an epilogue has whole heads of 128 and 256 in it, and a cross entropy one sum of a row.</summary>
    public const int TileColumns = 256;

    /// <summary>Columns of a narrow one, which has no epilogue.</summary>
    public const int NarrowColumns = 192;

    /// <summary>
    /// What a tile takes besides its columns, in columns, an estimate: the end of its sums, which no product overlaps, and A, which a narrow tile reads for fewer columns.
    /// Wide tiles win what is nearly equal.
    /// </summary>
    const int TileOverhead = 16;

    /// <summary>
    /// The tile for a product of m x n. Wide or narrow is a matter of the waves that the tiles take, one on every multiprocessor at a time: the least waves * (columns + overhead),
    /// wide when equal. Bits of D should not depend on that: an element is one accumulator to which the same steps of 16 along k are added in the same order,
    /// whatever columns are beside it.
    /// How a step adds its 16 products PTX leaves open, for either width.
    /// </summary>
    /// <param name="segments">Of k; a skinny tile takes one.</param>
    /// <param name="multiprocessors">Of the GPU, at least one.</param>
    /// <returns>A tile that the target may not have for this product; then <see cref="TileShape.Wide"/> serves.</returns>
    public static TileShape TileOf(int m, int n, int segments, int multiprocessors)
    {
        if (segments == 1 && n <= SkinnyExtent) return TileShape.SkinnyN;
        if (segments == 1 && m <= SkinnyExtent) return TileShape.SkinnyM;
        return Time(NarrowColumns) < Time(TileColumns) ? TileShape.Narrow : TileShape.Wide;

        long Time(int columns) => Waves(m, n, columns, multiprocessors) * (columns + TileOverhead);
    }

    /// <summary>Waves of the wide tiles of a D of m x n, one on every multiprocessor at a time.</summary>
    public static long Waves(int m, int n, int multiprocessors) => Waves(m, n, TileColumns, multiprocessors);

    static long Waves(int m, int n, int columns, int multiprocessors) => Ceiling(Ceiling(m, TileRows) * Ceiling(n, columns), multiprocessors);

    /// <summary>Sums of a row that a product with n columns makes: one for each of its tiles.</summary>
    public static int RowSums(int n) => (int)Ceiling(n, TileColumns);

    static long Ceiling(long count, int unit) => (count + unit - 1) / unit;
}
