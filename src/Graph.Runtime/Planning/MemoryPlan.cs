using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>One allocation each, on the device but for the last.</summary>
public enum MemoryBlock
{
    /// <summary>Activations, gradients of activations, the head's scratch, weights while they are made from what is stored of them: shared by liveness.</summary>
    Arena,
    /// <summary>Weights, as they are stored, or as products read them where they are trained, and rope tables.</summary>
    Weights,
    /// <summary>A and B, rounded to the activation type: what products read.</summary>
    Adapters,
    /// <summary>fp32 gradients of A and B, or of trained weights.</summary>
    Gradients,
    /// <summary>fp32 masters of A and B, or of trained weights, their two moments, segment tables, partial sums.</summary>
    Optimizer,
    /// <summary>Inputs of the running micro-batch and run-time scalars.</summary>
    Inputs,
    /// <summary>Page-locked memory of the host: weights that are streamed, what is offloaded, masters and moments where they rest there. No block of the device.</summary>
    Host,
}

/// <summary>A place in a block, in bytes.</summary>
public readonly record struct Location(MemoryBlock Block, long Offset);

/// <summary>Where masters and moments begin in the host block, and how many bytes they are: a multiple of 256, as offloaded tensors are.</summary>
public readonly record struct HostStates(long Offset, long Bytes);

/// <summary>
/// Every byte of a run, decided before anything is allocated. Blocks are allocated once, in this order,
/// with exactly these sizes, so <see cref="PeakBytes"/> is what the device will report.
/// </summary>
/// <param name="Blocks">Bytes per block; blocks of 0 bytes are left out.</param>
/// <param name="Scalars">The <see cref="ScalarBlock"/>.</param>
/// <param name="Permanent">Tensors that keep their place for the whole run.</param>
public sealed record MemoryPlan(IReadOnlyDictionary<MemoryBlock, long> Blocks, IReadOnlyDictionary<string, Location> Permanent, Location Scalars)
{
    public long PeakBytes => Blocks.Values.Sum();

    /// <summary>Bytes of <see cref="MemoryBlock.Host"/>, which are not in <see cref="Blocks"/>: weights that are streamed, what is offloaded, masters and moments.</summary>
    public long HostBytes { get; init; }

    /// <summary>Bytes of the first part.</summary>
    public long StreamedBytes { get; init; }

    /// <summary>Masters and moments, where the host has them.</summary>
    public HostStates? HostStates { get; init; }

    /// <summary>Of a byte of the optimizer's layout.</summary>
    public Location OfOptimizer(long offset) => HostStates is not { } host ? new(MemoryBlock.Optimizer, offset)
        : offset < host.Bytes ? new(MemoryBlock.Host, host.Offset + offset) : new(MemoryBlock.Optimizer, offset - host.Bytes);

    public long this[MemoryBlock block] => Blocks.GetValueOrDefault(block);

    /// <summary>The same with an arena of another size.</summary>
    public MemoryPlan WithArena(long bytes) => this with { Blocks = new Dictionary<MemoryBlock, long>(Blocks) { [MemoryBlock.Arena] = bytes } };

