#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// How one emitted kernel is launched on one target. Grid: x = ceil(rows / TileRows), y = GridY (or ceil(n / TileCols) for GEMMs, where TileCols &gt; 0).
/// Parameters by convention: for every argument a pointer to its first element, followed by an int pitch in elements when the tensor is a matrix (two dimensions or more, T counted);
/// one-dimensional weights, inputs, scalars and T-only tensors have no pitch. Last: int rows. A slice of rows is a moved pointer, so a kernel never needs its absolute row.
/// </summary>
/// <param name="Name">Function name in the text.</param>
/// <param name="Kind">row, rope, attention_forward, attention_delta, attention_dq, attention_dq_from_ds, attention_dkdv, attention_dkdv_to_ds,
/// cross_entropy, cross_entropy_from_sums, gemm, gemm_tma, gemm_epilogue, label_rows, adamw, gradient_norm, cast.</param>
/// <param name="Block">Threads per block.</param>
/// <param name="SharedBytes">Dynamic shared memory in bytes.</param>
/// <param name="TileRows">Rows one block handles.</param>
/// <param name="TileCols">Columns one block handles; 0 when the grid does not depend on columns.</param>
/// <param name="GridY">Second grid dimension, for example the head count.</param>
public sealed record KernelInfo(string Name, string Kind, int Block, int SharedBytes, int TileRows, int TileCols, int GridY)
{
    /// <summary>The kind of a GEMM whose operands are tensor maps (bf16, boxes of 64 columns, 128-byte swizzle) and whose grid is one block per multiprocessor.</summary>
    public const string GemmOnTma = "gemm_tma";

    /// <summary>The same with another kernel's work on D before it leaves the multiprocessor.</summary>
    public const string GemmWithEpilogue = "gemm_epilogue";

    /// <summary>The kind of a cross entropy whose sums of exponentials the product of its logits has made.</summary>
    public const string CrossEntropyFromSums = "cross_entropy_from_sums";

    /// <summary>The kind of a kernel of dk and dv that can also keep dS, and of the kernel of dq that starts from it.</summary>
    public const string DkdvToDs = "attention_dkdv_to_ds", DqFromDs = "attention_dq_from_ds";

    /// <summary>A kernel of dq that starts from the dS which the kernel of dk and dv kept.</summary>
    public static string FromDs(string dq) => dq + "_from_ds";

    /// <summary>The kind of the kernels that move rows of tokens with a label.</summary>
    public const string LabelRows = "label_rows";
}
