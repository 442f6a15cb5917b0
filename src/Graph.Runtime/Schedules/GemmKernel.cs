#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Which emitted GEMM serves a product. Its tile only changes speed: every element of D is one sum over k in order, whatever the tile.</summary>
public static class GemmKernel
{
    /// <summary>At most this many rows or columns of D (ranks) take a tile that is small in that dimension and deep in stages, because they only stream the other operand.</summary>
    public const int SkinnyExtent = 64;

    public static bool SkinnyN(int n) => n <= SkinnyExtent;

    public static bool SkinnyM(int m, int n) => m <= SkinnyExtent && !SkinnyN(n);

    /// <summary>Columns of a tile of the GEMM on TMA: an epilogue has whole heads of 128 and 256 in it, and a cross entropy one sum of a row.</summary>
    public const int TileColumns = 256;

    /// <summary>For example gemm_nt, gemm_nn_add, gemm_tn_f32_add_skinny_m.</summary>
    /// <param name="layout">Which operands are transposed.</param>
    /// <param name="f32">D is fp32, else the activation type.</param>
    /// <param name="accumulate">D +=.</param>
    /// <param name="skinnyM">D has few rows.</param>
    /// <param name="skinnyN">D has few columns.</param>
    public static string Name(GemmLayout layout, bool f32, bool accumulate, bool skinnyM, bool skinnyN) =>
        "gemm_" + (layout switch { GemmLayout.Nt => "nt", GemmLayout.Nn => "nn", _ => "tn" })
        + (f32 ? "_f32" : "") + (accumulate ? "_add" : "") + (skinnyN ? "_skinny_n" : skinnyM ? "_skinny_m" : "");

    /// <summary>The product and the kernel that reads it, as one: gemm_nt_k04_mul. Of a cross entropy: the product and the kernel's sums.</summary>
    public static string WithEpilogue(GemmLayout layout, string kernel) => Name(layout, false, false, false, false) + "_" + kernel;

    /// <summary>What is left of a cross entropy when the product of its logits has summed the exponentials.</summary>
    public static string FromSums(string crossEntropy) => crossEntropy + "_from_sums";

    /// <summary>Sums of a row that a product with n columns makes: one for each of its tiles.</summary>
    public static int RowSums(int n) => (n + TileColumns - 1) / TileColumns;
}
