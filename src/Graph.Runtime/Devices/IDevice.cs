using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Devices;

/// <summary>The run's activation type, which is also how frozen weights are stored.</summary>
public enum ActType { F32, Bf16, F16 }

/// <param name="Target">"cpu" or a CUDA target such as "sm_90a".</param>
public sealed record DeviceInfo(string Name, string Target, long TotalBytes, int Multiprocessors, string Driver);

/// <summary>A launch whose addresses and sizes are numbers. Label is the kernel's name or the GEMM's output, for traces and tables; Flops and Bytes are its floors.</summary>
public abstract record BoundLaunch(string Label, int Layer, long Flops, long Bytes);

/// <summary>Operands of one k-segment; pitches in elements.</summary>
public readonly record struct GemmOperands(nint A, int APitch, nint B, int BPitch, int K)
{
    /// <summary>
    /// Null: all of B counts. Else B is block-diagonal, [N, K] of layout nt, and zero outside of these blocks: a column of D needs the ranks of its own ones, and a
    /// device may leave out the others.
    /// </summary>
    public IReadOnlyList<RankBlock>? Blocks { get; init; }
}

/// <summary>
/// Row-major D[M,N] (=|+=) alpha · Σ over segments of op(A) · op(B), in one fp32 accumulation; pitches in elements; D is <paramref name="DType"/>, operands are
/// Act. A device whose kernels take one segment adds the second to the first one's rounded D.
/// </summary>
/// <param name="Segments">At least one.</param>
public sealed record BoundGemm(string Label, int Layer, long Flops, long Bytes, GemmLayout Layout, ElementType DType, nint D, int DPitch, int M, int N,
    IReadOnlyList<GemmOperands> Segments, float Alpha, bool Accumulate)
    : BoundLaunch(Label, Layer, Flops, Bytes)
{
    /// <summary>One product of one segment.</summary>
    public BoundGemm(string label, int layer, long flops, long bytes, GemmLayout layout, ElementType dType, nint d, int dPitch, nint a, int aPitch, nint b, int bPitch,
        int m, int n, int k, float alpha, bool accumulate)
        : this(label, layer, flops, bytes, layout, dType, d, dPitch, m, n, [new GemmOperands(a, aPitch, b, bPitch, k)], alpha, accumulate)
    {
    }

    /// <summary>The only segment of a product that has one.</summary>
    public GemmOperands Operands => Segments.Count == 1 ? Segments[0] : throw new InvalidOperationException($"gemm: {Label} has {Segments.Count} segments.");

    /// <summary>The product as launches of one segment each, which add up in D.</summary>
    public IEnumerable<BoundGemm> Apart() => Segments.Select((s, i) => this with { Segments = [s], Accumulate = Accumulate || i > 0, Sums = null });

    /// <summary>
    /// Rows of the product that this one is a part of: M, or more where it runs tile by tile. A device chooses its kernel by them, so that parts have the bits of the whole.
    /// </summary>
    public int WholeM { get => field == 0 ? M : field; init; }

    /// <summary>Tn with Accumulate: for each so many of k, in order, D += their product (<see cref="GemmKernel.TokenUnit"/>).</summary>
    public int Unit { get; init; } = int.MaxValue;

    /// <summary>Null: all M rows of D are wanted. A device may compute all of them just the same: Flops and Bytes are those of all.</summary>
    public RowLimit? Limit { get; init; }

    /// <summary>Null: D alone is wanted. Else a device that has kernels for it writes sums over D's rows too, and runs <see cref="RowSums.Kernel"/> from them.</summary>
    public RowSums? Sums { get; init; }
}

/// <summary>Room for f32[M, <see cref="GemmKernel.RowSums"/>] of what a cross entropy that reads D would sum over a row: exponentials, a tile of columns each.</summary>
/// <param name="Kernels">The product that makes them, and the cross entropy that starts from them.</param>
public readonly record struct RowSums(LossFromSums Kernels, nint Address, int Pitch);

