#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Which products an emitted GEMM serves.</summary>
/// <param name="F32">D is fp32, else the activation type.</param>
/// <param name="Accumulate">D +=.</param>
/// <param name="Skinny">D is small in one dimension (ranks): a tile that is small there and deep in stages, because it only streams the other operand. It only changes speed.</param>
public readonly record struct GemmForm(GemmLayout Layout, bool F32, bool Accumulate, Skinny Skinny)
{
    /// <summary>For example gemm_nt, gemm_nn_add, gemm_tn_f32_add_skinny_m.</summary>
    public string Name => "gemm_" + ScheduleText.Lower(Layout) + (F32 ? "_f32" : "") + (Accumulate ? "_add" : "") + (Skinny == Skinny.None ? "" : "_skinny_" + ScheduleText.Lower(Skinny));
}

/// <summary>The dimension in which D has at most <see cref="GemmKernel.SkinnyExtent"/> rows or columns; columns decide when both have.</summary>
public enum Skinny { None, M, N }

/// <summary>Facts that emitted GEMMs and the runtime share.</summary>
public static class GemmKernel
{
    /// <summary>At most this many rows or columns of D (ranks) take a skinny tile.</summary>
    public const int SkinnyExtent = 64;

    public static Skinny SkinnyOf(int m, int n) => n <= SkinnyExtent ? Skinny.N : m <= SkinnyExtent ? Skinny.M : Skinny.None;

    /// <summary>Columns of a tile of the GEMM on TMA: an epilogue has whole heads of 128 and 256 in it, and a cross entropy one sum of a row.</summary>
    public const int TileColumns = 256;

    /// <summary>Sums of a row that a product with n columns makes: one for each of its tiles.</summary>
    public static int RowSums(int n) => (n + TileColumns - 1) / TileColumns;
}
