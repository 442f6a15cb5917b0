using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Ops;

/// <summary>
/// One GEMM: y = scale · Σᵢ aᵢ·bᵢ over k-segments i in one fp32 accumulation, one rounding; every segment has operands of its own. Inputs a0, b0, a1, b1, …;
/// layouts, shapes and dtypes as in <see cref="MatMul"/>.
/// Y = x·Wᵀ + S·Bᵀ and dX = dY·W + G·A are one product of two segments. Made by MergeProducts.
/// </summary>
public sealed record Product(GemmLayout Layout, ScaleFactor Scale) : Op("gemm_" + Layout.ToString().ToLowerInvariant())
{
    /// <summary>Most segments of a product: what gemm_sm90.cu takes.</summary>
    public const int MaxSegments = 2;

    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs.Count == 0 || inputs.Count % 2 != 0 || inputs.Count > 2 * MaxSegments) throw Error("takes one or two pairs of tensors but got " + inputs.Count);
        var types = Enumerable.Range(0, inputs.Count / 2).Select(i => new MatMul(Layout).Infer(new[] { inputs[2 * i], inputs[2 * i + 1] })).ToArray();
        if (types.Any(t => !t.Equals(types[0]))) throw Error("its segments are " + string.Join(" and ", types) + "; all must have one shape");
        return types[0];
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var scale = sizes.Scale(Scale);
        var y = new double[0];
        for (var i = 0; i < inputs.Count; i += 2)
        {
            var part = new MatMul(Layout).Reference(sizes, new[] { types[i], types[i + 1] }, new[] { inputs[i], inputs[i + 1] });
            y = i == 0 ? part : y.Zip(part, (a, b) => a + b).ToArray();
        }
        return y.Select(v => v * scale).ToArray();
    }

    public override string Attributes => Scale.IsOne ? "" : "scale=" + Scale;
}
