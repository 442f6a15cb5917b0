using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.Kernels;

namespace Graph.Generator.Emit;

/// <summary>14: the cpu target, the members of a static class: what each family prints of its kernels, and the table by name.</summary>
public static class EmitCpu
{
    public static string Run(IReadOnlyList<Kernel> kernels)
    {
        var text = new StringBuilder();
        text.Append("    public static System.Collections.Generic.IReadOnlyDictionary<string, Graph.Runtime.CpuKernelEntry> Kernels() =>\n")
            .Append("        new System.Collections.Generic.Dictionary<string, Graph.Runtime.CpuKernelEntry>\n    {\n");
        var emitted = kernels.Select(k => (k.Name, Cpu: k.Body.Cpu(k))).ToArray();
        foreach (var (name, cpu) in emitted)
            text.Append("        [\"").Append(name).Append("\"] = new(").Append(cpu.Entry).Append(", ").Append(cpu.SplitRows ? "true" : "false").Append("),\n");
        text.Append("    };\n\n    static System.Numerics.Vector<float> V(float x) => new(x);\n");
        foreach (var (_, cpu) in emitted) text.Append(cpu.Members);
        return text.ToString();
    }
}
