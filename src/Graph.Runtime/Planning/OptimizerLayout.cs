using System.Collections.Generic;

namespace Graph.Runtime.Planning;

/// <summary>Byte offsets, in the optimizer block, of one fp32 adapter matrix and its two moments; all three are dense [Rows, Columns].</summary>
public readonly record struct MasterMatrix(int Rows, int Columns, long Master, long FirstMoment, long SecondMoment)
{
    public long Bytes => (long)Rows * Columns * sizeof(float);
}

/// <summary>A and B of one linear: A [Padded, In], B [Out, Padded].</summary>
public sealed record AdapterMasters(AdapterSlot Slot, MasterMatrix A, MasterMatrix B);

/// <summary>Where the optimizer's fp32 state lies in its block.</summary>
public sealed record OptimizerLayout(IReadOnlyList<AdapterMasters> Adapters, long Bytes)
{
    public static OptimizerLayout Create(RankTable ranks)
    {
        var adapters = new List<AdapterMasters>();
        long bytes = 0;
        foreach (var slot in ranks.Adapters) adapters.Add(new AdapterMasters(slot, Matrix(slot.Padded, slot.In), Matrix(slot.Out, slot.Padded)));
        return new OptimizerLayout(adapters, bytes);

        MasterMatrix Matrix(int rows, int columns)
        {
            var size = Arena.Align((long)rows * columns * sizeof(float));
            var matrix = new MasterMatrix(rows, columns, bytes, bytes + size, bytes + 2 * size);
            bytes += 3 * size;
            return matrix;
        }
    }
}
