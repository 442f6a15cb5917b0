using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>What the texts of all families have in common. A template is a .cu file beside the family's C#, embedded because analyzers may not read files.</summary>
public static class CudaText
{
    /// <summary>All templates, in ordinal order.</summary>
    public static IReadOnlyList<string> TemplateNames { get; } =
        typeof(CudaText).Assembly.GetManifestResourceNames().Where(n => n.EndsWith(".cu", StringComparison.Ordinal)).OrderBy(n => n, StringComparer.Ordinal).ToArray();

    public static string Template(string name)
    {
        using var stream = typeof(CudaText).Assembly.GetManifestResourceStream(name) ?? throw new InvalidOperationException("emit: there is no template " + name);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd().Replace("\r\n", "\n");
    }

    /// <summary>What was fused, from where, on which tensors: the first launch stands for all that share the kernel.</summary>
    public static string Header(Target target, Kernel kernel)
    {
        var text = new StringBuilder("// ").Append(kernel.Name).Append(" <").Append(target.Name).Append(">  ")
            .Append(kernel.Launches == 0 ? "recompute only" : "launches: " + Number(kernel.Launches)).Append('\n');
        return text.Append(Source(kernel)).ToString();
    }

    /// <summary>The fused nodes and the tensors of the first launch.</summary>
    public static string Source(Kernel kernel)
    {
        var text = new StringBuilder();
        foreach (var line in kernel.Source) text.Append("//   ").Append(line).Append('\n');
        return text.Append("// tensors of the first launch:").Append(string.Concat(kernel.FirstArguments.Select(a => " " + ScheduleText.Print(a)))).Append('\n').ToString();
    }

    /// <summary>The activation type of the target's texts.</summary>
    public static string Elem(Target target) => Literals(("ELEM_BF16", target.HasBf16 ? 1 : 0));

    /// <summary>One #define line each.</summary>
    public static string Literals(params (string Name, int Value)[] literals) => string.Concat(literals.Select(l => Literal(l.Name, Number(l.Value))));

    public static string Literal(string name, string value) => "#define " + name + " " + value + "\n";

    /// <summary>The first lines of every kernel.</summary>
    public static string Named(string name, params (string Name, int Value)[] literals) => Literal("KERNEL_NAME", name) + Literals(literals);

    public static string Number(int value) => NumberText.Int(value);
}
