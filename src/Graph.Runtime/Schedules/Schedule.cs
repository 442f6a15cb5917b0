using System.Collections.Generic;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>A size known once ranks are chosen: <c>Fixed</c>, or R[Stack], the sum of the padded ranks of a stack of adapters (Fixed is 0 then). Stack -1: no ranks.</summary>
public readonly record struct Extent(int Fixed, int Stack = -1)
{
    public static implicit operator Extent(int value) => new(value);
}

/// <summary>What a tensor is for, hence where its memory comes from and how long it lives.</summary>
public enum TensorKind
{
    /// <summary>Staged by the host before each micro-batch: ids, labels, positions, document bounds.</summary>
    Input,
    /// <summary>A checkpoint tensor, or several of them under each other (Parts), stored in the activation dtype as the checkpoint has them.</summary>
    Weight,
    /// <summary>The A of a stack of adapters rounded to the activation dtype, under each other: [R, In].</summary>
    AdapterA,
    /// <summary>Their B: [Out, R], the blocks of the diagonal; zero elsewhere.</summary>
    AdapterB,
    /// <summary>fp32 gradient of A: [R, In].</summary>
    GradA,
    /// <summary>fp32 gradient of B: [Out, R]; only the blocks (rows of adapter i × ranks of adapter i) are the gradient.</summary>
    GradB,
    /// <summary>fp32 gradient of a weight that is trained; its name is the weight's with .gradient behind it.</summary>
    GradWeight,
    /// <summary>Written in the forward and, if read in the backward, a candidate for save | recompute | offload.</summary>
    Activation,
    /// <summary>Written and read in the backward only.</summary>
    Gradient,
    /// <summary>One fp32 in the device's scalar block: a <see cref="StepScalar"/>.</summary>
    Scalar,
    /// <summary>
    /// Of a rotary embedding, f32[D/2 + 1]: what a position is multiplied by, pair for pair, and the factor of sine and cosine; the host fills it once (<see cref="RopeFacts"/>).
    /// </summary>
    RopeTable,
}

/// <summary>Element types. <see cref="Act"/> is the run's activation type: bf16 or fp16 on CUDA, fp32 on the CPU.</summary>
public enum ElementType { Act, F32, I32 }

/// <summary>A checkpoint tensor that is part of a stacked weight, and its rows.</summary>
public sealed record WeightPart(string Name, int Rows);

/// <summary>
/// What a rope table is made from: frequencies 1/Theta^(2i/D), scaled as the checkpoint's config.json says of layers of this type ("full_attention"); null: of all layers.
/// </summary>
public sealed record RopeFacts(double Theta, string? Layers);

/// <summary>
/// A named tensor of the schedule. <paramref name="Tokens"/>: the first dimension is T (tokens of a micro-batch); then Dims are the remaining ones.
/// Layer is -1 outside the decoder layers. Boundary: produced in one layer and read by another layer's forward (what full recompute keeps). Parts: null for a
/// tensor that is not stacked. Rope: of a rope table.
/// </summary>
public sealed record ScheduleTensor(string Name, TensorKind Kind, ElementType Type, bool Tokens, IReadOnlyList<Extent> Dims, int Layer = -1, int Stack = -1, bool Boundary = false,
    IReadOnlyList<WeightPart>? Parts = null, RopeFacts? Rope = null)
{
    /// <summary>The checkpoint tensors that a weight is loaded from, in order, each with its shape.</summary>
    public IEnumerable<(string Name, int[] Shape)> Stored()
    {
        if (Parts is null)
        {
            var shape = new int[Dims.Count];
            for (var i = 0; i < shape.Length; i++) shape[i] = Dims[i].Fixed;
            yield return (Name, shape);
            yield break;
        }
        foreach (var part in Parts) yield return (part.Name, new[] { part.Rows, Dims[1].Fixed });
    }
}

/// <summary>One adapter: its module name, for example model.layers.0.self_attn.q_proj, and where its rows lie in the stack's B.</summary>
public sealed record StackedAdapter(string Name, int Out, int OutStart);

/// <summary>
/// Adapters that read one input of width In, stored together: A under each other, [ΣR, In]; B block-diagonal, [Out, ΣR], with zeros between the blocks, so that
/// x·Aᵀ and S·Bᵀ are one GEMM each for all of them.
/// An adapter that cannot share is a set of one.
/// </summary>
public sealed record AdapterSet(int Id, int In, int Out, IReadOnlyList<StackedAdapter> Adapters);

/// <summary>Half-open range of columns.</summary>
public readonly record struct ColumnRange(int Start, int End);

/// <summary>All rows of a tensor, and all of its columns or a range of them.</summary>
public sealed record View(string Tensor, ColumnRange? Columns = null);

/// <summary>One launch. Id is its place in the schedule's list of launches; recipes and fusions name launches by it.</summary>
public abstract record Launch(int Id, int Layer);

/// <summary>Operands of one k-segment of a GEMM; each lies where it lies.</summary>
public sealed record GemmSegment(View A, View B);

