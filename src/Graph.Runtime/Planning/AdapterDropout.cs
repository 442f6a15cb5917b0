using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Dropout of adapters: y = x·Wᵀ + s·(drop(x)·Aᵀ)·Bᵀ in training, with a mask of its own for each adapter; none in evaluation.</summary>
/// <param name="Probability">Of an element of x to be 0, from 0 to below 1; the others are divided by 1 − p.</param>
/// <param name="Seed">With the micro-batch's number, the adapter, the token and the column it decides the mask (adapter_dropout.cu).</param>
public sealed record DropoutOptions(double Probability, int Seed);

/// <summary>One adapter's dropout on the device, 16 bytes, as adapter_dropout.cu declares it.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct DroppedAdapter
{
    /// <summary>Its number in the model, whichever adapters take part.</summary>
    public uint Adapter;
    /// <summary>p · 2^32.</summary>
    public uint Threshold;
    public float Scale;
    public int Columns;
}

/// <summary>
/// How products change where adapters have dropout. The schedule has S = s·x·Aᵀ, dX = dY·W + G·A and dA += Gᵀ·x of a stack;
/// each adapter of it has its own mask, so each is a product of its own:
/// S and dA from its dropped x, which is made in scratch each time, and its G·A dropped on its way to dX. Nothing else of a step changes, and nothing at all without dropout.
/// </summary>
public static class AdapterDropout
{
    /// <summary>Scratch of a product that reads or makes dropped rows: act[T, In].</summary>
    public const string Scratch = "adapters.dropped";

    /// <summary>i32[4], staged with every micro-batch: the seed, and the micro-batch's number, low word first.</summary>
    public const string Key = "adapters.dropout_key";

    /// <summary>Of every adapter that takes part, in their order: <see cref="DroppedAdapter"/>.</summary>
    public const string Table = "adapters.dropout";

    /// <summary>Arguments: to, from, one of <see cref="Table"/>, <see cref="Key"/>.</summary>
    public const string Kernel = "adapter_dropout", AddKernel = "adapter_dropout_add";

    /// <summary>Words of the key.</summary>
    public const int KeyCount = 4;

    public static int[] KeyOf(int seed, long microBatch) => [seed, (int)(uint)microBatch, (int)(uint)(microBatch >> 32), 0];

    public static DroppedAdapter[] TableOf(Schedule schedule, RankTable ranks, DropoutOptions dropout)
    {
        var numbers = schedule.Adapters.SelectMany(s => s.Adapters).Select((a, i) => (a.Name, i)).ToDictionary(a => a.Name, a => (uint)a.i);
        return [.. ranks.Adapters.Select(a => new DroppedAdapter
        {
            Adapter = numbers[a.Linear], Threshold = (uint)Math.Min(uint.MaxValue, Math.Round(dropout.Probability * 4294967296.0)),
            Scale = (float)(1 / (1 - dropout.Probability)), Columns = a.In,
        })];
    }

    /// <summary>Segments of the product whose rows are dropped: x of S and dA, G·A of dX. A value that two sets of adapters read has two in its dX.</summary>
    public static IReadOnlyList<GemmSegment> DroppedSegments(Shapes shapes, GemmLaunch g) => !shapes.DropsAdapters ? [] : g.Layout switch
    {
        GemmLayout.Tn => shapes[g.D.Tensor].Tensor.Kind == TensorKind.GradA ? g.Segments : [],
        _ => [.. g.Segments.Where(s => shapes[s.B.Tensor].Tensor.Kind == TensorKind.AdapterA && !shapes.Resolve(s.B).IsEmpty)],
    };

    /// <summary>Columns of the rows that are dropped.</summary>
    static int Columns(Shapes shapes, GemmLaunch g, GemmSegment segment) =>
        g.Layout == GemmLayout.Nn ? shapes.Resolve(segment.B).Columns : shapes.Resolve(g.Layout == GemmLayout.Nt ? segment.A : segment.B).Columns;

    /// <summary>Bytes of the scratch that a launch needs; 0: none.</summary>
    public static long ScratchBytes(Shapes shapes, Launch launch) =>
        launch is not GemmLaunch g ? 0
            : DroppedSegments(shapes, g).Select(s => (long)shapes.Tokens * Pitch(shapes, g, s) * TensorLayout.Size(ElementType.Act, shapes.Act)).DefaultIfEmpty().Max();

    public static int Pitch(Shapes shapes, GemmLaunch g, GemmSegment segment) => TensorLayout.RowPitch(Columns(shapes, g, segment));
}
