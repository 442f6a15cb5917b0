using System;
using System.Collections.Generic;
using System.Globalization;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>[T, N·D] → [T, N, D] (heads ≥ 1) or back (heads 0): the same memory seen with other dimensions.</summary>
public sealed record Heads(int Count) : Op(Count > 0 ? "split_heads" : "merge_heads")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        var x = inputs[0];
        if (x.IsRowScalar) throw Error("x is " + x + "; one value per row has no heads to split or merge");
        if (Count == 0)
        {
            if (!x.IsPerToken || x.Rank != 3) throw Error("x is " + x + "; it must be [T,N,D]");
            return x with { Shape = new Dim[] { Dim.T, x.Columns } };
        }
        if (!x.IsPerToken || x.Rank != 2 || x.Shape[1].IsRank) throw Error("x is " + x + "; it must be [T,N*D]");
        if (x.Columns % Count != 0) throw Error("x is " + x + "; its " + x.Columns + " columns do not divide into " + Count + " heads");
        return x with { Shape = new Dim[] { Dim.T, Count, x.Columns / Count } };
    }

    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) =>
        new int?[] { g.Add(new Heads(Count > 0 ? 0 : g.Type(y.Inputs[0]).Shape[1].Size), dy) };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) => (double[])inputs[0].Clone();

    public override string Attributes => Count > 0 ? "heads=" + Count.ToString(CultureInfo.InvariantCulture) : "";
}

/// <summary>
/// Rotary embedding, half-split: pairs (i, i + D/2) of every head rotate by position / θ^(2i/D), in fp32; x act[T,N,D] → the same. Positions restart at each document.
/// At run time the frequencies are a table that the host fills, scaled as the checkpoint says of layers of this type; the reference is the unscaled one.
/// Inverse rotates back, which is the adjoint. Lowering: its own kernel, in place.
/// Source: transformers, modeling_gemma2.py, Gemma2RotaryEmbedding and rotate_half.
/// </summary>
public sealed record Rope(double Theta, string? Layers, bool Inverse = false) : Op("rope")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        if (!inputs[0].IsPerToken || inputs[0].Rank != 3) throw Error("x is " + inputs[0] + "; it must be [T,N,D] (SplitHeads first)");
        if (inputs[0].Shape[2].Size % 2 != 0) throw Error("x is " + inputs[0] + "; the head dim must be even");
        return inputs[0];
    }

    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) => new int?[] { g.Add(this with { Inverse = !Inverse }, dy) };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var x = inputs[0];
        var (heads, dim) = (types[0].Shape[1].Size, types[0].Shape[2].Size);
        var y = new double[x.Length];
        for (var t = 0; t < sizes.Tokens; t++)
            for (var h = 0; h < heads; h++)
                for (var i = 0; i < dim / 2; i++)
                {
                    var angle = sizes.Positions[t] / Math.Pow(Theta, 2.0 * i / dim) * (Inverse ? -1 : 1);
                    var (cos, sin) = (Math.Cos(angle), Math.Sin(angle));
                    var at = (t * heads + h) * dim + i;
                    y[at] = x[at] * cos - x[at + dim / 2] * sin;
                    y[at + dim / 2] = x[at + dim / 2] * cos + x[at] * sin;
                }
        return y;
    }

    public override string Attributes =>
        "theta=" + Theta.ToString("R", CultureInfo.InvariantCulture) + (Layers is { } layers ? " layers=" + layers : "") + (Inverse ? " inverse" : "");
}
