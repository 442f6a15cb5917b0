using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using Graph.Runtime.Optimizers;

namespace Graph.Runtime.Planning;

/// <summary>Byte offsets, in the optimizer block, of one fp32 adapter matrix and its two moments; all three are dense [Rows, Columns].</summary>
public readonly record struct MasterMatrix(int Rows, int Columns, long Master, long FirstMoment, long SecondMoment)
{
    public long Bytes => (long)Rows * Columns * sizeof(float);
}

/// <summary>A and B of one linear: A [Rank, In], B [Out, Rank]; padding lives in the rounded copies only.</summary>
public sealed record AdapterMasters(AdapterSlot Slot, MasterMatrix A, MasterMatrix B);

/// <summary>Where the optimizer's fp32 state lies in its block.</summary>
/// <param name="Segments">Byte offset of the segment table: A then B of every adapter.</param>
/// <param name="Partials">Byte offset of one fp32 per chunk.</param>
public sealed record OptimizerLayout(IReadOnlyList<AdapterMasters> Adapters, long Segments, long Partials, int Chunks, long Bytes)
{
    public static int ChunksOf(MasterMatrix matrix) => (matrix.Rows * matrix.Columns + AdamSegment.ChunkElements - 1) / AdamSegment.ChunkElements;

    public static OptimizerLayout Create(RankTable ranks)
    {
        var adapters = new List<AdapterMasters>();
        long bytes = 0;
        foreach (var slot in ranks.Adapters) adapters.Add(new AdapterMasters(slot, Matrix(slot.Rank, slot.In), Matrix(slot.Out, slot.Rank)));
        var chunks = adapters.Sum(a => ChunksOf(a.A) + ChunksOf(a.B));
        var segments = bytes;
        var partials = segments + Arena.Align(2L * adapters.Count * Unsafe.SizeOf<AdamSegment>());
        return new OptimizerLayout(adapters, segments, partials, chunks, partials + Arena.Align(sizeof(float) * (long)chunks));

        MasterMatrix Matrix(int rows, int columns)
        {
            var size = Arena.Align((long)rows * columns * sizeof(float));
            var matrix = new MasterMatrix(rows, columns, bytes, bytes + size, bytes + 2 * size);
            bytes += 3 * size;
            return matrix;
        }
    }
}
