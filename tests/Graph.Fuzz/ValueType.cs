using System.Globalization;

namespace Graph.Fuzz;

public enum ValueKind
{
    Ids, Scalar,
    /// <summary>[T, A]; A = 1: a statistic, one value per row.</summary>
    Rows,
    /// <summary>[T, A, B]; B = 1: a statistic of each head.</summary>
    Heads,
    /// <summary>[T, R of the adapter Name].</summary>
    Rank,
    /// <summary>[A].</summary>
    Vector,
    /// <summary>[A, B], a frozen matrix.</summary>
    Matrix,
    /// <summary>[R, A].</summary>
    LoraA,
    /// <summary>[A, R].</summary>
    LoraB,
}

/// <summary>Shape of a value of a random model. The fuzzer infers shapes itself: what it takes for valid must compile.</summary>
public readonly record struct ValueType(ValueKind Kind, int A = 0, int B = 0, string Name = "")
{
    public static readonly ValueType Ids = new(ValueKind.Ids), Scalar = new(ValueKind.Scalar);
    public static ValueType Rows(int columns) => new(ValueKind.Rows, columns);
    public static ValueType Heads(int heads, int dim) => new(ValueKind.Heads, heads, dim);
    public static ValueType Rank(string adapter) => new(ValueKind.Rank, Name: adapter);
    public static ValueType Vector(int size) => new(ValueKind.Vector, size);
    public static ValueType Matrix(int rows, int columns) => new(ValueKind.Matrix, rows, columns);

    public bool IsPerToken => Kind is ValueKind.Rows or ValueKind.Heads or ValueKind.Rank;
    public bool IsStatistic => Kind == ValueKind.Rows && A == 1 || Kind == ValueKind.Heads && B == 1;

    /// <summary>Kernels read 8 columns at a time; statistics come from reductions alone.</summary>
    public ValueType? WithWholeChunks() => (Kind == ValueKind.Rows ? A : Kind == ValueKind.Heads ? B : 8) % 8 == 0 ? this : null;

    /// <summary>What the DSL promises of its operators (docs/architecture.md has the table). null: the shapes do not fit.</summary>
    public static ValueType? Broadcast(ValueType a, ValueType b)
    {
        if (!IsNumber(a) || !IsNumber(b)) return null;
        if (a == b) return a.Kind == ValueKind.Matrix ? null : a;
        return Spreads(a, b) ? b : Spreads(b, a) ? a : null;

        static bool IsNumber(ValueType t) => t.Kind is ValueKind.Scalar or ValueKind.Rows or ValueKind.Heads or ValueKind.Rank or ValueKind.Vector or ValueKind.Matrix;

        static bool Spreads(ValueType narrow, ValueType wide) => (narrow.Kind, wide.Kind) switch
        {
            (ValueKind.Scalar, _) => wide.Kind != ValueKind.Matrix,
            (ValueKind.Rows, ValueKind.Rows or ValueKind.Heads) => narrow.A == 1 && !wide.IsStatistic,
            (ValueKind.Heads, ValueKind.Heads) => narrow.B == 1 && narrow.A == wide.A,
            (ValueKind.Vector, ValueKind.Rows) => narrow.A == wide.A && !wide.IsStatistic,
            (ValueKind.Vector, ValueKind.Heads) => narrow.A == wide.B && !wide.IsStatistic,
            (ValueKind.Matrix, ValueKind.Heads) => narrow.A == wide.A && (narrow.B == 1 || narrow.B == wide.B),
            _ => false,
        };
    }

    public override string ToString() => Kind switch
    {
        ValueKind.Rows => "[T," + N(A) + "]",
        ValueKind.Heads => "[T," + N(A) + "," + N(B) + "]",
        ValueKind.Rank => "[T,R]",
        ValueKind.Vector => "[" + N(A) + "]",
        ValueKind.Matrix => "[" + N(A) + "," + N(B) + "]",
        _ => Kind.ToString(),
    };

    static string N(int value) => value.ToString(CultureInfo.InvariantCulture);
}
