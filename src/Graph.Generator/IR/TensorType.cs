using System.Globalization;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>Element types at build time. Act is the run's activation type: bf16 or fp16 on CUDA, fp32 on the CPU.</summary>
public enum DType { Act, F32, I32 }

/// <summary>
/// A dimension: a number, T (tokens of a micro-batch), or the ranks of some adapters side by side, of which Size says how many. T and ranks are chosen at run
/// time; there is no algebra on them.
/// </summary>
public readonly record struct Dim(int Size, string? Symbol = null)
{
    public static readonly Dim T = new(0, "T");

    /// <summary>The rank of one adapter, as the model wrote it.</summary>
    public static Dim Rank(string adapter) => new(1, "R:" + adapter);

    /// <summary>The ranks of a stack of adapters (<see cref="Ops.AdapterStack"/>), one after the other.</summary>
    public static Dim Ranks(int stack, int adapters) => new(adapters, "R:" + stack.ToString(CultureInfo.InvariantCulture));

    public bool IsTokens => Symbol == "T";
    public bool IsRank => Symbol is not null && Symbol != "T";

    /// <summary>The stack whose ranks these are; only after the passes have stacked adapters.</summary>
    public int Stack => int.Parse(Symbol!.Substring(2), CultureInfo.InvariantCulture);

    public static implicit operator Dim(int size) => new(size);

    public override string ToString() => Symbol is null ? Size.ToString(CultureInfo.InvariantCulture) : IsTokens ? "T" : "R";
}

/// <summary>Element type and shape. A scalar has no dimensions.</summary>
public readonly record struct TensorType(DType DType, EquatableArray<Dim> Shape)
{
    public static TensorType Act(params Dim[] shape) => new(DType.Act, shape);
    public static TensorType F32(params Dim[] shape) => new(DType.F32, shape);
    public static TensorType I32(params Dim[] shape) => new(DType.I32, shape);
    public static readonly TensorType Scalar = F32();

    public int Rank => Shape.Count;
    public bool IsScalar => Shape.Count == 0;

    /// <summary>Has one value (or vector of values) per token.</summary>
    public bool IsPerToken => Shape.Count > 0 && Shape[0].IsTokens;

    /// <summary>One row of ranks per token: as many columns as an adapter has ranks, known at run time.</summary>
    public bool IsRankRow => IsPerToken && Shape.Last.IsRank;

    /// <summary>One statistic per row: f32[T,1], of a token, or f32[T,N,1], of a head.</summary>
    public bool IsRowScalar => Shape.Count is 2 or 3 && Shape[0].IsTokens && Shape.Last == 1;

    /// <summary>Heads of a token: rows of [T,N,D] are heads, N a token; 0 where a token is one row.</summary>
    public int Heads => Shape.Count == 3 && Shape[0].IsTokens ? Shape[1].Size : 0;

    /// <summary>Columns per token: the product of all dimensions but the first.</summary>
    public int Columns => Shape.Skip(1).Aggregate(1, (product, dim) => product * dim.Size);

    public override string ToString() => DType.ToString().ToLowerInvariant() + "[" + string.Join(",", Shape.Select(d => d.ToString())) + "]";
}