/// <summary>
/// Of a product's M rows the first Count - First are wanted, none when that is negative, and Count is an i32 in device memory: a fixed program reads it each time it runs.
/// </summary>
/// <param name="Count">Its address.</param>
/// <param name="First">How many rows other products have before this one's.</param>
public readonly record struct RowLimit(nint Count, int First);

/// <summary>Columns Start … Start + Columns of Y and dY belong to one linear, whose ranks are columns RankStart … RankStart + Rank of S, G and B.</summary>
public readonly record struct RankBlock(int Start, int Columns, int RankStart, int Rank);

/// <summary>
/// The two products of a stack of adapters that read dY: G = s·dY·B and dB += dYᵀ·S, of which only the blocks are wanted. A device without a kernel that makes
/// both from one read runs one after the other.
/// Bytes counts dY once.
/// </summary>
public sealed record BoundRankGradients(string Label, int Layer, long Flops, long Bytes, BoundGemm G, BoundGemm GradB,
    IReadOnlyList<RankBlock> Blocks) : BoundLaunch(Label, Layer, Flops, Bytes);

/// <summary>
/// A product and the kernel that reads D right after it. A device with a kernel for the two runs that; another one runs one after the other, with the same bits.
/// Bytes counts D as the one kernel moves it.
/// </summary>
/// <param name="Fused">The kernel of both.</param>
/// <param name="Places">Where the kernel's arguments are D (<see cref="EpilogueFusion"/>).</param>
/// <param name="Outputs">Arguments of the kernel that it writes: the first ones.</param>
/// <param name="StoreD">The product has to store D, because something else reads it and the kernel does not write it.</param>
public sealed record BoundGemmEpilogue(string Label, int Layer, long Flops, long Bytes, string Fused, BoundGemm Gemm, BoundKernel Kernel, IReadOnlyList<int> Places,
    int Outputs, bool StoreD) : BoundLaunch(Label, Layer, Flops, Bytes);

/// <summary>
/// Pitch 0: the argument is a pointer alone. RowBytes: bytes from one token's row to the next, 0 when
/// the argument has no token dimension; a slice of rows moves the pointer by it.
/// </summary>
public readonly record struct BoundArgument(nint Address, int Pitch, int RowBytes = 0);

public sealed record BoundKernel(string Label, int Layer, long Flops, long Bytes, string Kernel, IReadOnlyList<BoundArgument> Arguments,
    int Rows) : BoundLaunch(Label, Layer, Flops, Bytes)
{
    /// <summary>Sums that the product before made, where the device has it make them: <see cref="BoundGemm.Sums"/>.</summary>
    public RowSums? Sums { get; init; }

    /// <summary>
    /// Null: attention's backward keeps nothing from one kernel to the other. Else a device that has kernels for it
    /// keeps dS; Flops and Bytes are those of a device without (<see cref="IDevice.AsRun"/>).
    /// </summary>
    public KeptScoreGradients? ScoreGradients { get; init; }
}

/// <summary>dS of attention (<see cref="Planning.ScoreGradients"/>), between the kernel of dk and dv, which writes it, and that of dq.</summary>
/// <param name="DqFromDs">The kernel of dq that starts from dS, for both: one writes when the other can read.</param>
/// <param name="Starts">This launch makes dq; else it writes dS.</param>
/// <param name="Tiles">Key tiles of a tile of queries, at most.</param>
/// <param name="Flops">Of dq from dS.</param>
/// <param name="Bytes">Of the visible pairs, which either kernel moves besides its arguments.</param>
public readonly record struct KeptScoreGradients(string DqFromDs, bool Starts, nint Address, int Tiles, long Flops, long Bytes);

public sealed record BoundFill(string Label, nint Address, byte Value, long Count) : BoundLaunch(Label, -1, 0, Count);

/// <summary>Zeros in <paramref name="Width"/> bytes of each row, rows <paramref name="Pitch"/> bytes apart: a product of which no segment is there.</summary>
public sealed record BoundZeros(string Label, int Layer, nint Address, long Pitch, long Width, int Rows) : BoundLaunch(Label, Layer, 0, Width * Rows);

