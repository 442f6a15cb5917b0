#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// What a kernel does, hence what a launch of it costs and which parameters it takes. A launch of the schedule is of one of the first eight kinds; a target's
/// kernels may be of any.
/// </summary>
public enum KernelKind
{
    /// <summary>Pointwise work and reductions along rows.</summary>
    Row,
    /// <summary>Rotary embedding, in place.</summary>
    Rope,
    AttentionForward,
    /// <summary>delta = Σd do·o.</summary>
    AttentionDelta,
    AttentionDkdv,
    AttentionDq,
    /// <summary>A weight's gradient += sums over tokens.</summary>
    TokenSum,
    /// <summary>A table's gradient += rows that ids name.</summary>
    EmbeddingGradient,

    /// <summary>As AttentionDkdv; it can also keep dS.</summary>
    AttentionDkdvToDs,
    /// <summary>As AttentionDq, from the dS that was kept.</summary>
    AttentionDqFromDs,
    CrossEntropy,
    /// <summary>As CrossEntropy, from sums of exponentials that the product of the logits has made.</summary>
    CrossEntropyFromSums,
    /// <summary>A GEMM on pointers: one k-segment.</summary>
    Gemm,
    /// <summary>A GEMM whose operands are tensor maps (bf16, boxes of 64 columns, 128-byte swizzle), of up to two k-segments; its grid is one block per multiprocessor.</summary>
    GemmTma,
    /// <summary>The same with another kernel's work on D before it leaves the multiprocessor.</summary>
    GemmEpilogue,
    /// <summary>Partial sums of G and dB from one read of dY, and their addition.</summary>
    RankGradients,
    RankSum,
    /// <summary>Dropout of adapters' inputs, and of the gradients that come back.</summary>
    Dropout,
    /// <summary>Rows of tokens with a label, to the head and back.</summary>
    LabelRows,
    /// <summary>Gradient norm, AdamW, rounded copies of adapters, sums of gradients' parts and of losses.</summary>
    Optimizer,
    /// <summary>Elements of a weight from its NF4 codes.</summary>
    Dequantize,
}