/// <summary>
/// D = scale · Σ over segments of op(A) · op(B), or D += when Accumulate. Layout nt: Σk A[m,k]·B[n,k]; nn: Σk A[m,k]·B[k,n]; tn: Σk A[k,m]·B[k,n]. One fp32
/// accumulation, one rounding to D's type.
/// A segment with an extent of 0 (an adapter that is not there) is dropped when the schedule is bound.
/// </summary>
public sealed record GemmLaunch(int Id, int Layer, GemmLayout Layout, View D, IReadOnlyList<GemmSegment> Segments, ScaleFactor Scale, bool Accumulate) : Launch(Id, Layer);

public enum GemmLayout { Nt, Nn, Tn }

/// <summary>
/// What attention's cost and memory depend on. Window: keys that a query sees at most; null: all of its document before it. Products: matrix products over the
/// visible pairs, of 2·HeadDim operations a pair and query head each.
/// </summary>
public sealed record AttentionFacts(int Heads, int KvHeads, int HeadDim, int? Window, int Products);

/// <summary>
/// One emitted kernel over all T rows. Arguments are in the kernel's parameter order; the first Outputs are written, InPlace of them are read too. Attention:
/// null for other kinds.
/// </summary>
public sealed record KernelLaunch(int Id, int Layer, KernelKind Kind, string Kernel, IReadOnlyList<View> Arguments, int Outputs,
    int InPlace = 0, AttentionFacts? Attention = null) : Launch(Id, Layer);

/// <summary>
/// Frozen-head linear + softcap + cross entropy, chunked over tokens:
/// per chunk, logits = x·tableᵀ (scratch, never whole), the row kernel turns them into dlogits in place and writes
/// one loss per row, then dx = dlogits·table. DX is null once planning finds that nothing reads it (evaluation). Kernel arguments: logits, loss, labels, inv_labels.
/// Sums: null, or what a device may run in place of the plain product and the kernel.
/// </summary>
public sealed record CrossEntropyLaunch(int Id, int Layer, string Kernel, View? DX, View Loss, View X, View Table, View Labels,
    StepScalar InverseLabels, LossFromSums? Sums) : Launch(Id, Layer)
{
    /// <summary>Where the table's gradient += dlogitsᵀ·x goes; null: the table is frozen, or nothing reads it (evaluation).</summary>
    public View? DTable { get; init; }

    /// <summary>The table's gradient is written, whatever it held. No schedule says so: planning does (<c>GradientWrites</c>).</summary>
    public bool WritesTable { get; init; }
}

/// <summary>Elements of a weight from its packed block (NF4). No schedule has one: planning inserts it where a weight is stored so.</summary>
public sealed record DequantizeLaunch(int Layer, View Weight, View Packed) : Launch(Planned, Layer)
{
    /// <summary>The id of launches that no schedule has.</summary>
    public const int Planned = -1;
}

/// <summary>
/// The product of the logits also sums the exponentials of each tile of a row (Product), and the loss is made from those sums (Kernel: the arguments above,
/// then the sums).
/// </summary>
public sealed record LossFromSums(string Product, string Kernel);

/// <summary>Two launches that a device may run as one, when they follow each other directly and it has the kernel. Else it runs one after the other, with the same bits.</summary>
public abstract record Fusion(int First, int Second);

/// <summary>The second launch's work is done on the tiles of the first, a GEMM, before they leave the multiprocessor.</summary>
/// <param name="Kernel">The kernel of both.</param>
/// <param name="Places">Where the second launch's arguments are the GEMM's D, from left to right: one for all of D or, in place, its first columns; two for its halves.</param>
public sealed record EpilogueFusion(int First, int Second, string Kernel, IReadOnlyList<int> Places) : Fusion(First, Second);

/// <summary>G = s·dY·B and dB += dYᵀ·S of a stack of adapters: one read of dY serves both.</summary>
public sealed record RankGradientsFusion(int First, int Second) : Fusion(First, Second);

/// <summary>dk, dv and then dq of attention: the first may keep dS, the gradient of the scores, and then dq is one product of three.</summary>
/// <param name="Kernel">The kernel of dq that starts from dS.</param>
public sealed record ScoreGradientsFusion(int First, int Second, string Kernel) : Fusion(First, Second);

/// <summary>How to build a dropped activation again: launches in order, whose other inputs are saved or have recipes of their own.</summary>
public sealed record Recipe(string Tensor, IReadOnlyList<Launch> Launches);

/// <summary>
/// A compiled model as data: what to launch, in which order, on which tensors, and which launches may be one. Decisions about memory are taken at run time from
/// these facts.
/// </summary>
/// <param name="Recompute">Launches that only recipes name: a kernel of several outputs cut down to one.</param>
public sealed record Schedule(
    string Variant,
    int Layers,
    IReadOnlyList<AdapterSet> Adapters,
    IReadOnlyList<ScheduleTensor> Tensors,
    IReadOnlyList<Launch> Forward,
    IReadOnlyList<Launch> Backward,
    IReadOnlyList<Launch> Recompute,
    IReadOnlyList<Recipe> Recipes,
    IReadOnlyList<Fusion> Fusions)
{
    /// <summary>lora_scale stands elsewhere than on its own adapter's product, so all adapters must have one.</summary>
    public bool SharedScale { get; init; }
}
