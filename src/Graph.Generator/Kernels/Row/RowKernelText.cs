using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// A row kernel as CUDA C. With a reduction: a block has whole rows, every thread keeps 8 neighbouring
/// columns of every tensor in registers, so each element is read and written once.
/// Without: blocks tile the columns too. Rows that are heads, and rows as wide as a rank, have texts of their own (<see cref="HeadRowText"/>, <see cref="RankRowText"/>)
/// around the same statements.
/// </summary>
public static class RowKernelText
{
    /// <summary>Threads of a block without a reduction, where they divide the columns at 8 a thread.</summary>
    const int FlatBlock = 256;

    /// <summary>The most threads of such a block where they do not.</summary>
    const int LargestFlatBlock = 576;

    /// <summary>
    /// Rows of one block where the next row is loaded ahead. More rows share one start of a block and one read of the vectors, but leave a longer tail at the end of the launch.
    /// </summary>
    const int RowsAhead = 3;

    /// <summary>
    /// A row loaded ahead takes 4 registers per matrix and thread.
    /// Up to two matrices leave room for three blocks of 448 threads on a multiprocessor (40 registers: 42 warps are 11 on one of its quarters);
    /// rows of more matrices are enough bytes in flight by themselves.
    /// </summary>
    const int MaxMatricesAhead = 2;

    /// <summary>More columns than this (8 per thread, 1,024 threads) do not fit one block.</summary>
    const int MaxReducedColumns = 8192;

    internal static bool HasReduction(RowBody body) => body.Statements.Any(s => s is RowStatement.Reduce);

    static int TileRows(RowBody body) =>
        HasReduction(body) && body.Inputs.Count(i => i.Kind is RowInputKind.Matrix or RowInputKind.Gather) <= MaxMatricesAhead ? RowsAhead : 1;

    public static KernelInfo Info(Kernel kernel, RowBody body)
    {
        if (body.Columns == RowBody.RankColumns) return RankRowText.Info(kernel);
        if (body.Heads > 0) return HeadRowText.Info(kernel, body);
        if (!HasReduction(body))
        {
            var (block, blocks) = FlatBlocks(body.Columns);
            return new KernelInfo(kernel.Name, KernelKind.Row, block, 0, 1, 0, blocks);
        }
        if (body.Columns > MaxReducedColumns)
            throw new InvalidOperationException("row kernel " + kernel.Name + ": a reduction over "
                + body.Columns + " columns does not fit one block of 1024 threads with 8 columns each");
        return new KernelInfo(kernel.Name, KernelKind.Row, (body.Columns / 8 + 31) / 32 * 32, 0, TileRows(body), 0, 1);
    }

    /// <summary>
    /// Threads of a block, and blocks of a row, of which none is nearly empty at the widths of models: 4,608 columns are one block of 576, not two of 256 and one of 64.
    /// </summary>
    static (int Block, int Blocks) FlatBlocks(int columns)
    {
        var threads = (columns + 7) / 8;
        if (threads % FlatBlock == 0) return (FlatBlock, threads / FlatBlock);
        var blocks = (threads + LargestFlatBlock - 1) / LargestFlatBlock;
        return ((threads + blocks * 32 - 1) / (blocks * 32) * 32, blocks);
    }

    /// <summary>The parts of the text (<see cref="KernelText"/>) after the element's lines.</summary>
    public static string[] Parts(Kernel kernel, RowBody body) =>
        body.Columns == RowBody.RankColumns ? RankRowText.Parts(kernel, body)
        : body.Heads > 0 ? HeadRowText.Parts(kernel, body)
        : HasReduction(body) ? new[] { "@prelude.cu", "@rows.cu", Print(kernel, body) } : new[] { "@prelude.cu", Print(kernel, body) };

