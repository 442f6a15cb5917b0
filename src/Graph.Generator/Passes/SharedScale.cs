using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Launches;
using Graph.Generator.Schedules;
using Graph.Generator.Tracing;

namespace Graph.Generator.Passes;

/// <summary>
/// Whether some LoraScale(name) is anything but the s of s·(x·Aᵀ)·Bᵀ of the adapter with that name. The schedule knows one scale, the run's; only where each adapter's
/// own product has it can the runtime put another number in its place.
/// </summary>
public static class SharedScale
{
    public static bool IsIn(IReadOnlyList<TraceNode> trace)
    {
        string NameOf(int id) => (string)trace[id].Attributes[0].Value!;
        bool IsLinear(int id, string weight, string name) => trace[id].Op == "linear" && trace[trace[id].Inputs[1]].Op == weight && NameOf(trace[id].Inputs[1]) == name;
        bool IsOwn(int scale, int product) => IsLinear(product, "lora_b", NameOf(scale)) && IsLinear(trace[product].Inputs[0], "lora_a", NameOf(scale));
        return trace.Any(node => Enumerable.Range(0, node.Inputs.Count)
            .Any(i => trace[node.Inputs[i]].Op == "lora_scale" && !(node.Op == "mul" && IsOwn(node.Inputs[i], node.Inputs[1 - i]))));
    }

    /// <summary>A kernel reads it: what it multiplies has other readers.</summary>
    public static bool IsIn(KernelGraph graph) => graph.Steps.Concat(graph.Recipes.SelectMany(r => r.Steps)).OfType<KernelStep>()
        .Any(s => s.Arguments.Any(a => a.Tensor == ScheduleText.Lower(StepScalar.LoraScale)));
}
