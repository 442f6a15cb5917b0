#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// How one emitted kernel is launched on one target. Grid: x = ceil(rows / TileRows), y = GridY (or ceil(n / TileCols) for GEMMs, where TileCols &gt; 0).
/// Parameters by convention: for every argument a pointer to its first element,
/// followed by an int pitch in elements when the tensor is a matrix (two dimensions or more, T counted);
/// one-dimensional weights, inputs, scalars and T-only tensors have no pitch. Last: int rows. A slice of rows is a moved pointer, so a kernel never needs its absolute row.
/// </summary>
/// <param name="Name">Function name in the text.</param>
/// <param name="Kind">What it does.</param>
/// <param name="Block">Threads per block.</param>
/// <param name="SharedBytes">Dynamic shared memory in bytes.</param>
/// <param name="TileRows">Rows one block handles.</param>
/// <param name="TileCols">Columns one block handles; 0 when the grid does not depend on columns.</param>
/// <param name="GridY">Second grid dimension, for example the head count.</param>
public sealed record KernelInfo(string Name, KernelKind Kind, int Block, int SharedBytes, int TileRows, int TileCols, int GridY)
{
    /// <summary>Of a GEMM without an epilogue: which products it serves. Null: it is not for any product.</summary>
    public GemmForm? Gemm { get; init; }

    /// <summary>Of the rank kernels: the padded rank that they are for.</summary>
    public int Rank { get; init; }
}