public sealed record BoundCopy(string Label, nint Destination, nint Source, long Count) : BoundLaunch(Label, -1, 0, 2 * Count);

/// <summary>Direction of a copy between page-locked host memory and the device. Each has a stream of its own beside the one that computes.</summary>
public enum Lane { ToHost, ToDevice }

/// <summary>
/// A copy between host and device begins when all launches before have ended, and runs beside those that follow, in the order of its lane's starts. A program waits for
/// every copy that it starts. Bytes are those
/// that cross the bus.
/// </summary>
public sealed record BoundTransferStart(string Label, int Layer, Lane Lane, int Number, nint Destination, nint Source, long Count) : BoundLaunch(Label, Layer, 0, Count);

/// <summary>Launches behind begin when the copy of this number has ended.</summary>
public sealed record BoundTransferWait(string Label, int Layer, int Number) : BoundLaunch(Label, Layer, 0, 0);

/// <summary>Launches made ready to run again and again: a CUDA graph, or a list.</summary>
public interface IProgram : IDisposable
{
    /// <summary>Starts the launches in order on the device's stream and returns at once (CUDA) or when they are done (CPU).</summary>
    void Run();

    /// <summary>
    /// Runs once, launch by launch, and returns the milliseconds of each (device events on CUDA). A copy between host and device is timed at its start, with nothing
    /// beside it.
    /// </summary>
    IReadOnlyList<double> Time();

    /// <summary>Runs once and waits; milliseconds of the device from the start of the first launch to the end of the last, without what the host needs to start them.</summary>
    double Span();
}

/// <summary>Host memory that launches copy from and to while the host goes on (page-locked on CUDA). Holds anything at first.</summary>
public interface IHostBuffer : IDisposable
{
    nint Address { get; }
}

/// <summary>A point among the launches that the host can wait for.</summary>
public interface IMarker : IDisposable
{
    /// <summary>The point is behind what was started so far.</summary>
    void Set();

    void Wait();
}

/// <summary>One stream's worth of a device. Addresses are plain numbers, fixed for the life of an allocation; on the CPU they are pointers.</summary>
public interface IDevice : IDisposable
{
    DeviceInfo Info { get; }
    ActType Act { get; }

    /// <summary>Bytes this process may still allocate.</summary>
    long FreeBytes { get; }

    /// <summary>Bytes this device object has allocated now, and at most so far.</summary>
    long AllocatedBytes { get; }
    long PeakBytes { get; }

    /// <summary>Bytes that the process takes on the device now, whatever for: on a GPU also its context, code and graphs.</summary>
    long TakenBytes => AllocatedBytes;

    /// <exception cref="DeviceMemoryException">It does not fit; the message has the bytes asked for and free.</exception>
    nint Allocate(long bytes);
    void Free(nint address);

    /// <summary>Blocking copies, ordered after what was started before.</summary>
    void Upload(nint destination, ReadOnlySpan<byte> source);
    void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows);
    void Download(Span<byte> destination, nint source);
    void Fill(nint destination, byte value, long bytes);
    void Synchronize();

    /// <summary>Makes the model's kernels ready: compiles or loads what is not in the cache.</summary>
    void Load(CompiledModel model);

    IProgram Prepare(IReadOnlyList<BoundLaunch> launches);

    /// <summary>The launch with the operations and bytes that this device needs for it, where it takes another way than the one they count. Kernels must be loaded.</summary>
    BoundLaunch AsRun(BoundLaunch launch) => launch;

    /// <summary>Programs run while the host goes on: the next step can be started before this one's result is read.</summary>
    bool RunsAhead { get; }

    /// <summary>Host memory is not counted in <see cref="AllocatedBytes"/>.</summary>
    /// <exception cref="DeviceMemoryException">The host has not so much to give.</exception>
    IHostBuffer AllocateHost(long bytes);

    IMarker CreateMarker();
}

/// <summary>A device or its driver failed. Exit code 5.</summary>
public class DeviceException(string message) : Exception(message);

/// <summary>Memory asked for does not fit. Exit code 4.</summary>
public sealed class DeviceMemoryException(string message) : DeviceException(message);
