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
        var header = CudaText.Header(Sentence(kernel.Fused), target, kernel)
            + "// " + (Columns == RankColumns ? "rows of a rank's columns" : "rows of " + NumberText.Int(Columns) + " columns")
            + (Heads > 0 ? ", " + NumberText.Int(Heads) + " a token" : "") + "; fp32 in registers, one rounding per stored value; "
            + "bytes are without the vectors that all rows share\n";
        yield return new EmittedKernel(RowKernelText.Info(kernel, this), RowKernelText.Parts(kernel, this).Prepend(header + CudaText.Elem(target)).ToArray());
    }

    internal override CpuKernel Cpu(Kernel kernel) => new(kernel.Name, true, RowCpuText.Print(kernel, this));

    /// <summary>What the kernel reads and writes for a token, each value once.</summary>
    public Traffic Traffic
    {
        get
        {
            var heads = Math.Max(Heads, 1);
            var row = new Traffic(Columns == RankColumns ? 1 : Columns * heads, 0);
            return Outputs.Select(o => o.PerRow ? new Traffic(0, heads) : row).Concat(Inputs.Select(i => i.Kind switch
            {
                RowInputKind.Matrix => row,
                RowInputKind.Gather => row + new Traffic(0, 1),
                RowInputKind.PerRow => new Traffic(0, 1),
                RowInputKind.PerHead => new Traffic(0, heads),
                RowInputKind.Vector or RowInputKind.Scalar or RowInputKind.HeadVector or RowInputKind.HeadScalar => default,
                _ => throw new InvalidOperationException("row body: unknown input " + i.Kind),
            })).Aggregate(default(Traffic), (a, b) => a + b);
        }
    }

    /// <summary>What is fused, the bytes that it moves, and those that a kernel for each op would move.</summary>
    string Sentence(FusedOps fused)
    {
        var text = fused.Words + " in one kernel: it moves " + FusedOps.Number(Traffic.Bytes) + (Columns == RankColumns ? " bytes a token and column" : " bytes a token");
        return fused.Ops.Count < 2 ? text + ", each value once."
            : text + ", a kernel for each " + FusedOps.Number(fused.Apart.Bytes) + (fused.Kept.Length > 0 ? "; " + fused.Kept : "") + ".";
    }
}
