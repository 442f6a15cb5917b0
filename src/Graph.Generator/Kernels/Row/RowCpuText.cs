using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.IR;

namespace Graph.Generator.Kernels;

/// <summary>
/// A row kernel as C# loops over vectors, from the same loop IR: fp32 with double sums. What a row has once is a vector of equal lanes, so that there is one way
/// to print an expression.
/// </summary>
static class RowCpuText
{
    public static string Print(Kernel kernel, RowBody body)
    {
        var text = new StringBuilder("\n    // ").Append(kernel.Fused.Words).Append(" in one loop over the tokens.\n");
        foreach (var line in kernel.Fused.Lines) text.Append("    // ").Append(line).Append('\n');
        text.Append("    static unsafe void ").Append(kernel.Name)
            .Append("(System.ReadOnlySpan<Graph.Runtime.CpuView> a, int rows)\n    {\n        for (var row = 0; row < rows; row++)\n");
        if (body.Heads > 0) text.Append("        for (var head = 0; head < ").Append(N(body.Heads)).Append("; head++)\n");
        text.Append("        {\n");
        var argument = 0;
        // A head's columns of a token's row, and its statistic among the token's.
        var (heads, head) = (body.Heads > 0 ? " + head * " + N(body.Columns) : "", body.Heads > 0 ? ".Row(row) + head" : ".Floats + row");
        if (body.Columns == RowBody.RankColumns) text.Append("            var columns = a[").Append(N(FirstMatrix(body))).Append("].Pitch;\n");
        foreach (var output in body.Outputs)
            text.Append("            var ").Append(output.Name).Append("_row = a[" + N(argument++) + "]").Append(output.PerRow ? head : ".Row(row)" + heads).Append(";\n");
        var loaded = new List<string>();
        foreach (var input in body.Inputs)
        {
            text.Append("            var ").Append(input.Name);
            switch (input.Kind)
            {
                case RowInputKind.Matrix: text.Append("_row = a[").Append(N(argument++)).Append("].Row(row)").Append(heads).Append(";\n"); break;
                case RowInputKind.Vector: text.Append("_row = a[").Append(N(argument++)).Append("].Floats;\n"); break;
                case RowInputKind.PerRow: text.Append(" = V(a[").Append(N(argument++)).Append("].Floats[row]);\n"); break;
                case RowInputKind.Scalar: text.Append(" = V(*a[").Append(N(argument++)).Append("].Floats);\n"); break;
                case RowInputKind.PerHead: text.Append(" = V(a[").Append(N(argument++)).Append("].Row(row)[head]);\n"); break;
                case RowInputKind.HeadVector: text.Append("_row = a[").Append(N(argument++)).Append("].Row(head);\n"); break;
                case RowInputKind.HeadScalar: text.Append(" = V(*a[").Append(N(argument++)).Append("].Row(head));\n"); break;
                case RowInputKind.Gather:
                    text.Append("_row = a[").Append(N(argument + 1)).Append("].Row(a[").Append(N(argument)).Append("].Ints[row]);\n");
                    argument += 2;
                    break;
                default: throw new InvalidOperationException("emit: no C# for an input of kind " + input.Kind);
            }
            if (!input.IsPerRow) loaded.Add(input.Name);
        }
        var lets = body.Statements.OfType<RowStatement.Let>().ToDictionary(l => l.Name);
        // A loop over the columns in which these values are known. fp32 is stored unrounded, so a loop may compute a column value again instead of keeping a row of it.
        void Loop(IEnumerable<string> names, Action inside)
        {
            var needed = new HashSet<string>();
            void Need(string name)
            {
                if (needed.Add(name) && lets.TryGetValue(name, out var let)) foreach (var inner in let.Value.Variables()) Need(inner);
            }
            foreach (var name in names) Need(name);
            text.Append("            for (var c = 0; c < ").Append(Columns(body)).Append("; c += ").Append(Vector).Append(".Count)\n            {\n");
            foreach (var name in loaded.Where(needed.Contains))
                text.Append("                var ").Append(name).Append(" = Graph.Runtime.Cpu.CpuVector.Load(").Append(name).Append("_row + c, ").Append(Left(body))
                    .Append(");\n");
            foreach (var let in body.Statements.OfType<RowStatement.Let>().Where(l => needed.Contains(l.Name)))
                text.Append("                var ").Append(let.Name).Append(" = ").Append(Value(let.Value)).Append(";\n");
            inside();
            text.Append("            }\n");
        }
        foreach (var statement in body.Statements)
        {
            switch (statement)
            {
                case RowStatement.Let or RowStatement.Store: break; // in the loops that need them
                case RowStatement.LetRow let: text.Append("            var ").Append(let.Name).Append(" = ").Append(Value(let.Value)).Append(";\n"); break;
                case RowStatement.Reduce reduce:
                    text.Append("            var ").Append(reduce.Name).Append("_sum = new Graph.Runtime.Cpu.VectorSum();\n");
                    Loop(reduce.Value.Variables(), () =>
                        text.Append("                ").Append(reduce.Name).Append("_sum.Add(").Append(Value(reduce.Value)).Append(", ").Append(Left(body)).Append(");\n"));
                    text.Append("            var ").Append(reduce.Name).Append(" = V((float)").Append(reduce.Name).Append("_sum.Total);\n");
                    break;
                case RowStatement.StoreRow store: text.Append("            *").Append(store.Name).Append("_row = ").Append(store.Name).Append("[0];\n"); break;
                default: throw new InvalidOperationException("emit: no C# for a statement of type " + statement.GetType().Name);
            }
        }
        var stores = body.Statements.OfType<RowStatement.Store>().Select(s => s.Name).ToArray();
        if (stores.Length > 0)
            Loop(stores, () =>
            {
                foreach (var store in stores)
                    text.Append("                Graph.Runtime.Cpu.CpuVector.Store(").Append(store).Append(", ").Append(store).Append("_row + c, ").Append(Left(body))
                        .Append(");\n");
            });
        return text.Append("        }\n    }\n").ToString();
    }

    const string Vector = "System.Numerics.Vector<float>";

    static string Value(Expr e) => ExprSource.Print(e, ExprLanguage.CSharp, name => name);

    // How many columns there are from c on.
    static string Left(RowBody body) => Columns(body) + " - c";

    static string Columns(RowBody body) => body.Columns == RowBody.RankColumns ? "columns" : N(body.Columns);

    /// <summary>The argument whose pitch is the number of columns.</summary>
    static int FirstMatrix(RowBody body) => body.Outputs.Select(o => !o.PerRow)
        .Concat(body.Inputs.SelectMany(i => i.Kind == RowInputKind.Gather ? new[] { false, false } : new[] { i.Kind == RowInputKind.Matrix })).ToList().IndexOf(true);

    static string N(int value) => NumberText.Int(value);
}
