using System;
using System.Collections.Generic;
using System.Globalization;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Ops;

/// <summary>A value that no launch computes: its memory is filled before the step. References are given by the caller.</summary>
public abstract record Leaf(string Name, TensorType Type) : Op(Name)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 0); return Type; }
    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        throw new InvalidOperationException(Name + ": a leaf has no reference; its values are given");
}

/// <summary>A step input staged by the host: ids, labels, positions, doc_start, doc_end; i32[T].</summary>
public sealed record Input(string Role) : Leaf("input", TensorType.I32(Dim.T))
{
    public override string Attributes => "name=" + Role;
}

/// <summary>A checkpoint tensor; frozen, unless the variant trains its weights.</summary>
public sealed record Param(string Tensor, TensorType Type, bool Trained = false) : Leaf("param", Type)
{
    public override string Attributes => "name=" + Tensor + (Trained ? " trained" : "");
}

/// <summary>An adapter matrix of one linear: A f32[R, in] or B f32[out, R]. Trainable; masters are fp32, products read their rounded copy in the group matrix.</summary>
public sealed record Adapter(string Linear, bool IsA, int Size)
    : Leaf(IsA ? "lora_a" : "lora_b", IsA ? TensorType.F32(Dim.Rank(Linear), Size) : TensorType.F32(Size, Dim.Rank(Linear)))
{
    public override string Attributes => "name=" + Linear;
}

/// <summary>An fp32 scalar of the device's scalar block: lora_scale = alpha / r, inv_labels = 1 / labels of the optimizer batch.</summary>
public sealed record RunScalar(StepScalar Role) : Leaf("scalar", TensorType.Scalar)
{
    /// <summary>Its tensor in the schedule: lora_scale, inv_labels.</summary>
    public string Tensor => ScheduleText.Lower(Role);

    public override string Attributes => "name=" + Tensor;
}

public sealed record Const(double Value) : Op("const")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 0); return TensorType.Scalar; }
    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) => new[] { Value };
    public override string Attributes => "value=" + Value.ToString("R", CultureInfo.InvariantCulture);
}

/// <summary>
/// A constant rounded to the activation type: in bf16 runs transformers multiplies the embedding by bf16(√H) (9B 59.75, 27B 68.0); in fp32 runs it is not rounded.
/// </summary>
public sealed record TypedConst(double Value) : Op("typed_const")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 0); return TensorType.Scalar; }
    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) => new[] { Value };
    public override string Attributes => "value=" + Value.ToString("R", CultureInfo.InvariantCulture);
}

/// <summary>
/// What an attention's score function is given while it is traced: the scaled product ("input"), q − k ("distance") or the query head's index ("head"). Import
/// folds the region into the attention op.
/// </summary>
public sealed record ScoreArgument(string Kind) : Op("score_" + Kind)
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) { Expect(inputs, 1); return TensorType.Scalar; }
    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        throw new InvalidOperationException(Name + ": exists only inside a score function");
}
