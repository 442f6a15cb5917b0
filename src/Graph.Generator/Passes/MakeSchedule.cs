using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 13: the kernel graph as data the runtime binds: tensors, launches in order, a recipe for every activation that may be dropped, and which launches may be one.
/// </summary>
public static class MakeSchedule
{
    public static Schedule Run(string variant, KernelGraph graph, SharedKernels kernels, IReadOnlyList<FusedSteps> epilogues)
    {
        var sums = epilogues.Where(e => e.Second is null).ToDictionary(e => (object)e.First, e => new LossFromSums(e.Kernel, e.FromSums), ReferenceComparer.Instance);
        var ids = new Dictionary<object, int>(ReferenceComparer.Instance);
        var launches = new List<Launch>();
        Launch Of(Step step)
        {
            if (!ids.TryGetValue(step, out var id))
            {
                ids[step] = id = launches.Count;
                launches.Add(Make(id, step));
            }
            return launches[id];
        }
        var forward = graph.Steps.Where(s => !s.Backward).OrderBy(s => s is LossStep).Select(Of).ToArray();
        var backward = graph.Steps.Where(s => s.Backward).Select(Of).ToArray();
        var ordered = launches.Count;
        var recipes = graph.Recipes.Select(r => new Recipe(r.Tensor, r.Steps.Select(Of).ToArray())).ToArray();
        var fusions = epilogues.Where(e => e.Second is not null).Select(e => (Fusion)new EpilogueFusion(ids[e.First], ids[e.Second!], e.Kernel, e.Places))
            .Concat(FindFusions.RankGradients(graph).Select(p => new RankGradientsFusion(ids[p.First], ids[p.Second])))
            .Concat(FindFusions.ScoreGradients(graph)
            .Select(p => new ScoreGradientsFusion(ids[p.First], ids[p.Second], AttentionBody.FromDs(kernels.Of(((KernelStep)p.Second).Body)))));
        return new(variant, graph.Tensors.Max(t => t.Layer) + 1, graph.Adapters, graph.Tensors, forward, backward, launches.Skip(ordered).ToArray(),
            recipes, fusions.OrderBy(f => f.First).ToArray());

        Launch Make(int id, Step step) => step switch
        {
            GemmStep g => new GemmLaunch(id, g.Layer, g.Layout, g.D, g.Segments, g.Scale, g.Accumulate),
            KernelStep k => new KernelLaunch(id, k.Layer, k.Body.Kind, kernels.Name(k.Body), k.Arguments, k.Outputs, k.InPlace, k.Body.Attention),
            LossStep l => new CrossEntropyLaunch(id, l.Layer, kernels.Name(l.Body), l.DX ?? l.X, l.Loss, l.X, l.Table,
                new View("labels"), StepScalar.InvLabels, sums.TryGetValue(l, out var s) ? s : null) { DTable = l.DTable },
            _ => throw new InvalidOperationException("schedule: unknown step " + step.GetType().Name),
        };
    }
}
