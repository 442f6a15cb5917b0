using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Inserts what makes a packed weight (<see cref="WeightStorage"/>) in the arena, right before the launch that reads it, and never between two launches
/// that may be one. What is there serves the launches that follow, as long as none of them reads another such weight or is of another layer or phase: so the
/// arena has one such weight at a time.
/// </summary>
public static class Materialization
{
    /// <param name="backwardStart">Index of the first launch of the backward, in and out.</param>
    public static (IReadOnlyList<Launch> Launches, int BackwardStart) Run(Shapes shapes, IReadOnlyList<Launch> launches, int backwardStart)
    {
        if (!shapes.Materializes) return (launches, backwardStart);
        var (result, start) = (new List<Launch>(), -1);
        var (held, heldIn) = (new HashSet<string>(), (Layer: -1, Backward: false));
        for (var i = 0; i < launches.Count; i++)
        {
            if (i == backwardStart) start = result.Count;
            var unit = shapes.FusionAt(launches, i + 1) is null ? new[] { launches[i] } : [launches[i], launches[i + 1]];
            var read = unit.SelectMany(l => shapes.Of(l).Reads).Select(r => r.Tensor).Where(t => shapes.Packed(t) is not null).ToHashSet();
            if (read.Count > 0)
            {
                var here = (unit[0].Layer, i >= backwardStart);
                foreach (var weight in read.Where(w => here != heldIn || !held.Contains(w))
                    .Order()) result.Add(new DequantizeLaunch(here.Layer, new View(weight), new View(Nf4Layout.NameOf(weight))));
                (held, heldIn) = (read, here);
            }
            result.AddRange(unit);
            i += unit.Length - 1;
        }
        return (result, start < 0 ? result.Count : start);
    }
}
