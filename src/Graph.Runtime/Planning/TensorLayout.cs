using System;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// A tensor's shape and bytes once T and ranks are numbers. Every tensor is a matrix of Rows × Columns here:
/// [T,N,D] has T rows of N·D, a [H] weight is one row, [T] has T rows of one element.
/// </summary>
/// <param name="Pitch">Elements from one row to the next.</param>
public sealed record TensorLayout(ScheduleTensor Tensor, int Rows, int Columns, int Pitch, int ElementBytes)
{
    public long Bytes => (long)Rows * Pitch * ElementBytes;

    public bool IsMatrix => Tensor.Dims.Count + (Tensor.Tokens ? 1 : 0) > 1;

    /// <summary>Bytes of one token, 0 for a tensor without a token dimension.</summary>
    public long BytesPerToken => Tensor.Tokens ? (long)Pitch * ElementBytes : 0;

    public static TensorLayout Create(ScheduleTensor tensor, int tokens, RankTable ranks, ActType act)
    {
        var dims = tensor.Dims.Select(ranks.Resolve).ToArray();
        var leading = tensor.Tokens ? tokens : dims.Length > 1 ? dims[0] : 1;
        var columns = checked(dims.Skip(tensor.Tokens || dims.Length < 2 ? 0 : 1).Aggregate(1, (a, b) => a * b));
        var pitched = (tensor.Tokens && dims.Length > 0) || tensor.Kind is TensorKind.GradA or TensorKind.GradB;
        return new TensorLayout(tensor, leading, columns, pitched ? PitchOf(tensor, columns) : columns, Size(tensor.Type, act));
    }

    public static int Size(ElementType type, ActType act) => type == ElementType.Act && act != ActType.F32 ? 2 : 4;

    /// <summary>Elements from one row of a scratch matrix to the next: rows start on 128 bytes or more.</summary>
    public static int RowPitch(int columns) => RoundUp(columns, 64);

    // Rows of wide activations start on 128 bytes or more, which TMA and vector loads want; gradients only need 16 bytes, and R columns padded to 64 would cost
    // more than the gradient itself.
    // Statistics such as f32[T,1] stay dense, and so do weights, whose rows are multiples of 8 elements as the checkpoint has them.
    static int PitchOf(ScheduleTensor tensor, int columns)
    {
        if (tensor.Kind is TensorKind.GradA or TensorKind.GradB) return RoundUp(columns, 4);
        var dependsOnRank = tensor.Dims.Any(d => d.Stack >= 0);
        return dependsOnRank || columns >= 64 ? RoundUp(columns, 64) : columns;
    }

    static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;
}

/// <summary>A rectangle of a tensor in numbers, half-open.</summary>
public readonly record struct Rectangle(string Tensor, int Row, int RowEnd, int Column, int ColumnEnd)
{
    public int Rows => RowEnd - Row;
    public int Columns => ColumnEnd - Column;
    public bool IsEmpty => Rows <= 0 || Columns <= 0;

    public bool Overlaps(Rectangle other) =>
        Tensor == other.Tensor && Row < other.RowEnd && other.Row < RowEnd && Column < other.ColumnEnd && other.Column < ColumnEnd;

    public bool Contains(Rectangle other) =>
        Tensor == other.Tensor && Row <= other.Row && other.RowEnd <= RowEnd && Column <= other.Column && other.ColumnEnd <= ColumnEnd;
}