    static string Print(Kernel kernel, RowBody body)
    {
        if (body.Columns % 8 != 0) throw new InvalidOperationException("row kernel " + kernel.Name + ": rows of " + body.Columns + " columns cannot be read 8 at a time");
        var reduces = HasReduction(body);
        var tile = TileRows(body);
        var text = new StringBuilder();
        var info = Info(kernel, body);
        text.Append(Signature(kernel, body, info));
        if (reduces) text.Append("    __shared__ float scratch[2][WARP_SIZE];\n");
        if (tile == 1) text.Append("    const int64 row = blockIdx.x;\n");
        text.Append(reduces ? "    const int column = threadIdx.x * 8;\n" : "    const int column = (blockIdx.y * " + NumberText.Int(info.Block) + " + threadIdx.x) * 8;\n");
        var full = body.Columns == (reduces ? 1 : info.GridY) * info.Block * 8;
        if (!full) text.Append("    const bool inside = column < ").Append(NumberText.Int(body.Columns)).Append(";\n");
        if (!full && !reduces) text.Append("    if (!inside) return;\n");
        var guard = full || !reduces ? "" : "if (inside) ";
        text.Append('\n');
        if (tile > 1) Rows(text, info, body, guard);
        else
        {
            foreach (var input in body.Inputs) text.Append(Load(input, guard));
            text.Append(Statements(body, guard, Form(body, reduces, tile)));
        }
        return text.Append("}\n").ToString();
    }

    /// <summary>The loop over a block's rows. A row's inputs are loaded, and stay packed, while the row before it is reduced; what all rows share is loaded once.</summary>
    static void Rows(StringBuilder text, KernelInfo info, RowBody body, string guard)
    {
        var perRow = body.Inputs.Where(i => i.Kind is not (RowInputKind.Vector or RowInputKind.Scalar)).ToArray();
        var vectors = Vectors(body);
        foreach (var input in body.Inputs.Where(i => i.Kind == RowInputKind.Scalar)) text.Append(Load(input, guard));
        var tile = NumberText.Int(info.TileRows);
        text.Append("    // What a row needs is loaded while the row before it is reduced, so that loads are always in flight.\n");
        text.Append("    const int first = blockIdx.x * ").Append(tile).Append(", end = min(first + ").Append(tile).Append(", rows);\n");
        foreach (var input in perRow)
            text.Append(input.Kind == RowInputKind.PerRow ? "    float " : guard.Length == 0 ? "    uint4 " : "    uint4 " + input.Name + "_next = {};\n    ")
                .Append(Next(input, guard, "first"));
        if (vectors.Length > 0)
        {
            // Last, so that a row's loads do not wait for the vectors.
            text.Append("\n    // Vectors that all rows share. A thread reads back what it wrote itself; registers would cost a block per multiprocessor.\n");
            text.Append("    __shared__ uint4 vectors[").Append(NumberText.Int(vectors.Length)).Append("][").Append(NumberText.Int(info.Block)).Append("];\n");
            for (var i = 0; i < vectors.Length; i++)
                text.Append("    ").Append(guard).Append("vectors[").Append(NumberText.Int(i)).Append("][threadIdx.x] = packed8(").Append(Address(vectors[i], "")).Append(");\n");
        }
        // Unrolled, the rows' registers add up. A block has at least one row; with a test before the first one, the compiler would move that row's loads behind the vectors.
        text.Append("\n    int row = first;\n#pragma unroll 1\n    do\n    {\n");
        foreach (var input in perRow)
            text.Append(input.Kind == RowInputKind.PerRow ? "        const float " + input.Name + " = " + input.Name + "_next;\n"
                : "        float " + input.Name + "[8];\n        unpack8(" + input.Name + "_next, " + input.Name + ");\n");
        text.Append("        if (row + 1 < end)\n        {\n");
        foreach (var input in perRow) text.Append("            ").Append(Next(input, guard, "row + 1"));
        text.Append("        }\n");
        foreach (var line in Statements(body, guard, Form(body, true, info.TileRows)).TrimEnd('\n').Split('\n')) text.Append(line.Length == 0 ? "" : "    " + line).Append('\n');
        text.Append("    }\n    while (++row < end);\n");
    }

    static RowInput[] Vectors(RowBody body) => body.Inputs.Where(i => i.Kind == RowInputKind.Vector).ToArray();

    /// <summary>x_next of a row.</summary>
    static string Next(RowInput input, string guard, string row) =>
        input.Kind == RowInputKind.PerRow ? input.Name + "_next = " + input.Name + "_rows[" + row + "];\n"
        : guard + input.Name + "_next = packed8(" + Address(input, row) + ");\n";

