using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>s[t] = Σ over the columns of row t, in fp32: [T,H] → f32[T,1]. The one reduction primitive of row kernels.</summary>
public sealed record RowSum() : Op("row_sum")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        if (!inputs[0].IsPerToken || inputs[0].DType == DType.I32) throw Error("x is " + inputs[0] + "; it must have one row of numbers per token");
        return TensorType.F32(Dim.T, 1);
    }

    // A row statistic broadcasts along its row wherever it is used, so the gradient passes unchanged.
    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) => new int?[] { dy };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = sizes.Columns(types[0]);
        return Enumerable.Range(0, sizes.Tokens).Select(t => inputs[0].Skip(t * columns).Take(columns).Sum()).ToArray();
    }
}

/// <summary>m[t] = (1/H)·Σ over the columns of row t: [T,H] → f32[T,1].</summary>
public sealed record RowMean() : Op("row_mean")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => new RowSum().Infer(inputs);

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs) => g.Mul(g.Const(1.0 / g.Type(inputs[0]).Columns), g.Add(new RowSum(), inputs[0]));

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        new RowSum().Reference(sizes, types, inputs).Select(s => s / sizes.Columns(types[0])).ToArray();
}

/// <summary>
/// y = x · rsqrt(mean(x², -1) + eps) · (1 + w): x act[T,H], w act[H] → act[T,H]; all in fp32, one rounding at the end. The checkpoint stores the weight minus one.
/// Source: transformers, modeling_gemma2.py, Gemma2RMSNorm.
/// </summary>
public sealed record RmsNorm(double Eps) : Op("rms_norm")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        var (x, w) = (inputs[0], inputs[1]);
        if (!x.IsPerToken || x.Rank != 2) throw Error("x is " + x + "; it must be [T,H]");
        if (w.Rank != 1 || !w.Shape[0].Equals(x.Shape[1])) throw Error("x is " + x + " but w is " + w + "; w must have one value per column of x");
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
