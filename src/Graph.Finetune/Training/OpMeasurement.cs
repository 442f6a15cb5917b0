using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Training;

/// <summary>One op of one shape by itself.</summary>
/// <param name="On">What ran: cublaslt or emitted for a product, else the target.</param>
/// <param name="Milliseconds">Median; least and most beside it.</param>
/// <param name="EmittedMilliseconds">The emitted GEMM's median beside cuBLASLt's, in the same run; null for other ops.</param>
/// <param name="EmittedOfCublasLt">The emitted GEMM's speed, of cuBLASLt's.</param>
/// <param name="PlainMilliseconds">The median of the product without its adapters, in the same run; null for ops that have none.</param>
/// <param name="OfPlain">Speed with adapters, of the speed without: 1 would be adapters for nothing.</param>
public sealed record OpTime(string Name, string Shape, string On, double Milliseconds, double Least, double Most, double? Tflops, double? Gbps, double OfLimit,
    double? EmittedMilliseconds, double? EmittedOfCublasLt, double? PlainMilliseconds, double? OfPlain);

/// <summary>A launch of the schedule, or a pair of products that a step makes one launch of (then dB's), and how it is bound.</summary>
public sealed record MeasuredOp(Launch Launch, Func<LaunchBinder, Func<string, nint>, BoundLaunch> Bind, string Name = "");

/// <summary>
/// Ops of a schedule, each alone on random values: its tensors are allocated for it, and before every launch a copy fills the cache,
/// so that what an op reads comes from memory (in a step, part
/// of it is still in the cache), and half of what it displaces there is written back first, as behind any op that reads and writes.
/// </summary>
public sealed class OpMeasurement(IDevice device, Schedule schedule, RankTable ranks, MicroBatch batch)
{
    readonly Shapes shapes = new(schedule, batch.Ids.Length, ranks, device.Act);
    readonly byte[] values = DeviceLimits.RandomValues(device.Act);

    // Half of it is more than a GPU's cache: 60 MB on an H200. A CPU's copy of as much would take longer than its ops.
    long FlushBytes => device.RunsAhead ? 256L << 20 : 16L << 20;

    public DeviceLimits Limits()
    {
        var bytes = device.RunsAhead ? 2L << 30 : 64L << 20;
        var scratch = device.Allocate(bytes);
        try
        {
            return DeviceLimits.Measure(device, scratch, bytes);
        }
        finally
        {
            device.Free(scratch);
        }
    }

