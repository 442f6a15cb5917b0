using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;

namespace Graph.Generator.Cuda;

/// <summary>
/// A row kernel as CUDA C. With a reduction: one block per row, every thread keeps 8 neighbouring columns of every tensor in registers, so each element is read and written once.
/// Without: blocks tile the columns too.
/// </summary>
public static class RowKernelText
{
    const int FlatBlock = 256;

    /// <summary>More columns than this (8 per thread, 1,024 threads) do not fit one block.</summary>
    const int MaxReducedColumns = 8192;

    static bool HasReduction(RowBody body) => body.Statements.Any(s => s is RowStatement.Reduce);

    public static KernelInfo Info(Kernel kernel, RowBody body)
    {
        if (!HasReduction(body)) return new KernelInfo(kernel.Name, "row", FlatBlock, 0, 1, 0, (body.Columns + 8 * FlatBlock - 1) / (8 * FlatBlock));
        if (body.Columns > MaxReducedColumns)
            throw new InvalidOperationException("row kernel " + kernel.Name + ": a reduction over " + body.Columns + " columns does not fit one block of 1024 threads with 8 columns each");
        return new KernelInfo(kernel.Name, "row", (body.Columns / 8 + 31) / 32 * 32, 0, 1, 0, 1);
    }

    public static string Print(Kernel kernel, RowBody body)
    {
        if (body.Columns % 8 != 0) throw new InvalidOperationException("row kernel " + kernel.Name + ": rows of " + body.Columns + " columns cannot be read 8 at a time");
        var reduces = HasReduction(body);
        var perRow = RowNames(body);
        var text = new StringBuilder();
        var info = Info(kernel, body);
        text.Append("extern \"C\" __global__ void __launch_bounds__(").Append(NumberText.Int(info.Block)).Append(")\n").Append(kernel.Name).Append('(').Append(string.Join(",\n    ", Parameters(body))).Append(")\n{\n");
        if (reduces) text.Append("    __shared__ float scratch[WARP_SIZE];\n");
        text.Append("    const int64 row = blockIdx.x;\n");
        text.Append(reduces ? "    const int column = threadIdx.x * 8;\n" : "    const int column = (blockIdx.y * " + NumberText.Int(FlatBlock) + " + threadIdx.x) * 8;\n");
        var full = reduces ? body.Columns == info.Block * 8 : body.Columns % (FlatBlock * 8) == 0;
        if (!full) text.Append("    const bool inside = column < ").Append(NumberText.Int(body.Columns)).Append(";\n");
        if (!full && !reduces) text.Append("    if (!inside) return;\n");
        var guard = full || !reduces ? "" : "if (inside) ";
        text.Append('\n');
        foreach (var input in body.Inputs) text.Append(Load(input, guard, full));

        foreach (var statement in body.Statements)
        {
            string Variable(string name) => perRow.Contains(name) ? name : name + "[j]";
            string Value(Expr e) => ExprSource.Print(e, ExprLanguage.Cuda, Variable);
            switch (statement)
            {
                case RowStatement.Let let:
                    text.Append("\n    // ").Append(let.Comment).Append("\n    float ").Append(let.Name).Append("[8];\n    for (int j = 0; j < 8; j++) ").Append(let.Name).Append("[j] = ").Append(Value(let.Value)).Append(";\n");
                    break;
                case RowStatement.LetRow let:
                    text.Append("    const float ").Append(let.Name).Append(" = ").Append(Value(let.Value)).Append(";\n");
                    break;
                case RowStatement.Reduce reduce:
                    // Threads past the row's end hold zeros only in what they loaded, so the sum skips them by name.
                    text.Append("\n    // row_sum\n    float ").Append(reduce.Name).Append("_part = 0.0f;\n    ").Append(guard).Append("for (int j = 0; j < 8; j++) ").Append(reduce.Name).Append("_part += ").Append(Value(reduce.Value)).Append(";\n");
                    text.Append("    const float ").Append(reduce.Name).Append(" = block_sum(").Append(reduce.Name).Append("_part, scratch);\n");
                    break;
                case RowStatement.Store store:
                    text.Append("    ").Append(guard).Append("store8(").Append(store.Name).Append("_rows + row * ").Append(store.Name).Append("_pitch + column, ").Append(store.Name).Append(");\n");
                    if (IsReadAfter(body, statement))
                        text.Append("    for (int j = 0; j < 8; j++) ").Append(store.Name).Append("[j] = round_elem(").Append(store.Name).Append("[j]);\n");
                    break;
                case RowStatement.StoreRow store:
                    text.Append("    if (threadIdx.x == 0").Append(reduces ? "" : " && blockIdx.y == 0").Append(") ").Append(store.Name).Append("_rows[row] = ").Append(store.Name).Append(";\n");
                    break;
            }
        }
        return text.Append("}\n").ToString();
    }

