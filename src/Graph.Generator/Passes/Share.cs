using System;
using System.Collections.Generic;
using System.Globalization;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>One kernel: its name, what it computes, the tensors of its first launch and the nodes fused there (for its header), and how often it is launched.</summary>
public sealed record Kernel(string Name, KernelBody Body, EquatableArray<View> FirstArguments, EquatableArray<string> Source, int Launches, int Layer);

/// <summary>09: 42 layers, a handful of bodies. Equal bodies become one kernel, named by its place in the schedule and what it writes: k03_sum_pre_feedforward_layernorm.</summary>
public static class Share
{
    public static (IReadOnlyList<Kernel> Kernels, Func<Step, Launch> Name) Run(KernelGraph graph)
    {
        var kernels = new List<Kernel>();
        var index = new Dictionary<KernelBody, int>();
        void Visit(KernelBody body, string label, EquatableArray<View> arguments, EquatableArray<string> source, int layer, int launches)
        {
            if (index.TryGetValue(body, out var known)) kernels[known] = kernels[known] with { Launches = kernels[known].Launches + launches };
            else
            {
                index[body] = kernels.Count;
                var number = kernels.Count.ToString("00", CultureInfo.InvariantCulture);
                kernels.Add(new Kernel("k" + number + "_" + Shorten(label), body, arguments, source, launches, layer));
            }
        }
        void VisitStep(Step step, int launches)
        {
            if (step is KernelStep k) Visit(k.Body, k.Label, k.Arguments, k.Source, k.Layer, launches);
            if (step is LossStep l) Visit(l.Body, "cross_entropy", new[] { l.X, l.Table, l.Loss }, l.Source, l.Layer, launches);
        }
        foreach (var step in graph.Steps) VisitStep(step, 1);
        foreach (var recipe in graph.Recipes)
            foreach (var step in recipe.Steps) VisitStep(step, 0);
        return (kernels, step => step switch
        {
            GemmStep g => g.Launch,
            KernelStep k => new KernelLaunch(k.Layer, kernels[index[k.Body]].Name, k.Arguments, k.Outputs, k.InPlace, k.Body is AttentionBody { Part: not AttentionPart.Delta, Score.Window: > 0 and var window } ? window : null),
            LossStep l => new CrossEntropyLaunch(l.Layer, kernels[index[l.Body]].Name, l.DX ?? l.X, l.Loss, l.X, l.Table, new View("labels"), "inv_labels"),
            _ => throw new InvalidOperationException("share: unknown step"),
        });
    }

    // Long chains of fused outputs keep the first and last name.
    static string Shorten(string label) => label.Length <= 64 ? label : label.Substring(0, 40).TrimEnd('_') + "_etc";
}