    /// <summary>What differs between the kernels' texts around one statement.</summary>
    /// <param name="Sum">The sum of an expression over the threads of a row, the how-manieth of the kernel.</param>
    /// <param name="Address">Where this thread's 8 columns of an output are.</param>
    /// <param name="StoreRow">The statement that stores one fp32 per row.</param>
    /// <param name="Vectors">Vectors that wait in shared memory.</param>
    internal sealed record RowForm(Func<string, int, string> Sum, Func<string, string> Address, Func<string, string> StoreRow, RowInput[] Vectors);

    static RowForm Form(RowBody body, bool reduces, int tile)
    {
        var odd = body.Statements.Count(s => s is RowStatement.Reduce) % 2 == 1;
        // Sums take turns between the two arrays; an odd number of them per row changes the turn with every row.
        string Turn(int sum) => tile == 1 || !odd ? NumberText.Int(sum % 2) : sum % 2 == 0 ? "row & 1" : "~row & 1";
        return new RowForm(
            (part, sum) => "row_block_sum(" + part + ", scratch[" + Turn(sum) + "])",
            name => name + "_rows + " + (tile == 1 ? "" : "(int64)") + "row * " + name + "_pitch + column",
            name => "if (threadIdx.x == 0" + (reduces ? "" : " && blockIdx.y == 0") + ") " + name + "_rows[row] = " + name + ";",
            tile == 1 ? Array.Empty<RowInput>() : Vectors(body));
    }

    internal static string Statements(RowBody body, string guard, RowForm form)
    {
        var perRow = RowNames(body);
        var reduced = 0;
        var waiting = form.Vectors.ToList();
        var text = new StringBuilder();
        foreach (var statement in body.Statements)
        {
            // A vector comes out of shared memory where it is first used.
            foreach (var vector in waiting.Where(v => Reads(statement, v.Name)).ToArray())
            {
                text.Append("\n    float ").Append(vector.Name).Append("[8];\n    unpack8(vectors[").Append(NumberText.Int(Array.IndexOf(Vectors(body), vector)))
                    .Append("][threadIdx.x], ").Append(vector.Name).Append(");\n");
                waiting.Remove(vector);
            }
            string Variable(string name) => perRow.Contains(name) ? name : name + "[j]";
            string Value(Expr e) => ExprSource.Print(e, ExprLanguage.Cuda, Variable);
            switch (statement)
            {
                case RowStatement.Let let:
                    text.Append(Let(let, Variable));
                    break;
                case RowStatement.LetRow let:
                    text.Append("    const float ").Append(let.Name).Append(" = ").Append(Value(let.Value)).Append(";\n");
                    break;
                case RowStatement.Reduce reduce:
                    // Threads past the row's end hold zeros only in what they loaded, so the sum skips them by name.
                    text.Append("\n    // row_sum\n    float ").Append(reduce.Name).Append("_part = 0.0f;\n    ").Append(guard).Append("for (int j = 0; j < 8; j++) ")
                        .Append(reduce.Name).Append("_part += ").Append(Value(reduce.Value)).Append(";\n");
                    text.Append("    const float ").Append(reduce.Name).Append(" = ").Append(form.Sum(reduce.Name + "_part", reduced++)).Append(";\n");
                    break;
                case RowStatement.Store store:
                    text.Append("    ").Append(guard).Append("store8(").Append(form.Address(store.Name)).Append(", ").Append(store.Name).Append(");\n");
                    text.Append(Rounded(body, store));
                    break;
                case RowStatement.StoreRow store:
                    text.Append("    ").Append(form.StoreRow(store.Name)).Append('\n');
                    break;
                default: throw new InvalidOperationException("row kernel: unknown statement " + statement.GetType().Name);
            }
        }
        return text.ToString();
    }

    /// <summary>Values that exist once per row: they are plain variables, the others arrays of 8.</summary>
    static HashSet<string> RowNames(RowBody body)
    {
        var names = new HashSet<string>(body.Inputs.Where(i => i.IsPerRow).Select(i => i.Name));
        foreach (var statement in body.Statements)
            if (statement is RowStatement.LetRow or RowStatement.Reduce) names.Add(statement.Name);
        return names;
    }

    /// <summary>A value of 8 columns.</summary>
    internal static string Let(RowStatement.Let let, Func<string, string> variable) =>
        "\n    // " + let.Comment + "\n    float " + let.Name + "[8];\n    for (int j = 0; j < 8; j++) " + let.Name + "[j] = " + ExprSource.Print(let.Value,
            ExprLanguage.Cuda, variable) + ";\n";