    /// <summary>Values that exist once per row: they are plain variables, the others arrays of 8.</summary>
    static HashSet<string> RowNames(RowBody body)
    {
        var names = new HashSet<string>(body.Inputs.Where(i => i.Kind is RowInputKind.PerRow or RowInputKind.Scalar).Select(i => i.Name));
        foreach (var statement in body.Statements)
            if (statement is RowStatement.LetRow or RowStatement.Reduce) names.Add(statement.Name);
        return names;
    }

    static bool IsReadAfter(RowBody body, RowStatement store)
    {
        var after = body.Statements.SkipWhile(s => !ReferenceEquals(s, store)).Skip(1);
        return after.Any(s => s switch
        {
            RowStatement.Let l => l.Value.Variables().Contains(store.Name),
            RowStatement.LetRow l => l.Value.Variables().Contains(store.Name),
            RowStatement.Reduce r => r.Value.Variables().Contains(store.Name),
            _ => false,
        });
    }

    static IEnumerable<string> Parameters(RowBody body)
    {
        foreach (var output in body.Outputs)
            yield return output.PerRow ? "float* __restrict__ " + output.Name + "_rows" : "elem* __restrict__ " + output.Name + "_rows, int " + output.Name + "_pitch";
        foreach (var input in body.Inputs)
            yield return input.Kind switch
            {
                RowInputKind.Matrix => "const elem* __restrict__ " + input.Name + "_rows, int " + input.Name + "_pitch",
                RowInputKind.Vector => "const elem* __restrict__ " + input.Name + "_vector",
                RowInputKind.PerRow => "const float* __restrict__ " + input.Name + "_rows",
                RowInputKind.Scalar => "const float* __restrict__ " + input.Name + "_scalar",
                // A weight matrix has a pitch like any other.
                _ => "const int* __restrict__ " + input.Name + "_ids, const elem* __restrict__ " + input.Name + "_table, int " + input.Name + "_pitch",
            };
        yield return "int rows";
    }

    static string Load(RowInput input, string guard, bool full)
    {
        var name = input.Name;
        var zero = guard.Length > 0 ? " = {}" : "";
        return input.Kind switch
        {
            RowInputKind.Matrix => "    float " + name + "[8]" + zero + ";\n    " + guard + "load8(" + name + "_rows + row * " + name + "_pitch + column, " + name + ");\n",
            RowInputKind.Vector => "    float " + name + "[8]" + zero + ";\n    " + guard + "load8(" + name + "_vector + column, " + name + ");\n",
            RowInputKind.PerRow => "    const float " + name + " = " + name + "_rows[row];\n",
            RowInputKind.Scalar => "    const float " + name + " = *" + name + "_scalar;\n",
            _ => "    float " + name + "[8]" + zero + ";\n    " + guard + "load8(" + name + "_table + (int64)" + name + "_ids[row] * " + name + "_pitch + column, " + name + ");\n",
        };
    }
}
