using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>How AdamW's moments are stored.</summary>
public enum MomentFormat
{
    /// <summary>fp32, as the master.</summary>
    Fp32,
    /// <summary>8-bit codes of <see cref="DynamicMap"/> and one fp32 scale for each block of them.</summary>
    Block8,
}

/// <summary>Byte offsets, in the optimizer block, of one fp32 matrix that is trained and its two moments; the master is dense [Rows, Columns], and so are fp32 moments.</summary>
public readonly record struct MasterMatrix(int Rows, int Columns, MomentFormat Format, long Master, long FirstMoment, long SecondMoment)
{
    public int Elements => Rows * Columns;
    public long Bytes => (long)Elements * sizeof(float);

    /// <summary>Blocks of 8-bit codes; their scales lie behind the codes of all blocks, the last one filled up.</summary>
    public int Blocks => (Elements + DynamicMap.BlockElements - 1) / DynamicMap.BlockElements;
    public long CodeBytes => (long)Blocks * DynamicMap.BlockElements;

    public long MomentBytes => Format switch
    {
        MomentFormat.Fp32 => Bytes,
        MomentFormat.Block8 => CodeBytes + sizeof(float) * (long)Blocks,
        _ => throw new ArgumentException($"optimizer: unknown format {Format}."),
    };
}

/// <summary>A and B of one linear: A [Rank, In], B [Out, Rank]; padding lives in the rounded copies only.</summary>
public sealed record AdapterMasters(AdapterSlot Slot, MasterMatrix A, MasterMatrix B);

/// <summary>A weight that is trained: a tensor of the schedule, and that of its gradient. A vector is a matrix of one row.</summary>
public sealed record WeightMasters(ScheduleTensor Weight, string Gradient, MasterMatrix Matrix);

/// <summary>LoRA+ in the optimizer's block, by byte offsets.</summary>
public readonly record struct LoraPlusLayout(long SegmentsA, long SegmentsB, long Scalars);

/// <summary>Where the optimizer's state lies in its block.</summary>
/// <param name="Segments">Byte offset of the segment table, which is where masters and moments end
/// (<see cref="StateBytes"/>): A then B of every adapter, then the weights that are trained.</param>
/// <param name="Partials">Byte offset of one fp32 per chunk.</param>
public sealed record OptimizerLayout(IReadOnlyList<AdapterMasters> Adapters, long Segments, long Partials, int Chunks, long Bytes)
{
    /// <summary>Bytes of masters and moments, which are first in the block. A step reads and writes each once, so they may lie in host memory.</summary>
    public long StateBytes => Segments;

    /// <summary>Where B has a learning rate of its own: byte offsets of the tables of all A and of all B, and of B's scalars.</summary>
    public LoraPlusLayout? LoraPlus { get; init; }

    /// <summary>What a gradient's tensor has behind the weight's name.</summary>
    const string GradientSuffix = ".gradient";

    /// <summary>Weights that are trained, and the tensors of their gradients, in the schedule's order.</summary>
    public static IEnumerable<(ScheduleTensor Weight, ScheduleTensor Gradient)> Trained(Schedule schedule)
    {
        var gradients = schedule.Tensors.Where(t => t.Kind == TensorKind.GradWeight).ToDictionary(t => t.Name);
        return schedule.Tensors.Where(t => t.Kind == TensorKind.Weight && gradients.ContainsKey(t.Name + GradientSuffix)).Select(t => (t, gradients[t.Name + GradientSuffix]));
    }

    public static int ChunksOf(int elements) => (elements + AdamSegment.ChunkElements - 1) / AdamSegment.ChunkElements;

    /// <summary>Weights that are trained.</summary>
    public IReadOnlyList<WeightMasters> Weights { get; init; } = [];

    /// <summary>Everything that is trained, in the order of the segments.</summary>
    public IEnumerable<MasterMatrix> Matrices => Adapters.SelectMany(a => new[] { a.A, a.B }).Concat(Weights.Select(w => w.Matrix));

    public int SegmentCount => 2 * Adapters.Count + Weights.Count;

    /// <summary>Elements of everything that is trained.</summary>
    public long Elements => Matrices.Sum(m => (long)m.Elements);

    public static OptimizerLayout Create(Schedule schedule, RankTable ranks, MomentFormat moments, bool loraPlus = false)
    {
        var adapters = new List<AdapterMasters>();
        long bytes = 0;
        foreach (var slot in ranks.Adapters) adapters.Add(new AdapterMasters(slot, Matrix(slot.Rank, slot.In), Matrix(slot.Out, slot.Rank)));
        var weights = Trained(schedule)
            .Select(t => new WeightMasters(t.Weight, t.Gradient.Name, Matrix(t.Weight.Dims.Count > 1 ? t.Weight.Dims[0].Fixed : 1, t.Weight.Dims[^1].Fixed))).ToArray();
        var chunks = adapters.Sum(a => ChunksOf(a.A.Elements) + ChunksOf(a.B.Elements)) + weights.Sum(w => ChunksOf(w.Matrix.Elements));
        var segments = bytes;
        var partials = segments + Arena.Align((2L * adapters.Count + weights.Length) * Unsafe.SizeOf<AdamSegment>());
        var end = partials + Arena.Align(sizeof(float) * (long)chunks);
        if (!loraPlus || adapters.Count == 0) return new OptimizerLayout(adapters, segments, partials, chunks, end) { Weights = weights };
        var table = Arena.Align((long)adapters.Count * Unsafe.SizeOf<AdamSegment>());
        var plus = new LoraPlusLayout(end, end + table, end + 2 * table);
        return new OptimizerLayout(adapters, segments, partials, chunks, plus.Scalars + Arena.Align(Unsafe.SizeOf<ScalarBlock>())) { LoraPlus = plus, Weights = weights };

        MasterMatrix Matrix(int rows, int columns)
        {
            var matrix = new MasterMatrix(rows, columns, moments, bytes, 0, 0);
            var (master, moment) = (Arena.Align(matrix.Bytes), Arena.Align(matrix.MomentBytes));
            bytes += master + 2 * moment;
            return matrix with { FirstMoment = matrix.Master + master, SecondMoment = matrix.Master + master + moment };
        }
    }
}
