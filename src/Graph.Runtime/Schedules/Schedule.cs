using System.Collections.Generic;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>A size known once ranks are chosen: <c>Fixed + R[Group]</c>, where R[g] is the sum of the padded ranks of group g's adapters. Group -1: no rank part.</summary>
public readonly record struct Extent(int Fixed, int Group = -1)
{
    public static implicit operator Extent(int value) => new(value);
}

/// <summary>What a tensor is for, hence where its memory comes from and how long it lives.</summary>
public enum TensorKind
{
    /// <summary>Staged by the host before each micro-batch: ids, labels, positions, document bounds.</summary>
    Input,
    /// <summary>A frozen checkpoint tensor, stored in the activation dtype.</summary>
    Weight,
    /// <summary>The pitched matrix [[W, B], [A, 0]] of a group of linears that read one input (design: LoRA by layout).</summary>
    Group,
    /// <summary>fp32 gradient of a group's A: [R, K].</summary>
    GradA,
    /// <summary>fp32 gradient of a group's B: [N, R]; only the diagonal blocks (rows of linear i × ranks of linear i) are the gradient.</summary>
    GradB,
    /// <summary>Written in the forward and, if read in the backward, a candidate for save | recompute | offload.</summary>
    Activation,
    /// <summary>Written and read in the backward only.</summary>
    Gradient,
    /// <summary>One fp32 in the device's scalar block: lora_scale, inv_labels.</summary>
    Scalar,
}

/// <summary>Element types. <see cref="Act"/> is the run's activation type: bf16 or fp16 on CUDA, fp32 on the CPU.</summary>
public enum ElementType { Act, F32, I32 }

/// <summary>
/// A named tensor of the schedule. <paramref name="Tokens"/>: the first dimension is T (tokens of a micro-batch); then Dims are the remaining ones.
/// Layer is -1 outside the decoder layers. Boundary: produced in one layer and read by another layer's forward (what full recompute keeps).
/// </summary>
public sealed record ScheduleTensor(string Name, TensorKind Kind, ElementType Type, bool Tokens, IReadOnlyList<Extent> Dims, int Layer = -1, int Group = -1, bool Boundary = false);

/// <summary>One linear of a group: its module name in the checkpoint (without ".weight") and its output rows.</summary>
public sealed record GroupLinear(string Name, int Out);

/// <summary>Linears that share one input of width In. Stored rows: the linears' outputs in order, then R rank rows; columns: In, then R.</summary>
public sealed record LinearGroup(int Id, int In, IReadOnlyList<GroupLinear> Linears);

/// <summary>Half-open range of rows or columns.</summary>
public readonly record struct ExtentRange(Extent Start, Extent End);

/// <summary>A rectangle of a tensor. Rows is null for "all rows" (always so when the first dimension is T); Cols is null for "all columns".</summary>
public sealed record View(string Tensor, ExtentRange? Rows = null, ExtentRange? Cols = null);

public abstract record Launch(int Layer);

/// <summary>
/// D = alpha · op(A) · op(B), or D += when Accumulate. Layout nt: D[m,n] = Σk A[m,k]·B[n,k]; nn: Σk A[m,k]·B[k,n]; tn: Σk A[k,m]·B[k,n]. fp32 accumulation, one rounding to D's type.
/// Scale names a Scalar tensor used as alpha, or null for 1. A launch with an extent of 0 is dropped when the schedule is bound.
/// </summary>
public sealed record GemmLaunch(int Layer, GemmLayout Layout, View D, View A, View B, string? Scale, bool Accumulate) : Launch(Layer);

public enum GemmLayout { Nt, Nn, Tn }

/// <summary>
/// One emitted kernel over all T rows. Arguments are in the kernel's parameter order; the first Outputs are written, InPlace of them are read too. Window: keys that a query of attention sees at most, for costs
/// (the kernel has it in its text); null for all and for other kernels. Epilogue: where the launch before it is a product whose D are the arguments at these places, from left to right, a target may have a
/// kernel for the two (<see cref="GemmKernel.WithEpilogue"/>): one for all of D, two for its halves, 0 for D's first columns in place; null: it has none.
/// </summary>
public sealed record KernelLaunch(int Layer, string Kernel, IReadOnlyList<View> Arguments, int Outputs, int InPlace = 0, int? Window = null, IReadOnlyList<int>? Epilogue = null) : Launch(Layer);

/// <summary>
/// Frozen-head linear + softcap + cross entropy, chunked over tokens: per chunk, logits = x·tableᵀ (scratch, never whole), the row kernel turns them into dlogits in place and writes
/// one loss per row, then dx = dlogits·table. DX is null once planning finds that nothing reads it (evaluation).
/// Row kernel arguments: logits, loss, labels, inv_labels; where the product of the logits makes them, then its sums (<see cref="GemmKernel.FromSums"/>).
/// </summary>
public sealed record CrossEntropyLaunch(int Layer, string Kernel, View? DX, View Loss, View X, View Table, View Labels, string InverseLabels) : Launch(Layer);

/// <summary>How to build a dropped activation again: launches in order, whose other inputs are saved or have recipes of their own.</summary>
public sealed record Recipe(string Tensor, IReadOnlyList<Launch> Launches);

/// <summary>A compiled model as data: what to launch, in which order, on which tensors. Decisions about memory are taken at run time from these facts.</summary>
public sealed record Schedule(
    string Variant,
    int Layers,
    IReadOnlyList<LinearGroup> Groups,
    IReadOnlyList<ScheduleTensor> Tensors,
    IReadOnlyList<Launch> Forward,
    IReadOnlyList<Launch> Backward,
    IReadOnlyList<Recipe> Recipes);
