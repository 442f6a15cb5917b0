using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Ops;

/// <summary>
/// Weights of linears that read one input, under each other: act[ΣN, K]. One GEMM serves all of them; each part keeps the checkpoint's layout. Made by
/// StackLinears.
/// </summary>
public sealed record ParamStack(EquatableArray<Param> Parts) : Leaf("param_stack", TensorType.Act(Parts.Sum(p => p.Type.Shape[0].Size), Parts[0].Type.Shape[1]))
{
    public bool Trained => Parts[0].Trained;

    public override string Attributes => "names=" + string.Join("+", Parts.Select(p => p.Tensor)) + (Trained ? " trained" : "");
}

/// <summary>A (IsA) or B of a set of adapters; trainable. Masters are fp32, products read a copy rounded to the activation type.</summary>
public sealed record AdapterStack(AdapterSet Set, bool IsA)
    : Leaf(IsA ? "lora_a_stack" : "lora_b_stack", IsA ? TensorType.F32(Dim.Ranks(Set.Id, Set.Adapters.Count), Set.In)
    : TensorType.F32(Set.Out, Dim.Ranks(Set.Id, Set.Adapters.Count)))
{
    public override string Attributes => "names=" + string.Join("+", Set.Adapters.Select(a => a.Name));
}

/// <summary>
/// The gradient of a stack of adapters, or one of several terms of it: x = the gradient f32, as the leaf → the same. Lowering: the GEMM that makes x adds it to
/// the stack's gradient.
/// </summary>
public sealed record AdapterGradient(AdapterStack Of) : Op("adapter_gradient")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        if (!inputs[0].Equals(Of.Type))
            throw Error("the gradient of " + string.Join(", ", Of.Set.Adapters.Select(a => a.Name)) + " is " + inputs[0] + " but the adapter is " + Of.Type);
        return inputs[0];
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) => inputs[0];

    public override string Attributes => Of.Attributes;
}

/// <summary>Columns Start … Start + Count of x [T,ΣN], as [T,Count]: the same memory.</summary>
public sealed record Columns(int Start, int Count) : Op("columns")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 1);
        return inputs[0] with { Shape = new Dim[] { Dim.T, Count } };
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var columns = sizes.Columns(types[0]);
        return Enumerable.Range(0, sizes.Tokens).SelectMany(t => inputs[0].Skip(t * columns + Start).Take(Count)).ToArray();
    }

    public override string Attributes => Start.ToString(CultureInfo.InvariantCulture) + ":" + (Start + Count).ToString(CultureInfo.InvariantCulture);
}

/// <summary>
/// [x0 | x1 | …]: act[T,Nᵢ] side by side → act[T,ΣN]. Lowering: no launch; whoever computes xᵢ writes it there (a copy where that cannot be,
/// <see cref="Passes.InsertCopies"/>).
/// </summary>
public sealed record Concat() : Op("concat")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        if (inputs.Count == 0 || inputs.Any(i => !i.IsPerToken || i.Rank != 2 || i.Shape[1].IsRank))
            throw Error("its inputs are " + string.Join(", ", inputs) + "; each must be [T,N]");
        return TensorType.Act(Dim.T, inputs.Sum(i => i.Columns));
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        Enumerable.Range(0, sizes.Tokens).SelectMany(t => inputs.SelectMany((x, i) => x.Skip(t * types[i].Columns).Take(types[i].Columns))).ToArray();
}
