using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Passes;

namespace Graph.Generator.CSharp;

/// <summary>
/// 12: the cpu target. Row kernels print as C# loops from the same loop IR, fp32 with double sums; attention and cross entropy are runtime routines that take the traced functions as generic arguments.
/// </summary>
public static class EmitCpu
{
    /// <summary>The members of a static class: one method or struct per kernel, and the table by name.</summary>
    public static string Run(IReadOnlyList<Kernel> kernels)
    {
        var text = new StringBuilder();
        text.Append("    public static System.Collections.Generic.IReadOnlyDictionary<string, Graph.Runtime.CpuKernelEntry> Kernels() => new System.Collections.Generic.Dictionary<string, Graph.Runtime.CpuKernelEntry>\n    {\n");
        foreach (var kernel in kernels) text.Append("        [\"").Append(kernel.Name).Append("\"] = new(").Append(Call(kernel)).Append(", ").Append(kernel.Body is AttentionBody { Part: not AttentionPart.Delta } ? "false" : "true").Append("),\n");
        text.Append("    };\n");
        foreach (var kernel in kernels)
            text.Append(kernel.Body switch
            {
                RowBody row => Row(kernel, row),
                AttentionBody { Score: { } score } => Function(kernel.Name, score.Value),
                CrossEntropyBody loss => Function(kernel.Name, loss.Logit),
                _ => "",
            });
        return text.ToString();
    }

    static string Call(Kernel kernel) => kernel.Body switch
    {
        RowBody => kernel.Name,
        RopeBody r => "static (a, rows) => Graph.Runtime.Cpu.CpuRope.Run(a, rows, " + N(r.Heads) + ", " + N(r.HeadDim) + ", " + r.Theta.ToString("R", System.Globalization.CultureInfo.InvariantCulture) + ", " + (r.Inverse ? "true" : "false") + ")",
        AttentionBody { Part: AttentionPart.Delta } d => "static (a, rows) => Graph.Runtime.Cpu.CpuAttention.Delta(a, rows, " + N(d.Heads) + ", " + N(d.HeadDim) + ")",
        AttentionBody a => "static (a, rows) => Graph.Runtime.Cpu.CpuAttention." + (a.Part switch { AttentionPart.Forward => "Forward", AttentionPart.Dq => "GradQ", _ => "GradKV" })
            + "<" + kernel.Name + "_function>(a, rows, " + N(a.Heads) + ", " + N(a.KvHeads) + ", " + N(a.HeadDim) + ", " + N(a.Score!.Window) + ")",
        CrossEntropyBody c => "static (a, rows) => Graph.Runtime.Cpu.CpuCrossEntropy.Run<" + kernel.Name + "_function>(a, rows, " + N(c.Vocab) + ", true)",
        _ => throw new InvalidOperationException("emit: no C# for " + kernel.Name),
    };

    static string Function(string name, Expr value) =>
        "\n    // " + ExprText.Print(value) + "\n    readonly struct " + name + "_function : Graph.Runtime.Cpu.IScore\n    {\n"
        + "        public static float Value(float s)\n        {\n" + ExprSource.Body(new[] { ("return ", value) }, ExprLanguage.CSharp, "var", "            ") + "        }\n\n"
        + "        public static void ValueAndDerivative(float s, out float z, out float dz)\n        {\n"
        + ExprSource.Body(new[] { ("z = ", value), ("dz = ", value.Derivative("s")) }, ExprLanguage.CSharp, "var", "            ") + "        }\n    }\n";

