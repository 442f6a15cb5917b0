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

    /// <summary>The columns of a comment's lines.</summary>
    const int Width = 150;

    /// <summary>A sentence as comment lines: what the kernel does and why it pays. The first lines of every text.</summary>
    public static string Sentence(string sentence)
    {
        var text = new StringBuilder("//");
        var column = 2;
        foreach (var word in sentence.Split(' '))
        {
            if (column + word.Length >= Width)
            {
                text.Append("\n//");
                column = 2;
            }
            text.Append(' ').Append(word);
            column += word.Length + 1;
        }
        return text.Append('\n').ToString();
    }

    /// <summary>
    /// The sentence, then the kernel's name, who launches it, what was fused and on which tensors: the first launch stands for all that share the kernel. Numbers
    /// of nodes are those of the graph as the model wrote it (01-import).
    /// </summary>
    /// <param name="name">Of a kernel that does this one's work another way; null: the kernel itself.</param>
    public static string Header(string sentence, Target target, Kernel kernel, string? name = null)
    {
        var text = new StringBuilder(Sentence(sentence)).Append("// ").Append(name ?? kernel.Name).Append(" <").Append(target.Name).Append(">: ")
            .Append(name is null ? "" : kernel.Name + "'s ")
            .Append(kernel.Launches == 0 ? "recompute only" : Number(kernel.Launches) + (kernel.Launches == 1 ? " launch" : " launches"));
        var layers = kernel.Layers.Where(l => l >= 0).ToArray();
        if (layers.Length > 0) text.Append(layers.Length == 1 ? ", layer " : ", layers ").Append(Ranges(layers))
            .Append(layers.Length < kernel.Layers.Count ? " and outside of them" : "");
        text.Append("; the first one:\n");
        foreach (var line in kernel.Fused.Lines) text.Append("//   ").Append(line).Append('\n');
        return text.Append("//   tensors").Append(string.Concat(kernel.FirstArguments.Select(a => " " + ScheduleText.Print(a)))).Append('\n').ToString();
    }

    // 0, 2-5, 7
    static string Ranges(int[] numbers) => string.Join(", ", numbers.Select((n, i) => (n, i)).GroupBy(p => p.n - p.i)
        .Select(g => (First: g.First().n, Last: g.Last().n)).Select(r => Number(r.First) + (r.Last > r.First ? "-" + Number(r.Last) : "")));

    /// <summary>The activation type of the target's texts.</summary>
    public static string Elem(Target target) => Literals(("ELEM_BF16", target.HasBf16 ? 1 : 0));

    /// <summary>One #define line each.</summary>
    public static string Literals(params (string Name, int Value)[] literals) => string.Concat(literals.Select(l => Literal(l.Name, Number(l.Value))));

    public static string Literal(string name, string value) => "#define " + name + " " + value + "\n";

    /// <summary>The first lines of every kernel.</summary>
    public static string Named(string name, params (string Name, int Value)[] literals) => Literal("KERNEL_NAME", name) + Literals(literals);

    public static string Number(int value) => NumberText.Int(value);
}
