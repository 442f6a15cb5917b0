using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>s = Σ over the last dimension, in fp32: [T,H] → f32[T,1] and [T,N,D] → f32[T,N,1]. The one reduction primitive of row kernels.</summary>
public sealed record RowSum() : Op("row_sum")
{
    /// <summary>The longest row: 1,024 threads of a block hold 8 columns each.</summary>
    public const int MaxColumns = 8192;

    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        return Statistic(Name, inputs[0]);
    }

    /// <summary>One value per row of x.</summary>
    /// <exception cref="ShapeError">x has no rows that can be reduced.</exception>
    internal static TensorType Statistic(string op, TensorType x)
    {
        if (!x.IsPerToken || x.Rank < 2 || x.DType == DType.I32) throw new ShapeError(op + ": x is " + x + "; it must have rows of numbers, [T,H] or [T,N,D]");
        if (x.IsRowScalar) throw new ShapeError(op + ": x is " + x + ", which has one value per row already");
        if (x.Shape.Last.IsRank) throw new ShapeError(op + ": x is " + x + "; there are no reductions over the rank of an adapter");
        if (x.Shape.Last.Size > MaxColumns) throw new ShapeError(op + ": x is " + x + "; rows of more than " + NumberText.Int(MaxColumns) + " columns cannot be reduced");
        return x.Heads > 0 ? TensorType.F32(Dim.T, x.Heads, 1) : TensorType.F32(Dim.T, 1);
    }

    // Every column of a row has the same gradient. A square multiplies it by the row, so there it may stay one number per row; elsewhere it takes the row's shape.
    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) =>
        new int?[] { g[y.Inputs[0]] is { Op: Binary { Kind: BinaryKind.Mul }, Inputs: var square } && square[0] == square[1] ? dy : g.Add(new Spread(g.Type(y.Inputs[0])), dy) };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = sizes.Of(types[0].Shape.Last);
        return Enumerable.Range(0, inputs[0].Length / columns).Select(row => inputs[0].Skip(row * columns).Take(columns).Sum()).ToArray();
    }
}

/// <summary>m = the mean over the last dimension, in fp32: [T,H] → f32[T,1] and [T,N,D] → f32[T,N,1].</summary>
public sealed record RowMean() : Op("row_mean")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        return RowSum.Statistic(Name, inputs[0]);
    }

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs) => g.Mul(g.Const(1.0 / g.Type(inputs[0]).Shape.Last.Size), g.Add(new RowSum(), inputs[0]));

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        new RowSum().Reference(sizes, types, inputs).Select(s => s / sizes.Of(types[0].Shape.Last)).ToArray();
}

/// <summary>
/// y = x · rsqrt(mean(x², -1) + eps) · (1 + w): x act[T,H], w act[H] → as x, or x act[T,N,D], w act[D]; all in fp32, one rounding at the end. The checkpoint stores the
/// weight minus one.
/// Source: transformers, modeling_gemma2.py, Gemma2RMSNorm.
/// </summary>
public sealed record RmsNorm(double Eps) : Op("rms_norm")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        var (x, w) = (inputs[0], inputs[1]);
        RowSum.Statistic(Name, x);
        if (w.Rank != 1 || !w.Shape[0].Equals(x.Shape.Last)) throw Error("x is " + x + " but w is " + w + "; w must have one value per column of x's last dimension");
        return x;
    }

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        var meanSquare = new RowMean().Expand(g, new[] { g.Mul(x, x) })!.Value;
        var inverse = g.Unary(UnaryKind.Rsqrt, g.Add(meanSquare, g.Const(Eps)));
        return g.Mul(g.Mul(x, inverse), g.Add(g.Const(1), w));
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        var y = new double[x.Length];
        for (var row = 0; row < x.Length; row += w.Length)
        {
            double sum = 0;
            for (var c = 0; c < w.Length; c++) sum += x[row + c] * x[row + c];
            var inverse = 1 / Math.Sqrt(sum / w.Length + Eps);
            for (var c = 0; c < w.Length; c++) y[row + c] = x[row + c] * inverse * (1 + w[c]);
        }
        return y;
    }

    public override string Attributes => "eps=" + Eps.ToString("R", CultureInfo.InvariantCulture);
}
