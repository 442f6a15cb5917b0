using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>y[t, …] = f(a, …) element by element in fp32. Lowering: the expression itself, placed in whichever kernel needs it.</summary>
public abstract record Pointwise(string Name) : Op(Name)
{
    public abstract Expr Lower(IReadOnlyList<Expr> inputs);

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var shape = Broadcast(types);
        var expression = Lower(inputs.Select((_, i) => Expr.Var("x" + i)).ToArray());
        var y = new double[sizes.Count(shape)];
        var indices = types.Select(t => Indices(sizes, t, shape)).ToArray();
        for (var e = 0; e < y.Length; e++) y[e] = expression.Evaluate(name => inputs[name[1] - '0'][indices[name[1] - '0'](e)]);
        return y;
    }

    /// <summary>Which element of x an element of y reads: dimensions from the last one on, those that x has as 1 or not at all held at 0. [T,1] beside [T,N,D] is
    /// [T,1,1].</summary>
    static Func<int, int> Indices(ReferenceSizes sizes, TensorType x, TensorType y)
    {
        var (from, to) = ((x.IsRowScalar && x.Rank < y.Rank ? x.Shape.Append(1) : x.Shape).Select(sizes.Of).ToArray(), y.Shape.Select(sizes.Of).ToArray());
        return element =>
        {
            int index = 0, stride = 1;
            for (int i = to.Length - 1, j = from.Length - 1; j >= 0; element /= to[i], i--, j--)
            {
                if (from[j] > 1) index += element % to[i] * stride;
                stride *= from[j];
            }
            return index;
        };
    }

    /// <summary>Shapes broadcast the way a row is read: what <see cref="Spreads"/> allows. A statistic stays fp32 whatever it is computed with.</summary>
    /// <exception cref="ShapeError">Two shapes do not broadcast.</exception>
    protected TensorType Broadcast(IReadOnlyList<TensorType> types)
    {
        var result = types[0];
        foreach (var type in types.Skip(1)) result = Broadcast(result, type);
        if (types.Any(t => t.DType == DType.I32)) throw Error(string.Join(" and ", types) + "; integers take no part in arithmetic");
        return result with { DType = types.Any(t => t.DType == DType.Act) && !result.IsRowScalar ? DType.Act : DType.F32 };
    }

    TensorType Broadcast(TensorType a, TensorType b)
    {
        if (a.DType == DType.I32 || b.DType == DType.I32) throw Error("x is " + a + " and y is " + b + "; integers take no part in arithmetic");
        if (a.Shape.Equals(b.Shape) || Spreads(a, b)) return b;
        if (Spreads(b, a)) return a;
        throw Error("x is " + a + " but y is " + b + "; shapes must be equal, or one of them a scalar, a vector along the last dimension, "
            + "[T,1] or [T,N,1] (one value per row), or [N,D] or [N,1] beside [T,N,D]");
    }

    /// <summary>
    /// Whether x is repeated along y: a scalar along anything; [H] along [T,H], [D] along [T,N,D] and along a weight [N,D]; [T,1] along [T,H] and [T,N,D]; [T,N,1], [N,D]
    /// and [N,1] along [T,N,D].
    /// Not [T,1] along [T,R], whose gradient would be a sum over a rank, nor along [T,N,1].
    /// </summary>
    static bool Spreads(TensorType x, TensorType y)
    {
        if (x.IsScalar) return true;
        if (y.Rank < 2 || y.Shape.Any(d => d.IsRank) || x.Rank > y.Rank) return false;
        if (x.IsRowScalar) return y.IsPerToken && (x.Rank == 2 ? !y.IsRowScalar : x.Heads == y.Heads);
        if (x.IsPerToken) return false;
        if (x.Rank == 1) return x.Shape[0].Equals(y.Shape.Last) && !y.IsRowScalar;
        return x.Rank == 2 && x.Shape[0].Equals(y.Rank == 3 ? y.Shape[1] : y.Shape[0]) && (x.Shape[1] == 1 || y.Rank == 3 && x.Shape[1].Equals(y.Shape[2]))
            && (y.Rank == 3 || !y.IsPerToken);
    }

    /// <summary>Sums a gradient over the dimensions along which the input was broadcast.</summary>
    protected static int Unbroadcast(GraphBuilder g, int gradient, TensorType type)
    {
        var from = g.Type(gradient);
        if (from.Shape.Equals(type.Shape) || from.IsScalar) return gradient;
        // One value per token along its heads: a sum over all columns of the token.
        if (type.IsRowScalar && type.Rank == 2 && from.Rank == 3) return g.Add(new RowSum(), g.Add(new Heads(0), gradient));
        if (type.IsRowScalar && type.Rank == from.Rank) return g.Add(new RowSum(), gradient);
        if (!type.IsPerToken && type.Rank == 1 && from.IsPerToken) return g.Add(new TokenSum(), gradient);
        throw new ShapeError("full: the gradient of a weight " + type + " that is broadcast to " + from + " is no sum that there is a kernel for; "
            + "a trained weight is a vector along the last dimension", g.Origin);
    }
}

