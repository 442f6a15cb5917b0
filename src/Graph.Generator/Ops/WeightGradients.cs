using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>
/// The gradient of a trained weight, or one of several terms of it: x = the gradient f32, as the leaf → the same.
/// Lowering: what makes x (a product, a sum over tokens, rows that ids name, the cross entropy) adds it to the weight's gradient.
/// </summary>
/// <param name="Of">A Param or a ParamStack.</param>
public sealed record WeightGradient(Leaf Of) : Op("weight_gradient")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        if (!inputs[0].Shape.Equals(Of.Type.Shape)) throw Error("the gradient of " + Of.Attributes + " is " + inputs[0] + " but the weight is " + Of.Type);
        return inputs[0];
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) => inputs[0];

    public override string Attributes => Of.Attributes;
}

/// <summary>s = Σ over tokens, in fp32: [T,H] → f32[H], and of [T,N,D] over its heads too: f32[D]. The gradient of a vector that all rows share.</summary>
public sealed record TokenSum() : Op("token_sum")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        if (!inputs[0].IsPerToken || inputs[0].Rank < 2 || inputs[0].IsRowScalar || inputs[0].IsRankRow) throw Error("x is " + inputs[0] + "; it must be [T,H] or [T,N,D]");
        return TensorType.F32(inputs[0].Shape.Last);
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var sums = new double[types[0].Shape.Last.Size];
        for (var i = 0; i < inputs[0].Length; i++) sums[i % sums.Length] += inputs[0][i];
        return sums;
    }
}

/// <summary>d[id] = Σ dy[t] over the tokens of that id: dy [T,H], ids i32[T] → f32[Rows,H].</summary>
public sealed record EmbeddingGradient(int Rows) : Op("embedding_gradient")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        return TensorType.F32(Rows, inputs[0].Shape[1]);
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = types[0].Shape[1].Size;
        var table = new double[Rows * columns];
        for (var i = 0; i < inputs[0].Length; i++) table[(int)inputs[1][i / columns] * columns + i % columns] += inputs[0][i];
        return table;
    }

    public override string Attributes => "rows=" + NumberText.Int(Rows);
}

/// <summary>
/// dtable = Σt ((softmax(z) − onehot(label))·logit′(s)·inv_labels)[t]ᵀ·x[t]: x, table, labels, inv_labels → f32[V,H]. Lowering: with the loss, while a chunk's logits exist.
/// </summary>
public sealed record LinearCrossEntropyTableGrad(Expr Logit) : Op("linear_cross_entropy_table_grad")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 4);
        return inputs[1] with { DType = DType.F32 };
    }

    // dx of a table that is the identity is dlogits.
    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (vocab, width) = (types[1].Shape[0].Size, types[1].Shape[1].Size);
        var raw = new MatMul(Schedules.GemmLayout.Nt).Reference(sizes, types, inputs);
        var identity = new double[vocab * vocab];
        for (var v = 0; v < vocab; v++) identity[v * vocab + v] = 1;
        var square = TensorType.Act(vocab, vocab);
        var dlogits = new LinearCrossEntropyGrad(Logit).Reference(sizes, new[] { TensorType.Act(Dim.T, vocab), square, types[2], types[3] },
            new[] { raw, identity, inputs[2], inputs[3] });
        var d = new double[vocab * width];
        for (var t = 0; t < sizes.Tokens; t++)
            for (var v = 0; v < vocab; v++)
                for (var h = 0; h < width; h++) d[v * width + h] += dlogits[t * vocab + v] * inputs[0][t * width + h];
        return d;
    }

    public override string Attributes => "logit=" + ExprText.Print(Logit);
}
