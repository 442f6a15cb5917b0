using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>G = s·dY·B and dB += dYᵀ·S of a group, found in a launch list and bound as one launch, because one read of dY can serve both.</summary>
public static class RankGradients
{
    /// <summary>
    /// For every dB whose dY also makes a G: the index of G. G moves down to dB. Between the two are only launches that leave dY's tensor alone: recipes that build S again.
    /// </summary>
    public static IReadOnlyDictionary<int, int> Pairs(Shapes shapes, IReadOnlyList<Launch> launches)
    {
        var pairs = new Dictionary<int, int>();
        for (var at = 0; at < launches.Count; at++)
        {
            if (launches[at] is not GemmLaunch { Layout: GemmLayout.Nn, Scale: "lora_scale", Accumulate: false } g) continue;
            var next = at + 1;
            while (next < launches.Count && !Touches(shapes, launches[next], g.D.Tensor)) next++;
            if (next < launches.Count && launches[next] is GemmLaunch { Layout: GemmLayout.Tn, Scale: null } d && d.A == g.A && shapes[d.D.Tensor].Tensor.Kind == TensorKind.GradB) pairs[next] = at;
        }
        return pairs;
    }

    /// <param name="launch">dB's.</param>
    public static BoundRankGradients Bind(Shapes shapes, BoundGemm g, BoundGemm gradB, GemmLaunch launch)
    {
        var group = shapes[launch.D.Tensor].Tensor.Group;
        var blocks = shapes.Ranks.Adapters.Where(a => a.Group == group).Select(a => new RankBlock(a.OutStart, a.Out, a.RankStart, a.Padded)).ToArray();
        var bytes = g.Bytes + gradB.Bytes - LaunchCost.BytesOf(shapes, shapes.Resolve(launch.A));
        return new BoundRankGradients(gradB.Label, gradB.Layer, g.Flops + gradB.Flops, bytes, g, gradB, blocks);
    }

    static bool Touches(Shapes shapes, Launch launch, string tensor)
    {
        var accesses = shapes.Of(launch);
        return accesses.Reads.Concat(accesses.Writes).Any(r => r.Tensor == tensor);
    }
}
