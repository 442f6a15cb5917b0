using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.IR;

/// <summary>
/// How a row kernel reads an input: a whole row, a vector shared by all rows, one fp32 per token, one fp32 of the scalar block, or a table row chosen by an id. Where rows
/// are heads also: one fp32 per head of a
/// token (f32[T,N]), a vector per head shared by all tokens (a weight [N,D]), or one element per head shared by all tokens (a weight [N,1]).
/// </summary>
public enum RowInputKind { Matrix, Vector, PerRow, Scalar, Gather, PerHead, HeadVector, HeadScalar }

/// <summary>An argument that is read. A Gather takes two arguments: the ids and the table.</summary>
public readonly record struct RowInput(string Name, RowInputKind Kind)
{
    /// <summary>One value per row: a plain variable of the kernel, where the others have a value per column.</summary>
    public bool IsPerRow => Kind switch
    {
        RowInputKind.PerRow or RowInputKind.Scalar or RowInputKind.PerHead or RowInputKind.HeadScalar => true,
        RowInputKind.Matrix or RowInputKind.Vector or RowInputKind.Gather or RowInputKind.HeadVector => false,
        _ => throw new InvalidOperationException("row body: unknown input " + Kind),
    };
}

/// <summary>An argument that is written: a row of act, or one fp32 per row (f32[T], or f32[T,N] where rows are heads).</summary>
public readonly record struct RowOutput(string Name, bool PerRow);

/// <summary>One statement of a row kernel's loop IR, in order. Names are values: Let and Store work on every column of the row, the others once per row.</summary>
public abstract record RowStatement(string Name)
{
    /// <summary>name[c] = value, in fp32.</summary>
    public sealed record Let(string Name, Expr Value, string Comment) : RowStatement(Name);
    /// <summary>name = value, once per row.</summary>
    public sealed record LetRow(string Name, Expr Value) : RowStatement(Name);
    /// <summary>name = Σc value[c], in fp32, in a fixed order.</summary>
    public sealed record Reduce(string Name, Expr Value) : RowStatement(Name);
    /// <summary>Output name[c] = round(name[c]); from here on the value is the stored one, so that rebuilding it later gives the same bits.</summary>
    public sealed record Store(string Name) : RowStatement(Name);
    /// <summary>Output name = name, fp32 per row.</summary>
    public sealed record StoreRow(string Name) : RowStatement(Name);
}

/// <summary>What a kernel computes, apart from the tensors it is given: equal bodies are one kernel (Share).</summary>
public abstract record KernelBody;

/// <summary>Reductions over the columns of a row with any pointwise work around them. Arguments: outputs, then inputs.</summary>
/// <param name="Columns">Columns of a row. <see cref="RankColumns"/>: as many as the first argument that is a matrix has in its pitch, an adapter's padded rank, which is a
/// multiple of 8 known only when the
/// kernel runs. All of them are worked on, nobody reads those past the rank, and there are no reductions.</param>
/// <param name="Heads">Rows are the heads of a token, so many of them side by side in [T, Heads·Columns]; 0: a row is a token's.</param>
public sealed record RowBody(int Columns, EquatableArray<RowOutput> Outputs, EquatableArray<RowInput> Inputs, EquatableArray<RowStatement> Statements, int Heads = 0) : KernelBody
{
    public const int RankColumns = 0;

    /// <summary>Every expression of the body.</summary>
    public IEnumerable<Expr> Expressions => Statements.Select(s => s switch
    {
        RowStatement.Let l => l.Value,
        RowStatement.LetRow l => l.Value,
        RowStatement.Reduce r => r.Value,
        RowStatement.Store or RowStatement.StoreRow => Expr.Zero,
        _ => throw new InvalidOperationException("row body: unknown statement " + s.GetType().Name),
    });
}

public sealed record RopeBody(int Heads, int HeadDim, double Theta, bool Inverse) : KernelBody;

public enum AttentionPart { Forward, Delta, Dq, Dkdv }

public sealed record AttentionBody(AttentionPart Part, ScoreFunction? Score, int Heads, int KvHeads, int HeadDim) : KernelBody;

public sealed record CrossEntropyBody(Expr Logit, int Vocab) : KernelBody
{
    /// <summary>Proven bound of the logits' magnitude, at most 60, so that sums of their exponentials stay inside fp32; 0: none.</summary>
    public int Bound => Logit.Bound() is { } bound and <= 60 ? (int)Math.Ceiling(bound) : 0;
}

/// <summary>One launch before kernels have names. Source: the fused nodes, one line each, for the kernel's header.</summary>
public abstract record Step(int Layer, bool Backward);

public sealed record GemmStep(int Layer, bool Backward, GemmLayout Layout, View D, EquatableArray<GemmSegment> Segments, ScaleFactor Scale, bool Accumulate) : Step(Layer, Backward);

public sealed record KernelStep(int Layer, bool Backward, KernelBody Body, string Label, EquatableArray<View> Arguments, int Outputs, int InPlace, EquatableArray<string> Source) : Step(Layer, Backward);

public sealed record LossStep(int Layer, CrossEntropyBody Body, View? DX, View Loss, View X, View Table, EquatableArray<string> Source) : Step(Layer, false);

/// <summary>A dropped activation's steps.</summary>
public sealed record StepRecipe(string Tensor, IReadOnlyList<Step> Steps);

/// <summary>A graph in kernels: tensors placed in memory, steps in order.</summary>
public sealed record KernelGraph(IReadOnlyList<AdapterSet> Adapters, IReadOnlyList<ScheduleTensor> Tensors, IReadOnlyList<Step> Steps, IReadOnlyList<StepRecipe> Recipes);
