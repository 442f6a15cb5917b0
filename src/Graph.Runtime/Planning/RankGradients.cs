using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>G = s·dY·B and dB += dYᵀ·S of a stack of adapters (<see cref="RankGradientsFusion"/>), bound as one launch, because one read of dY can serve both.</summary>
public static class RankGradients
{
    /// <param name="launch">dB's.</param>
    public static BoundRankGradients Bind(Shapes shapes, BoundGemm g, BoundGemm gradB, GemmLaunch launch)
    {
        var bytes = g.Bytes + gradB.Bytes - LaunchCost.BytesOf(shapes, shapes.Resolve(launch.Segments[0].A));
        return new BoundRankGradients(gradB.Label, gradB.Layer, g.Flops + gradB.Flops, bytes, g, gradB, shapes.Blocks(shapes[launch.D.Tensor].Tensor.Stack));
    }
}
