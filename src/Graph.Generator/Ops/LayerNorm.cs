using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>
/// y = (x − mean(x)) · rsqrt(mean((x − mean(x))²) + eps) · w + b over the last dimension: x act[T,H] or act[T,N,D], w and b act[H] or act[D], b may be left out; all in fp32,
/// one rounding at the end.
/// Source: torch.nn.functional.layer_norm.
/// </summary>
public sealed record LayerNorm(double Eps) : Op("layer_norm")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs.Count != 3) Expect(inputs, 2);
        var x = inputs[0];
        RowSum.Statistic(Name, x);
        foreach (var (name, vector) in new[] { "w", "b" }.Zip(inputs.Skip(1), (n, v) => (n, v)))
            if (vector.Rank != 1 || !vector.Shape[0].Equals(x.Shape.Last))
                throw Error("x is " + x + " but " + name + " is " + vector + "; " + name + " must have one value per column of x's last dimension");
        return x;
    }

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs)
    {
        int Mean(int value) => new RowMean().Expand(g, new[] { value })!.Value;
        var centered = g.Sub(inputs[0], Mean(inputs[0]));
        var inverse = g.Unary(UnaryKind.Rsqrt, g.Add(Mean(g.Mul(centered, centered)), g.Const(Eps)));
        var scaled = g.Mul(g.Mul(centered, inverse), inputs[1]);
        return inputs.Count == 2 ? scaled : g.Add(scaled, inputs[2]);
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (x, w) = (inputs[0], inputs[1]);
        var y = new double[x.Length];
        for (var row = 0; row < x.Length; row += w.Length)
        {
            var mean = x.Skip(row).Take(w.Length).Average();
            var inverse = 1 / Math.Sqrt(x.Skip(row).Take(w.Length).Average(v => (v - mean) * (v - mean)) + Eps);
            for (var c = 0; c < w.Length; c++) y[row + c] = (x[row + c] - mean) * inverse * w[c] + (inputs.Count == 2 ? 0 : inputs[2][c]);
        }
        return y;
    }

    public override string Attributes => "eps=" + Eps.ToString("R", CultureInfo.InvariantCulture);
}
