using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>
/// Linears that read one input, with or without adapters, stored as the pitched matrix [[W, B], [A, 0]]: ΣN + R rows, K + R columns, B block-diagonal, R the sum of the padded ranks.
/// Then every product of the group is one plain GEMM on any backend.
/// </summary>
public sealed record LinearFamily(int Id, int In, EquatableArray<string> Linears, EquatableArray<int> Outs, bool HasAdapters)
{
    public int Out => Outs.Sum();
    public string Name => string.Join("+", Linears.Select(l => l.Substring(l.LastIndexOf('.') + 1)));
    public int Start(int linear) => Outs.Take(linear).Sum();
}

/// <summary>
/// The products of a group of linears, made by GroupLinears from matmuls whose references and adjoints are the oracle; these ops only name which GEMM over the pitched matrix it is.
/// </summary>
public abstract record GroupOp(string Name, LinearFamily Family) : Op(Name)
{
    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        throw new InvalidOperationException(Name + ": is a layout of matmuls; their references hold");

    public override string Attributes => "group=" + Family.Id.ToString(CultureInfo.InvariantCulture);
}

/// <summary>[x | S], S = s·x·Aᵀ: x act[T,K] → act[T,K+R] (typed as [T,K]; ranks are storage). One GEMM writes S beside x.</summary>
public sealed record GroupStack(LinearFamily Family) : GroupOp("group_stack", Family)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => inputs[0];
}

/// <summary>Y = [x|S]·[W|B]ᵀ: act[T,ΣN], q|k|v or gate|up side by side.</summary>
public sealed record GroupForward(LinearFamily Family) : GroupOp("group_linear", Family)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => TensorType.Act(Dim.T, Family.Out);
}

/// <summary>[dY | G], G = s·dY·B: the linears' output gradients side by side, and one GEMM that writes G beside them.</summary>
public sealed record GroupGradStack(LinearFamily Family) : GroupOp("group_grad_stack", Family)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => TensorType.Act(Dim.T, Family.Out);
}

/// <summary>dX = [dY|G]·[W;A]: act[T,K], the sum over all linears and adapters of the group.</summary>
public sealed record GroupInputGrad(LinearFamily Family) : GroupOp("group_input_grad", Family)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => TensorType.Act(Dim.T, Family.In);
}

/// <summary>dA = Gᵀ·x: f32[R,K], from [dY|G] and [x|S].</summary>
public sealed record GroupGradA(LinearFamily Family) : GroupOp("group_grad_a", Family)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => TensorType.F32(Dim.Rank(Family.Name), Family.In);
}

/// <summary>dB = dYᵀ·S: f32[ΣN,R]; only the blocks (rows of linear i × ranks of linear i) are the gradient.</summary>
public sealed record GroupGradB(LinearFamily Family) : GroupOp("group_grad_b", Family)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => TensorType.F32(Family.Out, Dim.Rank(Family.Name));
}

/// <summary>Columns Start … Start + Count of x, as [T,Count]: the same memory.</summary>
public sealed record Columns(int Start, int Count) : Op("columns")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => inputs[0] with { Shape = new Dim[] { Dim.T, Count } };

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = sizes.Columns(types[0]);
        return Enumerable.Range(0, sizes.Tokens).SelectMany(t => inputs[0].Skip(t * columns + Start).Take(Count)).ToArray();
    }

    public override string Attributes => Start.ToString(CultureInfo.InvariantCulture) + ":" + (Start + Count).ToString(CultureInfo.InvariantCulture);
}
