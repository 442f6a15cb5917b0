using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 11: 42 layers, a handful of bodies. Bodies that are equal up to the names of their values are one kernel, named by its place in the schedule and what its
/// first launch writes: k03_residual_pre_feedforward_layernorm.
/// </summary>
public static class Share
{
    public static SharedKernels Run(KernelGraph graph)
    {
        var kernels = new List<Kernel>();
        var index = new Dictionary<KernelBody, int>();
        var layers = new List<SortedSet<int>>();
        void Visit(KernelBody body, string label, EquatableArray<View> arguments, Lazy<FusedOps> fused, int layer, int launches, bool backward)
        {
            var key = body.Key();
            if (index.TryGetValue(key, out var known))
                kernels[known] = kernels[known] with { Launches = kernels[known].Launches + launches, Forward = kernels[known].Forward && !backward };
            else
            {
                index[key] = kernels.Count;
                var number = kernels.Count.ToString("00", CultureInfo.InvariantCulture);
                kernels.Add(new Kernel("k" + number + "_" + Shorten(label), body, arguments, fused.Value, launches, default, !backward));
                layers.Add(new SortedSet<int>());
            }
            layers[index[key]].Add(layer);
        }
        void VisitStep(Step step, int launches)
        {
            if (step is KernelStep k) Visit(k.Body, k.Label, k.Arguments, k.Fused, k.Layer, launches, k.Backward);
            if (step is LossStep l) Visit(l.Body, "cross_entropy", new[] { l.X, l.Table, l.Loss }, l.Fused, l.Layer, launches, l.Backward);
        }
        foreach (var step in graph.Steps) VisitStep(step, 1);
        foreach (var recipe in graph.Recipes)
            foreach (var step in recipe.Steps) VisitStep(step, 0);
        return new SharedKernels(kernels.Select((k, i) => k with { Layers = layers[i].ToArray() }).ToArray(), index);
    }

    // Long chains of fused outputs keep the first and last name.
    static string Shorten(string label) => label.Length <= 64 ? label : label.Substring(0, 40).TrimEnd('_') + "_etc";
}