    static string Row(Kernel kernel, RowBody body)
    {
        var text = new StringBuilder("\n");
        foreach (var line in kernel.Source) text.Append("    // ").Append(line).Append('\n');
        text.Append("    static unsafe void ").Append(kernel.Name).Append("(System.ReadOnlySpan<Graph.Runtime.CpuView> a, int rows)\n    {\n        for (var row = 0; row < rows; row++)\n");
        if (body.Heads > 0) text.Append("        for (var head = 0; head < ").Append(N(body.Heads)).Append("; head++)\n");
        text.Append("        {\n");
        var argument = 0;
        // A head's columns of a token's row, and its statistic among the token's.
        var (heads, head) = (body.Heads > 0 ? " + head * " + N(body.Columns) : "", body.Heads > 0 ? ".Row(row) + head" : ".Floats + row");
        if (body.Columns == RowBody.RankColumns) text.Append("            var columns = a[").Append(N(FirstMatrix(body))).Append("].Pitch;\n");
        var columns = body.Columns == RowBody.RankColumns ? "columns" : N(body.Columns);
        foreach (var output in body.Outputs)
            text.Append("            var ").Append(output.Name).Append("_row = a[" + N(argument++) + "]").Append(output.PerRow ? head : ".Row(row)" + heads).Append(";\n");
        var loaded = new HashSet<string>();
        foreach (var input in body.Inputs)
        {
            text.Append("            var ").Append(input.Name);
            switch (input.Kind)
            {
                case RowInputKind.Matrix: text.Append("_row = a[").Append(N(argument++)).Append("].Row(row)").Append(heads).Append(";\n"); break;
                case RowInputKind.Vector: text.Append("_row = a[").Append(N(argument++)).Append("].Floats;\n"); break;
                case RowInputKind.PerRow: text.Append(" = a[").Append(N(argument++)).Append("].Floats[row];\n"); break;
                case RowInputKind.Scalar: text.Append(" = *a[").Append(N(argument++)).Append("].Floats;\n"); break;
                case RowInputKind.PerHead: text.Append(" = a[").Append(N(argument++)).Append("].Row(row)[head];\n"); break;
                case RowInputKind.HeadVector: text.Append("_row = a[").Append(N(argument++)).Append("].Row(head);\n"); break;
                case RowInputKind.HeadScalar: text.Append(" = *a[").Append(N(argument++)).Append("].Row(head);\n"); break;
                case RowInputKind.Gather:
                    text.Append("_row = a[").Append(N(argument + 1)).Append("].Row(a[").Append(N(argument)).Append("].Ints[row]);\n");
                    argument += 2;
                    break;
                default: throw new InvalidOperationException("emit: no C# for an input " + input.Kind);
            }
            if (!input.IsPerRow) loaded.Add(input.Name);
        }
        var lets = body.Statements.OfType<RowStatement.Let>().ToDictionary(l => l.Name);
        string Variable(string name) => loaded.Contains(name) ? name + "_row[c]" : name;
        string Value(Expr e) => ExprSource.Print(e, ExprLanguage.CSharp, Variable);
        // fp32 is stored unrounded, so a loop may compute a column value again instead of keeping a row of it.
        void Lets(StringBuilder to, IEnumerable<string> names)
        {
            var needed = new HashSet<string>();
            void Need(string name)
            {
                if (lets.TryGetValue(name, out var let) && needed.Add(name)) foreach (var inner in let.Value.Variables()) Need(inner);
            }
            foreach (var name in names) Need(name);
            foreach (var let in body.Statements.OfType<RowStatement.Let>().Where(l => needed.Contains(l.Name)))
                to.Append("                var ").Append(let.Name).Append(" = ").Append(Value(let.Value)).Append(";\n");
        }
        foreach (var statement in body.Statements)
        {
            switch (statement)
            {
                case RowStatement.LetRow let: text.Append("            var ").Append(let.Name).Append(" = ").Append(Value(let.Value)).Append(";\n"); break;
                case RowStatement.Reduce reduce:
                    text.Append("            double ").Append(reduce.Name).Append("_sum = 0;\n            for (var c = 0; c < ").Append(columns).Append("; c++)\n            {\n");
                    Lets(text, reduce.Value.Variables());
                    text.Append("                ").Append(reduce.Name).Append("_sum += ").Append(Value(reduce.Value)).Append(";\n            }\n");
                    text.Append("            var ").Append(reduce.Name).Append(" = (float)").Append(reduce.Name).Append("_sum;\n");
                    break;
                case RowStatement.StoreRow store: text.Append("            *").Append(store.Name).Append("_row = ").Append(store.Name).Append(";\n"); break;
            }
        }
        var stores = body.Statements.OfType<RowStatement.Store>().Select(s => s.Name).ToArray();
        if (stores.Length > 0)
        {
            text.Append("            for (var c = 0; c < ").Append(columns).Append("; c++)\n            {\n");
            Lets(text, stores);
            foreach (var store in stores) text.Append("                ").Append(store).Append("_row[c] = ").Append(store).Append(";\n");
            text.Append("            }\n");
        }
        return text.Append("        }\n    }\n").ToString();
    }

    /// <summary>The argument whose pitch is the number of columns.</summary>
    static int FirstMatrix(RowBody body) => body.Outputs.Select(o => !o.PerRow).Concat(body.Inputs.SelectMany(i => i.Kind == RowInputKind.Gather ? new[] { false, false } : new[] { i.Kind == RowInputKind.Matrix })).ToList().IndexOf(true);

    static string N(int value) => NumberText.Int(value);
}
