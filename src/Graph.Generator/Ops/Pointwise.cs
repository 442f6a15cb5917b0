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
        var columns = shape.IsPerToken ? sizes.Columns(shape) : sizes.Count(shape);
        var y = new double[sizes.Count(shape)];
        for (var e = 0; e < y.Length; e++)
        {
            var (row, column) = (e / columns, e % columns);
            y[e] = expression.Evaluate(name =>
            {
                var i = name[1] - '0';
                return inputs[i][Index(types[i], row, column, columns)];
            });
        }
        return y;
    }

    static int Index(TensorType type, int row, int column, int columns) =>
        type.IsScalar ? 0 : type.IsRowScalar ? row : type.IsPerToken ? row * columns + column : column;

    /// <summary>Shapes broadcast the way a row is read: scalar, [H] along columns, [T,1] along a row, [T,H] or [T,N,D] whole.</summary>
    /// <exception cref="ShapeError">Two shapes do not broadcast.</exception>
    protected TensorType Broadcast(IReadOnlyList<TensorType> types)
    {
        var result = types[0];
        foreach (var type in types.Skip(1)) result = Broadcast(result, type);
        return result with { DType = types.Any(t => t.DType == DType.Act) ? DType.Act : DType.F32 };
    }

    TensorType Broadcast(TensorType a, TensorType b)
    {
        if (a.DType == DType.I32 || b.DType == DType.I32) throw Error("x is " + a + " and y is " + b + "; integers take no part in arithmetic");
        if (a.IsScalar || a.Shape.Equals(b.Shape)) return b;
        if (b.IsScalar) return a;
        if (a.IsRowScalar && b.IsPerToken) return b;
        if (b.IsRowScalar && a.IsPerToken) return a;
        if (a.IsPerToken && b.Rank == 1 && a.Shape.Last.Equals(b.Shape.Last)) return a;
        if (b.IsPerToken && a.Rank == 1 && b.Shape.Last.Equals(a.Shape.Last)) return b;
        throw Error("x is " + a + " but y is " + b + "; shapes must be equal, or one a scalar, one value per token, or a vector along the last dimension");
    }

    /// <summary>Sums a gradient over the dimensions along which the input was broadcast.</summary>
    protected static int Unbroadcast(GraphBuilder g, int gradient, TensorType type)
    {
        var from = g.Type(gradient);
        if (from.Shape.Equals(type.Shape) || from.IsScalar) return gradient;
        if (type.IsRowScalar) return g.Add(new RowSum(), gradient);
        throw new InvalidOperationException("differentiate: the gradient of a " + type + " broadcast to " + from + " would be a sum over tokens; such parameters must be frozen");
    }
}

public sealed record Unary(UnaryKind Kind) : Pointwise(Kind.ToString().ToLowerInvariant())
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 1); return Broadcast(inputs); }
    public override Expr Lower(IReadOnlyList<Expr> inputs) => Expr.Apply(Kind, inputs[0]);

    // Each slope is written with y itself, which the forward kernel or its recomputation already has.
    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) => new int?[]
    {
        Kind switch
        {
            UnaryKind.Neg => g.Unary(UnaryKind.Neg, dy),
            UnaryKind.Tanh => g.Mul(dy, g.Sub(g.Const(1), g.Mul(y.Id, y.Id))),
            UnaryKind.Exp => g.Mul(dy, y.Id),
            _ => g.Mul(dy, g.Mul(g.Const(-0.5), g.Mul(y.Id, g.Mul(y.Id, y.Id)))),
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
            da = Unbroadcast(g, Kind switch { BinaryKind.Mul => g.Mul(dy, b), BinaryKind.Div => g.Div(dy, b), _ => dy }, g.Type(a));
        if (needed[1])
            db = Unbroadcast(g, Kind switch
            {
                BinaryKind.Add => dy,
                BinaryKind.Sub => g.Unary(UnaryKind.Neg, dy),
                BinaryKind.Mul => g.Mul(dy, a),
                _ => g.Unary(UnaryKind.Neg, g.Div(g.Mul(dy, y.Id), b)),
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

/// <summary>
/// y = 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), in fp32. Expands into primitives, so that the derivative and the value share one tanh.
/// Source: transformers, gelu_pytorch_tanh.
/// </summary>
public sealed record GeluTanh() : Op("gelu_tanh")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 1); return inputs[0]; }

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs)
    {
        var x = inputs[0];
        var (c, half) = (Math.Sqrt(2 / Math.PI), g.Const(0.5));
        // √(2/π)·(x + 0.044715·x³) with constants and square apart: the derivative uses x² and what stands beside x again.
        var inner = g.Mul(x, g.Add(g.Const(c), g.Mul(g.Const(0.044715 * c), g.Mul(x, x))));
        return g.Mul(x, g.Add(half, g.Mul(half, g.Unary(UnaryKind.Tanh, inner))));
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        inputs[0].Select(x => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))).ToArray();
}
