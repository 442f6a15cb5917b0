using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

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

/// <summary>Reductions over the columns of a row with any pointwise work around them. Arguments: outputs, then inputs.</summary>
/// <param name="Columns">Columns of a row. <see cref="RankColumns"/>: as many as the first argument that is a matrix has in its pitch, an adapter's padded rank, which is a
/// multiple of 8 known only when the
/// kernel runs. All of them are worked on, nobody reads those past the rank, and there are no reductions.</param>
/// <param name="Heads">Rows are the heads of a token, so many of them side by side in [T, Heads·Columns]; 0: a row is a token's.</param>
public sealed record RowBody(int Columns, EquatableArray<RowOutput> Outputs, EquatableArray<RowInput> Inputs, EquatableArray<RowStatement> Statements, int Heads = 0) : KernelBody
{
    public const int RankColumns = 0;

    public override KernelKind Kind => KernelKind.Row;

    internal override IEnumerable<Expr> Expressions => Statements.Select(s => s switch
    {
        RowStatement.Let l => l.Value,
        RowStatement.LetRow l => l.Value,
        RowStatement.Reduce r => r.Value,
        RowStatement.Store or RowStatement.StoreRow => Expr.Zero,
        _ => throw new InvalidOperationException("row body: unknown statement " + s.GetType().Name),
    });

    /// <summary>Values are numbered instead of named.</summary>
    internal override KernelBody Key()
    {
        var numbers = new Dictionary<string, string>();
        string Number(string name) => numbers.TryGetValue(name, out var known) ? known : numbers[name] = "v" + NumberText.Int(numbers.Count);
        Expr Value(Expr e) => e.Renamed(Number);
        return this with
        {
            Outputs = Outputs.Select(o => o with { Name = Number(o.Name) }).ToArray(),
            Inputs = Inputs.Select(i => i with { Name = Number(i.Name) }).ToArray(),
            Statements = Statements.Select(s => s switch
            {
                RowStatement.Let let => new RowStatement.Let(Number(let.Name), Value(let.Value), ""),
                RowStatement.LetRow let => new RowStatement.LetRow(Number(let.Name), Value(let.Value)),
                RowStatement.Reduce reduce => new RowStatement.Reduce(Number(reduce.Name), Value(reduce.Value)),
                RowStatement.Store store => new RowStatement.Store(Number(store.Name)),
                RowStatement.StoreRow store => (RowStatement)new RowStatement.StoreRow(Number(store.Name)),
                _ => throw new InvalidOperationException("row body: unknown statement " + s.GetType().Name),
            }).ToArray(),
        };
    }

    internal override IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel)
    {
        var header = CudaText.Header(target, kernel) + "// " + (Columns == RankColumns ? "columns of a rank" : NumberText.Int(BytesPerRow) + " bytes per row")
            + (Heads > 0 ? ", " + NumberText.Int(Heads) + " rows a token" : "") + "; fp32 in registers, one rounding per stored value\n";
        yield return new EmittedKernel(RowKernelText.Info(kernel, this), RowKernelText.Parts(kernel, this).Prepend(header + CudaText.Elem(target)).ToArray());
    }

    internal override CpuKernel Cpu(Kernel kernel) => new(kernel.Name, true, RowCpuText.Print(kernel, this));

    int BytesPerRow => Outputs.Sum(o => o.PerRow ? 4 : Columns * 2) + Inputs.Sum(i => i.Kind switch
    {
        RowInputKind.Matrix or RowInputKind.Gather => Columns * 2,
        RowInputKind.PerRow or RowInputKind.PerHead => 4,
        RowInputKind.Vector or RowInputKind.Scalar or RowInputKind.HeadVector or RowInputKind.HeadScalar => 0,
        _ => throw new InvalidOperationException("row body: unknown input " + i.Kind),
    });
}
