using System.Globalization;

namespace Graph.Fuzz;

public enum ValueKind
{
    Ids, Scalar,
    /// <summary>[T, A]; A = 1 broadcasts along a row.</summary>
    Rows,
    /// <summary>[T, A, B].</summary>
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
    bool IsOnePerToken => Kind == ValueKind.Rows && A == 1;

    /// <summary>What the operators of the DSL's tensors promise: equal shapes, scalars, one value per token, vectors along the last dimension. null: the shapes do not fit.</summary>
    public static ValueType? Broadcast(ValueType a, ValueType b)
    {
        if (!IsNumber(a) || !IsNumber(b)) return null;
        if (a == b) return a;
        return One(a, b) ?? One(b, a);

        static bool IsNumber(ValueType t) => t.Kind is ValueKind.Scalar or ValueKind.Rows or ValueKind.Heads or ValueKind.Rank or ValueKind.Vector;
        static ValueType? One(ValueType wide, ValueType narrow) => narrow switch
        {
            { Kind: ValueKind.Scalar } => wide,
            { IsOnePerToken: true } when wide.IsPerToken => wide,
            { Kind: ValueKind.Vector } when wide.Kind == ValueKind.Rows && wide.A == narrow.A || wide.Kind == ValueKind.Heads && wide.B == narrow.A => wide,
            _ => null,
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