    /// <param name="offloadedBytes">Of the host block.</param>
    /// <param name="hostStates">Whether masters and moments rest there too.</param>
    public static MemoryPlan Create(Shapes shapes, long arenaBytes, OptimizerLayout optimizer, long offloadedBytes, bool hostStates)
    {
        var statesBytes = hostStates ? optimizer.StateBytes : 0;
        var sizes = new SortedDictionary<MemoryBlock, long> { [MemoryBlock.Arena] = arenaBytes, [MemoryBlock.Optimizer] = optimizer.Bytes - statesBytes };
        var permanent = new Dictionary<string, Location>();
        // Inputs come first in their block and side by side, so that one copy brings a micro-batch from the host; scalars follow.
        // Gradients of vectors come last, side by side: they are always added to, so a step clears them, in one go.
        foreach (var layout in shapes.Layouts.OrderBy(l => l.Tensor.Kind == TensorKind.GradWeight && !l.IsMatrix))
            if (layout.Bytes > 0 && BlockOf(shapes, layout.Tensor) is { } block)
            {
                var offset = sizes.GetValueOrDefault(block);
                permanent[layout.Tensor.Name] = new Location(block, offset);
                sizes[block] = offset + Arena.Align(layout.Bytes);
            }
        foreach (var (input, count) in shapes.Staged)
        {
            var offset = sizes.GetValueOrDefault(MemoryBlock.Inputs);
            permanent[input] = new Location(MemoryBlock.Inputs, offset);
            sizes[MemoryBlock.Inputs] = offset + Arena.Align(4L * count);
        }
        if (shapes.DropsAdapters)
        {
            permanent[AdapterDropout.Table] = new Location(MemoryBlock.Adapters, sizes[MemoryBlock.Adapters]);
            sizes[MemoryBlock.Adapters] += Arena.Align((long)shapes.Ranks.Adapters.Count * Unsafe.SizeOf<DroppedAdapter>());
        }
        var scalars = sizes.GetValueOrDefault(MemoryBlock.Inputs);
        foreach (var scalar in shapes.Schedule.Tensors.Where(t => t.Kind == TensorKind.Scalar))
            permanent[scalar.Name] = new Location(MemoryBlock.Inputs, scalars + ScalarOffset(scalar.Name));
        sizes[MemoryBlock.Inputs] = scalars + Arena.Align(Unsafe.SizeOf<ScalarBlock>());
        sizes.Remove(MemoryBlock.Host, out var streamed);
        return new MemoryPlan(sizes.Where(s => s.Value > 0).ToDictionary(), permanent, new Location(MemoryBlock.Inputs, scalars))
        {
            HostBytes = streamed + offloadedBytes + statesBytes, StreamedBytes = streamed,
            HostStates = statesBytes > 0 ? new HostStates(streamed + offloadedBytes, statesBytes) : null,
        };
    }

    /// <summary>Bytes of the inputs of one micro-batch, as they lie in the block.</summary>
    public static long InputBytes(Shapes shapes) =>
        shapes.Layouts.Where(l => l.Tensor.Kind == TensorKind.Input).Sum(l => Arena.Align(l.Bytes)) + shapes.Staged.Sum(i => Arena.Align(4L * i.Count));

    static long ScalarOffset(string name) =>
        Enum.GetValues<StepScalar>().Where(s => ScheduleText.Lower(s) == name).Select(s => (StepScalar?)s).FirstOrDefault() switch
        {
            StepScalar.LoraScale => Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.LoraScale)),
            StepScalar.InvLabels => Marshal.OffsetOf<ScalarBlock>(nameof(ScalarBlock.InverseLabels)),
            _ => throw new ArgumentException($"memory: the scalar block has no place for {name}; "
                + $"it holds {string.Join(" and ", Enum.GetValues<StepScalar>().Select(ScheduleText.Lower))}."),
        };

    static MemoryBlock? BlockOf(Shapes shapes, ScheduleTensor tensor) =>
        shapes.Streamed.Contains(tensor.Name) ? MemoryBlock.Host : shapes.IsInArena(tensor) ? null : BlockOf(tensor.Kind);

    static MemoryBlock? BlockOf(TensorKind kind) => kind switch
    {
        TensorKind.Input => MemoryBlock.Inputs,
        TensorKind.Weight or TensorKind.RopeTable => MemoryBlock.Weights,
        TensorKind.AdapterA or TensorKind.AdapterB => MemoryBlock.Adapters,
        TensorKind.GradA or TensorKind.GradB or TensorKind.GradWeight => MemoryBlock.Gradients,
        TensorKind.Activation or TensorKind.Gradient or TensorKind.Scalar => null,
        _ => throw new ArgumentException($"memory: tensors of kind {kind} have no block."),
    };
}
