using System;
using System.Collections.Generic;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>
/// loss[t] = log Σv exp(z[t,v]) − z[t, labels[t]], 0 where the label is −100: z [T,V], labels i32[T] → f32[T,1]; fp32. Appended by Import; FuseLoss replaces it.
/// </summary>
public sealed record CrossEntropy() : Op("cross_entropy")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        if (!inputs[0].IsPerToken || inputs[0].Rank != 2) throw Error("the model returns " + inputs[0] + "; it must return logits [T,V]");
        return TensorType.F32(Dim.T, 1);
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var vocab = sizes.Columns(types[0]);
        var loss = new double[sizes.Tokens];
        for (var t = 0; t < sizes.Tokens; t++)
        {
            if (inputs[1][t] < 0) continue;
            var max = double.NegativeInfinity;
            double sum = 0;
            for (var v = 0; v < vocab; v++) max = Math.Max(max, inputs[0][t * vocab + v]);
            for (var v = 0; v < vocab; v++) sum += Math.Exp(inputs[0][t * vocab + v] - max);
            loss[t] = max + Math.Log(sum) - inputs[0][t * vocab + (int)inputs[1][t]];
        }
        return loss;
    }
}

/// <summary>
/// loss = cross_entropy(logit(x·tableᵀ), labels) with a a pointwise logit function (Gemma 2: 30·tanh(s/30)) of the variable "s":
/// x act[T,H], table act[V,H], labels i32[T] → f32[T,1].
/// Logits exist only for a chunk of tokens at a time.
/// </summary>
public sealed record LinearCrossEntropy(Expr Logit) : Op("linear_cross_entropy")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 3); return TensorType.F32(Dim.T, 1); }

    // dy is the same scalar 1/labels for every row, known before the step: so the gradient can be made in the forward, while a chunk's logits exist.
    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) =>
        new[]
        {
            needed[0] ? g.Add(new LinearCrossEntropyGrad(Logit), y.Inputs[0], y.Inputs[1], y.Inputs[2], dy) : (int?)null,
            needed[1] ? g.Add(new LinearCrossEntropyTableGrad(Logit), y.Inputs[0], y.Inputs[1], y.Inputs[2], dy) : null, null,
        };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var z = Logits(Logit, sizes, types, inputs, out _);
        return new CrossEntropy().Reference(sizes, new[] { TensorType.Act(Dim.T, types[1].Shape[0]), types[2] }, new[] { z, inputs[2] });
    }

    internal static double[] Logits(Expr logit, ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs, out double[] raw)
    {
        raw = new MatMul(Schedules.GemmLayout.Nt).Reference(sizes, types, inputs);
        var z = new double[raw.Length];
        for (var i = 0; i < z.Length; i++)
        {
            var s = raw[i];
            z[i] = logit.Evaluate(_ => s);
        }
        return z;
    }

    public override string Attributes => "logit=" + ExprText.Print(Logit);
}

/// <summary>dx = ((softmax(z) − onehot(label))·logit′(s)·inv_labels)·table, rows with label −100 zero: x, table, labels, inv_labels → act[T,H].</summary>
public sealed record LinearCrossEntropyGrad(Expr Logit) : Op("linear_cross_entropy_grad")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 4); return inputs[0]; }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var z = LinearCrossEntropy.Logits(Logit, sizes, types, inputs, out var raw);
        var (vocab, width) = (types[1].Shape[0].Size, types[1].Shape[1].Size);
        var slope = Logit.Derivative("s");
        var dx = new double[inputs[0].Length];
        for (var t = 0; t < sizes.Tokens; t++)
        {
            if (inputs[2][t] < 0) continue;
            double max = double.NegativeInfinity, sum = 0;
            for (var v = 0; v < vocab; v++) max = Math.Max(max, z[t * vocab + v]);
            for (var v = 0; v < vocab; v++) sum += Math.Exp(z[t * vocab + v] - max);
            for (var v = 0; v < vocab; v++)
            {
                var s = raw[t * vocab + v];
                var p = Math.Exp(z[t * vocab + v] - max) / sum - (v == (int)inputs[2][t] ? 1 : 0);
                var ds = p * slope.Evaluate(_ => s) * inputs[3][0];
                for (var h = 0; h < width; h++) dx[t * width + h] += ds * inputs[1][v * width + h];
            }
        }
        return dx;
    }

    public override string Attributes => "logit=" + ExprText.Print(Logit);
}