    /// <summary>The launches of a micro-batch whose name holds <paramref name="part"/>, one of each kernel and product shape, by name as the verb bench prints it.</summary>
    public IReadOnlyList<MeasuredOp> Find(string? part)
    {
        var binder = Binder(ExecutionPlan.DefaultLogitsRows(shapes, device.Info.Multiprocessors));
        Launch[] launches = [.. schedule.Forward.Concat(schedule.Backward).Where(l => !shapes.IsEmpty(l))];
        // A cross entropy is several launches, some of them per chunk of rows; the first chunk stands for all.
        var single = launches.SelectMany(launch => binder.Bind(launch, _ => 0).Select((bound, i) => (Bound: bound, At: i)).DistinctBy(l => StepMeasurement.Name(l.Bound))
            .Select(l => new MeasuredOp(launch, (b, address) => b.Bind(launch, address).ElementAt(l.At)))).ToArray();
        // A product that sums up rows is measured with its sums, where the device makes them, and without.
        bool Fuses(BoundLaunch bound) => device is CudaDevice cuda && cuda.Fuses(bound);
        bool HasSums(MeasuredOp op) => op.Bind(binder, _ => 0) is BoundGemm { Sums: not null };
        var plain = single.Select(op => HasSums(op) ? op with { Bind = (b, address) => (BoundGemm)op.Bind(b, address) with { Sums = null } } : op);
        var sums = single.Where(op => HasSums(op) && Fuses(op.Bind(binder, _ => 0)));
        var lastRead = new Dictionary<string, int>();
        for (var at = 0; at < launches.Length; at++)
            foreach (var read in shapes.Of(launches[at]).Reads) lastRead[read.Tensor] = at;
        var fused = Enumerable.Range(1, launches.Length - 1).SelectMany(at => Fused(shapes.FusionAt(launches, at), at)).ToArray();
        return [.. plain.Concat(sums).Concat(fused).Select(op => (Op: op, Bound: op.Bind(binder, _ => 0)))
            .Select(o => (o.Op, o.Bound, Name: Name(o.Bound))).Where(o => part is null || o.Name.Contains(part, StringComparison.OrdinalIgnoreCase))
            .DistinctBy(o => (o.Name, Shape(o.Bound))).Select(o => o.Op with { Name = o.Name })];

        // Two launches as the one that a step makes of them. Attention's backward is measured as two kernels that compute all they need, and with dS kept between them.
        IEnumerable<MeasuredOp> Fused(Fusion? fusion, int at)
        {
            BoundLaunch One(LaunchBinder b, int i, Func<string, nint> address) => b.Bind(launches[i], address).Single();
            switch (fusion)
            {
                case RankGradientsFusion:
                    return [new MeasuredOp(launches[at],
                        (b, address) => RankGradients.Bind(shapes, (BoundGemm)One(b, at - 1, address), (BoundGemm)One(b, at, address), (GemmLaunch)launches[at]))];
                case EpilogueFusion epilogue:
                    var (product, row) = ((GemmLaunch)launches[at - 1], (KernelLaunch)launches[at]);
                    return [new MeasuredOp(row,
                        (b, address) => GemmEpilogues.Bind(shapes, epilogue, product, row,
                            (BoundGemm)One(b, at - 1, address), (BoundKernel)One(b, at, address), lastRead[product.D.Tensor] > at))];
                case ScoreGradientsFusion scores:
                    return new[] { at - 1, at }.Select(i => new MeasuredOp(launches[i],
                        (b, address) => ScoreGradients.Bind(shapes, scores, (KernelLaunch)launches[i], (BoundKernel)One(b, i, address),
                        address(ScoreGradients.Scratch), batch.LongestDocument, batch.AttendedPairs(((KernelLaunch)launches[i]).Attention!.Window))))
                            .Where(op => Fuses(op.Bind(binder, _ => 0)));
                case null: return [];
                default: throw new ArgumentException($"measure: unknown fusion {fusion.GetType().Name}");
            }
        }

        static string Name(BoundLaunch bound) => StepMeasurement.Name(bound) + bound switch
        {
            BoundGemm { Sums: { } sums } => $", sums for {sums.Kernels.Kernel}",
            BoundKernel { ScoreGradients: { } kept } => kept.Starts ? ", from dS" : ", keeps dS",
            _ => "",
        };
    }

    LaunchBinder Binder(int logitsRows) => new(shapes, 1, logitsRows, batch.AttendedPairs);

    public OpTime Measure(MeasuredOp op, int repeats, DeviceLimits limits)
    {
        var allocated = new List<nint>();
        var buffers = new Dictionary<string, nint>();
        try
        {
            var flush = Allocate(FlushBytes);
            // All rows, so that cuBLASLt and the emitted GEMM do the same work.
            var bound = op.Bind(Binder(LogitsRows), Buffer);
            if (bound is BoundGemm { Limit: not null } limited) bound = limited with { Limit = null };
            bound = device.AsRun(bound);
            BoundLaunch[] Flushed(BoundLaunch launch) => [new BoundCopy("flush", flush + (nint)(FlushBytes / 2), flush, FlushBytes / 2), launch];
            using var program = device.Prepare(Flushed(bound));
            using var emitted = bound is BoundGemm { Sums: null } && device is CudaDevice { Gemm: "cublaslt" } gpu ? gpu.PrepareEmitted(Flushed(bound)) : null;
            using var plain = WithoutAdapters(bound) is { } product ? device.Prepare(Flushed(product)) : null;
            var (times, beside, without) = InTurns(program, emitted, plain, repeats);
            var median = Median(times);
            var compute = limits.IsCompute(bound);
            return new OpTime(op.Name, Shape(bound), bound is not BoundGemm { Sums: null } ? device.Info.Target
                : emitted is null ? device is CudaDevice ? "emitted" : "cpu" : "cublaslt", median, times.Min(), times.Max(),
                compute ? bound.Flops / median / 1e9 : null, compute ? null : bound.Bytes / median / 1e6, limits.Floor(bound) / median,
                beside.Count > 0 ? Median(beside) : null, beside.Count > 0 ? SpeedOf(times, beside) : null,
                without.Count > 0 ? Median(without) : null, without.Count > 0 ? SpeedOf(without, times) : null);
        }
        finally
        {
            foreach (var address in allocated) device.Free(address);
        }

        nint Allocate(long bytes)
        {
            allocated.Add(device.Allocate(bytes));
            return allocated[^1];
        }

        // Views of one tensor share a buffer, as in a step.
        nint Buffer(string tensor)
        {
            if (buffers.TryGetValue(tensor, out var known)) return known;
            if (LabelRows.Inputs(shapes.Tokens).Any(i => i.Name == tensor)) return Staged(tensor);
            // What a head asks for besides tensors, and a layer's attention.
            var scratch = tensor == ScoreGradients.Scratch ? (Name: tensor, Bytes: MostKept())
                : op.Launch is CrossEntropyLaunch head ? Lifetimes.ScratchOf(shapes, head, LogitsRows).FirstOrDefault(s => s.Name == tensor) : default;
            if (scratch.Name == LabelRows.Labels) return Staged("labels");
            var layout = scratch.Name is null ? shapes[tensor] : null;
            var bytes = layout?.Bytes ?? scratch.Bytes;
            var address = buffers[tensor] = Allocate(Math.Max(4, bytes));
            if (layout?.Tensor.Kind == TensorKind.Scalar) device.Upload(address, BitConverter.GetBytes(1f));
            else if (layout?.Tensor.Kind == TensorKind.RopeTable)
            device.Upload(address, MemoryMarshal.AsBytes(RopeScaling.Unscaled.Table(layout.Tensor, batch.LongestDocument).AsSpan()));
            else if (layout?.Tensor.Type == ElementType.I32) device.Upload(address, MemoryMarshal.AsBytes(batch[tensor].AsSpan()));
            else DeviceLimits.Repeat(device, address, bytes, values);
            return address;

            // The row kernel by itself finds the labels where a gather would have put them.
            nint Staged(string input)
            {
                var staged = buffers[tensor] = Allocate(4L * batch[input].Length);
                device.Upload(staged, MemoryMarshal.AsBytes(batch[input].AsSpan()));
                return staged;
            }
        }
    }

