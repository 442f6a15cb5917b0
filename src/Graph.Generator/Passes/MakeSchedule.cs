using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>10: the kernel graph as data the runtime binds: tensors, launches in order, and a recipe for every activation that may be dropped.</summary>
public static class MakeSchedule
{
    public static Schedule Run(string variant, KernelGraph graph, IReadOnlyList<ProductEpilogue> epilogues, Func<Step, Launch> name)
    {
        // A kernel has one form, whatever the layout of the product.
        var places = epilogues.GroupBy(e => e.Kernel.Name).ToDictionary(e => e.Key, e => e.First().Places.ToArray());
        Launch Launch(Step step) => name(step) switch { KernelLaunch k => k with { Epilogue = places.TryGetValue(k.Kernel, out var p) ? p : null }, var other => other };
        return new(
            variant,
            graph.Tensors.Max(t => t.Layer) + 1,
            graph.Families.Select(f => new LinearGroup(f.Id, f.In, f.Linears.Select((l, i) => new GroupLinear(l, f.Outs[i])).ToArray())).ToArray(),
            graph.Tensors,
            graph.Steps.Where(s => !s.Backward).OrderBy(s => s is LossStep).Select(Launch).ToArray(),
            graph.Steps.Where(s => s.Backward).Select(Launch).ToArray(),
            graph.Recipes.Select(r => new Recipe(r.Tensor, r.Steps.Select(Launch).ToArray())).ToArray());
    }
}
