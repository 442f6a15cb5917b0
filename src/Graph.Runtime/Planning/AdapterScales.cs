using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Adapters whose scales differ. The schedule has one lora_scale, on the products that make S = s·x·Aᵀ and G = s·dY·B of a stack;
/// where the stack's adapters have several, such a product is one for each range of ranks
/// with one scale.
/// </summary>
public static class AdapterScales
{
    /// <summary>The adapters of a stack that take part have one scale.</summary>
    public static bool IsOne(RankTable ranks, int stack) => ranks.Adapters.Where(a => a.Stack == stack).Select(a => a.Scale).Distinct().Count() < 2;

    /// <summary>Ranges of D's columns that have one scale, and that scale; one range of all columns where there is one.</summary>
    /// <param name="run">The run's lora_scale.</param>
    /// <exception cref="ArgumentException">Scales differ in a stack, and the product is not by its ranks.</exception>
    public static IReadOnlyList<(int Start, int End, double Scale)> Of(Shapes shapes, GemmLaunch g, double run)
    {
        var (d, layout) = (shapes.Resolve(g.D), shapes[g.D.Tensor]);
        var stack = g.Scale.LoraScales == 0 ? -1 : g.Segments.Select(s => shapes[s.B.Tensor].Tensor.Stack).Append(-1).First();
        var adapters = shapes.Ranks.Adapters.Where(a => a.Stack == stack).ToArray();
        if (adapters.Length == 0 || IsOne(shapes.Ranks, stack)) return [(d.Column, d.ColumnEnd, adapters.FirstOrDefault()?.Scale ?? run)];
        if (g.Segments.Count > 1 || !layout.Tensor.Dims.Any(e => e.Stack == stack) || g.Layout == GemmLayout.Tn)
            throw new ArgumentException($"bind: the adapters {string.Join(", ", adapters.Select(a => a.Linear))} have different scales, "
                + $"but {shapes.Schedule.Variant} multiplies what they share by one; give them the same alpha and rank.");
        var ranges = new List<(int Start, int End, double Scale)>();
        foreach (var adapter in adapters.OrderBy(a => a.RankStart))
        {
            var scale = adapter.Scale ?? run;
            if (ranges.Count > 0 && ranges[^1].Scale == scale) ranges[^1] = ranges[^1] with { End = adapter.RankStart + adapter.Padded };
            else ranges.Add((adapter.RankStart, adapter.RankStart + adapter.Padded, scale));
        }
        return ranges;
    }
}