    /// <summary>What the product of linears is without their adapters: its first segment. Null: the launch has no other.</summary>
    static BoundGemm? WithoutAdapters(BoundLaunch bound) => bound is BoundGemm { Segments: [var first, _, ..] } product ? product with { Segments = [first] } : null;

    // Milliseconds of each, turn by turn. Every other turn goes backwards, so that none always runs behind the same one. The first turns load code and are not counted.
    static (List<double> Program, List<double> Emitted, List<double> Plain) InTurns(IProgram program, IProgram? emitted, IProgram? plain, int repeats)
    {
        (IProgram? Of, List<double> Times)[] turn = [(program, []), (emitted, []), (plain, [])];
        for (var i = -2; i < repeats; i++)
            foreach (var (of, times) in i % 2 == 0 ? turn : turn.Reverse())
                if (of?.Time()[1] is { } ms && i >= 0) times.Add(ms);
        return (turn[0].Times, turn[1].Times, turn[2].Times);
    }

    /// <summary>
    /// The speed of `times`, of the speed of `reference`: the median over the turns, each of two launches in one turn.
    /// A power cap moves the clock between turns (a product of 1.08 ms also takes 1.25), and medians of the times by themselves would compare different clocks.
    /// </summary>
    internal static double SpeedOf(IReadOnlyList<double> reference, IReadOnlyList<double> times) => Median(reference.Zip(times, (r, t) => r / t));

    static double Median(IEnumerable<double> values) => StepMeasurement.Of([.. values.Order()]);

    // The most that a layer's attention keeps: one with a window keeps less.
    long MostKept() => Enumerable.Range(0, schedule.Backward.Count).Where(at => shapes.FusionAt(schedule.Backward, at) is ScoreGradientsFusion)
        .Max(at => ScoreGradients.Lifetime(shapes, (KernelLaunch)schedule.Backward[at], at, batch.LongestDocument).Bytes);

    int LogitsRows => Math.Min(ExecutionPlan.DefaultLogitsRows(shapes, device.Info.Multiprocessors), shapes.Tokens);

    string Shape(BoundLaunch bound) => bound switch
    {
        BoundGemm g => string.Create(CultureInfo.InvariantCulture, $"{g.M} x {g.N} x {g.Segments.Sum(s => s.K)}"),
        BoundKernel k => string.Create(CultureInfo.InvariantCulture, $"{k.Rows} rows"),
        BoundGemmEpilogue f => Shape(f.Gemm),
        BoundRankGradients r => string.Create(CultureInfo.InvariantCulture, $"{r.GradB.M} x {r.GradB.N} x {r.GradB.Operands.K}"),
        _ => "",
    };
}