    /// <summary>After a store, for statements that read the value: from here on it is the stored one.</summary>
    internal static string Rounded(RowBody body, RowStatement.Store store) =>
        body.Statements.SkipWhile(s => !ReferenceEquals(s, store)).Skip(1).Any(s => Reads(s, store.Name))
        ? "    for (int j = 0; j < 8; j++) " + store.Name + "[j] = round_elem(" + store.Name + "[j]);\n" : "";

    /// <summary>Whether the statement computes with a name; what it stores it has computed before.</summary>
    static bool Reads(RowStatement statement, string name) => statement switch
    {
        RowStatement.Let l => l.Value.Variables().Contains(name),
        RowStatement.LetRow l => l.Value.Variables().Contains(name),
        RowStatement.Reduce r => r.Value.Variables().Contains(name),
        _ => false,
    };

    internal static string Signature(Kernel kernel, RowBody body, KernelInfo info) =>
        "extern \"C\" __global__ void __launch_bounds__(" + NumberText.Int(info.Block) + ")\n" + kernel.Name + "(" + string.Join(",\n    ", Parameters(body)) + ")\n{\n";

    static IEnumerable<string> Parameters(RowBody body)
    {
        // Statistics of heads are a matrix [T,N], so they have a pitch.
        foreach (var output in body.Outputs)
            yield return output.PerRow ? "float* __restrict__ " + output.Name + "_rows" + (body.Heads > 0 ? ", int " + output.Name + "_pitch" : "")
                : "elem* __restrict__ " + output.Name + "_rows, int " + output.Name + "_pitch";
        foreach (var input in body.Inputs)
            yield return input.Kind switch
            {
                RowInputKind.Matrix => "const elem* __restrict__ " + input.Name + "_rows, int " + input.Name + "_pitch",
                RowInputKind.Vector => "const elem* __restrict__ " + input.Name + "_vector",
                RowInputKind.PerRow => "const float* __restrict__ " + input.Name + "_rows",
                RowInputKind.Scalar => "const float* __restrict__ " + input.Name + "_scalar",
                RowInputKind.PerHead => "const float* __restrict__ " + input.Name + "_rows, int " + input.Name + "_pitch",
                RowInputKind.HeadVector or RowInputKind.HeadScalar => "const elem* __restrict__ " + input.Name + "_vectors, int " + input.Name + "_pitch",
                // A weight matrix has a pitch like any other.
                RowInputKind.Gather => "const int* __restrict__ " + input.Name + "_ids, const elem* __restrict__ " + input.Name + "_table, int " + input.Name + "_pitch",
                _ => throw new InvalidOperationException("row kernel: unknown input " + input.Kind),
            };
        yield return "int rows";
    }

    internal static string Load(RowInput input, string guard) => input.Kind switch
    {
        RowInputKind.PerRow => "    const float " + input.Name + " = " + input.Name + "_rows[row];\n",
        RowInputKind.Scalar => "    const float " + input.Name + " = *" + input.Name + "_scalar;\n",
        RowInputKind.Matrix or RowInputKind.Vector or RowInputKind.Gather => Load8(input.Name, Address(input, "row"), guard),
        _ => throw new InvalidOperationException("row kernel: " + input.Kind + " is an input of rows that are heads"),
    };

    internal static string Load8(string name, string address, string guard) =>
        "    float " + name + "[8]" + (guard.Length > 0 ? " = {}" : "") + ";\n    " + guard + "load8(" + address + ", " + name + ");\n";

    // A product of two ints is one instruction; of two int64 it is four, and more registers.
    static string Factor(string row) => row == "row" ? row : row == "first" ? "(int64)first" : "(int64)(" + row + ")";

    /// <summary>Where this thread's 8 columns of a matrix's row, a vector or a chosen table row are.</summary>
    static string Address(RowInput input, string row) => input.Kind switch
    {
        RowInputKind.Matrix => input.Name + "_rows + " + Factor(row) + " * " + input.Name + "_pitch + column",
        RowInputKind.Vector => input.Name + "_vector + column",
        RowInputKind.Gather => input.Name + "_table + (int64)" + input.Name + "_ids[" + row + "] * " + input.Name + "_pitch + column",
        _ => throw new InvalidOperationException("row kernel: " + input.Kind + " has no row of 8 columns"),
    };
}
