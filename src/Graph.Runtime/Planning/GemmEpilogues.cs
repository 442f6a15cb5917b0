using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>A GEMM and the kernel after it that can work on its tiles (<see cref="EpilogueFusion"/>), bound as one launch.</summary>
public static class GemmEpilogues
{
    /// <param name="neededD">Something reads D after the kernel has.</param>
    public static BoundGemmEpilogue Bind(Shapes shapes, EpilogueFusion fusion, GemmLaunch product, KernelLaunch row, BoundGemm gemm, BoundKernel kernel, bool neededD)
    {
        var inPlace = fusion.Places[0] < row.Outputs;
        var storeD = neededD && !inPlace;
        // What the one kernel saves: reading D and, where nothing else reads it or the kernel works in place, writing it before.
        var bytes = gemm.Bytes + kernel.Bytes - (storeD ? 1 : 2) * LaunchCost.BytesOf(shapes, shapes.Resolve(inPlace ? row.Arguments[0] : product.D));
        return new BoundGemmEpilogue(gemm.Label, gemm.Layer, gemm.Flops, bytes, fusion.Kernel, gemm, kernel, fusion.Places, row.Outputs, storeD);
    }
}
