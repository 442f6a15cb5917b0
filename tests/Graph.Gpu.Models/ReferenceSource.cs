using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using Graph.Generator;
using Graph.Generator.Emit;
using Graph.Generator.IR;
using Graph.Tests;

namespace Graph.Gpu.Models;

/// <summary>
/// C# of every variant: the emitted cpu target as it is (Kernels),
/// the same as reference of a 16-bit kernel (Exact: constants of the activation type rounded like the kernel rounds them), and with
/// scores and logits rounded between their ops (Composition). Attention takes the number of kv heads, so that long sequences can be checked on a few of them.
/// </summary>
static class ReferenceSource
{
    public static string Of(IReadOnlyList<(Gemma2Size Size, CompiledText Text)> models)
    {
        var text = new StringBuilder("using System.Numerics;\n\nnamespace Graph.Gpu.Tests;\n\nstatic class References\n{\n    internal static readonly Reference[] All =\n    [\n");
        foreach (var (size, _) in models)
            text.Append("        new(\"" + size.Name + "\", Cpu_" + Name(size) + ".Kernels, Reference_" + Name(size) + ".Exact, Reference_" + Name(size) + ".Composition),\n");
        text.Append("    ];\n}\n");
        foreach (var (size, compiled) in models)
        {
            text.Append("\nstatic class Cpu_" + Name(size) + "\n{\n" + compiled.CpuSource + "}\n");
            text.Append("\nstatic class Reference_" + Name(size) + "\n{\n" + Reference(size, compiled.CpuSource) + "}\n");
        }
        return text.ToString();
    }

    static string Reference(Gemma2Size size, string source)
    {
        var scale = NumberText.Float(Math.Sqrt(size.Hidden));
        if (!source.Contains(scale, StringComparison.Ordinal))
            throw new InvalidOperationException($"{size.Name}: the embedding's scale {scale} is not in the emitted C#; "
                + "ReferenceSource rounds it and must be told how it is spelled now.");
        source = source.Replace(scale, "Elem.Round(" + scale + ")", StringComparison.Ordinal);

        // "Kernels() => new ... { entries };" and then the members.
        var end = source.IndexOf("    };\n", StringComparison.Ordinal) + "    };\n".Length;
        var table = Regex.Replace(source[..end], @"static \(a, rows\) => (Graph\.Runtime\.Cpu\.CpuAttention\.(?:Forward|GradQ|GradKV)<\w+>)\(a, rows, (\d+), (\d+),", m =>
            "(a, rows) => " + m.Groups[1].Value + "(a, rows, "
                + (Number(m.Groups[2].Value) / Number(m.Groups[3].Value)).ToString(CultureInfo.InvariantCulture) + " * kvHeads, kvHeads,");
        var members = source[end..];
        // A composition takes statistics of the embedding as it is stored.
        // Its rounding is no noise: a product with one constant is off by the same for the same mantissa, so a mean of squares is off too.
        var scaled = Regex.Matches(members, @"    static unsafe void (\w+)\(.*?\n    }\n", RegexOptions.Singleline)
            .Where(m => m.Value.Contains(scale, StringComparison.Ordinal)).ToArray();
        var composition = table.Replace("Kernels()", "Composition(int kvHeads)", StringComparison.Ordinal).Replace("_function>", "_composition>", StringComparison.Ordinal);
        foreach (var name in scaled.Select(m => m.Groups[1].Value)) composition = composition.Replace($"new({name},", $"new({name}_composition,", StringComparison.Ordinal);
        var result = new StringBuilder(table.Replace("Kernels()", "Exact(int kvHeads)", StringComparison.Ordinal)).Append('\n').Append(composition).Append(members);
        foreach (var method in scaled)
            result.Append('\n').Append(Regex.Replace(method.Value, @"= (\w+ \* V\(Elem\.Round\([^)]*\)\));", "= Elem.Round($1);")
                .Replace(method.Groups[1].Value + "(", method.Groups[1].Value + "_composition(", StringComparison.Ordinal));
        foreach (var name in Regex.Matches(members, @"struct (\w+)_function").Select(m => m.Groups[1].Value))
            result.Append("\n    readonly struct " + name + "_composition : Graph.Runtime.Cpu.IScore\n    {\n")
                .Append("        public static Vector<float> Value(Vector<float> s, Vector<float> distance, float head) => Elem.RoundScore("
                    + name + "_function.Value(Elem.RoundScore(s), distance, head));\n\n")
                .Append("        public static void ValueAndDerivative(Vector<float> s, Vector<float> distance, float head, "
                    + "out Vector<float> z, out Vector<float> dz)\n        {\n")
                .Append("            " + name + "_function.ValueAndDerivative(Elem.RoundScore(s), distance, head, out z, out dz);\n"
                    + "            (z, dz) = (Elem.RoundScore(z), Elem.RoundScore(dz));\n        }\n    }\n");
        return result.ToString();
    }

    static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    static string Name(Gemma2Size size) => size.Name.Replace("-", "_", StringComparison.Ordinal);
}