public sealed record Unary(UnaryKind Kind) : Pointwise(Kind.ToString().ToLowerInvariant())
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 1); return Broadcast(inputs); }
    public override Expr Lower(IReadOnlyList<Expr> inputs) => Expr.Apply(Kind, inputs[0]);

    // Slopes are written with y itself where they can be, which the forward kernel or its recomputation already has.
    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) => new int?[]
    {
        Kind switch
        {
            UnaryKind.Neg => g.Unary(UnaryKind.Neg, dy),
            UnaryKind.Tanh => g.Mul(dy, g.Sub(g.Const(1), g.Mul(y.Id, y.Id))),
            UnaryKind.Exp => g.Mul(dy, y.Id),
            UnaryKind.Rsqrt => g.Mul(dy, g.Mul(g.Const(-0.5), g.Mul(y.Id, g.Mul(y.Id, y.Id)))),
            UnaryKind.Sigmoid => g.Mul(dy, g.Mul(y.Id, g.Sub(g.Const(1), y.Id))),
            UnaryKind.Relu => g.Mul(dy, g.Unary(UnaryKind.Step, y.Id)),
            UnaryKind.Step => null,
            UnaryKind.Erf => g.Mul(dy, g.Mul(g.Const(ErrorFunction.TwoOverSqrtPi), g.Unary(UnaryKind.Exp, g.Unary(UnaryKind.Neg, g.Mul(y.Inputs[0], y.Inputs[0]))))),
            UnaryKind.Sqrt => g.Div(g.Mul(g.Const(0.5), dy), y.Id),
            UnaryKind.Log => g.Div(dy, y.Inputs[0]),
            _ => throw Expr.Unknown(Kind),
        },
    };
}

public sealed record Binary(BinaryKind Kind) : Pointwise(Kind.ToString().ToLowerInvariant())
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 2); return Broadcast(inputs); }
    public override Expr Lower(IReadOnlyList<Expr> inputs) => Expr.Apply(Kind, inputs[0], inputs[1]);

    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed)
    {
        var (a, b) = (y.Inputs[0], y.Inputs[1]);
        // A square: one gradient of 2 dy a instead of two that would be added.
        if (Kind == BinaryKind.Mul && a == b) return new int?[] { g.Mul(g.Mul(g.Const(2), dy), a), null };
        int? da = null, db = null;
        if (needed[0])
            da = Unbroadcast(g, Kind switch { BinaryKind.Add or BinaryKind.Sub => dy, BinaryKind.Mul => g.Mul(dy, b), BinaryKind.Div => g.Div(dy,
                b), _ => throw Expr.Unknown(Kind) }, g.Type(a));
        if (needed[1])
            db = Unbroadcast(g, Kind switch
            {
                BinaryKind.Add => dy,
                BinaryKind.Sub => g.Unary(UnaryKind.Neg, dy),
                BinaryKind.Mul => g.Mul(dy, a),
                BinaryKind.Div => g.Unary(UnaryKind.Neg, g.Div(g.Mul(dy, y.Id), b)),
                _ => throw Expr.Unknown(Kind),
            }, g.Type(b));
        return new[] { da, db };
    }
}

/// <summary>y = x, in memory of its own (<see cref="Passes.InsertCopies"/>). Number keeps two copies of one value apart.</summary>
public sealed record Copy(int Number) : Pointwise("copy")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 1); return inputs[0]; }
    public override Expr Lower(IReadOnlyList<Expr> inputs) => inputs[0];
}

/// <summary>A row statistic in every column of its row: [T,1] → [T,H], [T,N,1] → [T,N,D]. Where a value's gradient is one number per row, but its type is the row's.</summary>
public sealed record Spread(TensorType Type) : Pointwise("spread")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        if (!inputs[0].IsRowScalar || inputs[0].Rank != Type.Rank) throw Error("x is " + inputs[0] + "; it must be one value per row of " + Type);
        return Type;
    }

    public override Expr Lower(IReadOnlyList<Expr> inputs) => inputs[0];

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = sizes.Of(Type.Shape.Last);
        return inputs[0].SelectMany(v => Enumerable.Repeat(v, columns)).ToArray();
    }

    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) => new int?[] { g.Add(new RowSum(), dy) };
}
