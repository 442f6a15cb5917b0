using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>A product and the row kernel after it that can work on its tiles (<see cref="KernelLaunch.Epilogue"/>), found in a launch list and bound as one launch.</summary>
public static class GemmEpilogues
{
    /// <summary>
    /// The kernel at <paramref name="at"/> reads all of what the launch before it multiplies: then what that product reads stays in place until the kernel is done, because the two may be one.
    /// </summary>
    public static bool IsPair(Shapes shapes, IReadOnlyList<Launch> launches, int at) =>
        at > 0 && at < launches.Count && launches[at] is KernelLaunch { Epilogue: true } kernel && launches[at - 1] is GemmLaunch { Accumulate: false } product && Inputs(shapes, product, kernel).Count > 0;

    /// <param name="storeD">Something reads what the product gives after the kernel has.</param>
    public static BoundGemmEpilogue Bind(Shapes shapes, GemmLaunch product, KernelLaunch row, BoundGemm gemm, BoundKernel kernel, bool storeD)
    {
        // The row kernel's reading of D, and D's writing where nothing else reads it, are what the one kernel saves.
        var bytes = gemm.Bytes + kernel.Bytes - (storeD ? 1 : 2) * LaunchCost.BytesOf(shapes, shapes.Resolve(product.D));
        return new BoundGemmEpilogue(gemm.Label, gemm.Layer, gemm.Flops, bytes, gemm, kernel, Inputs(shapes, product, row), row.Outputs, storeD);
    }

    /// <summary>Arguments of the kernel that are D, from left to right: D itself or its two halves; none when it reads something else.</summary>
    static IReadOnlyList<int> Inputs(Shapes shapes, GemmLaunch product, KernelLaunch kernel)
    {
        var d = shapes.Resolve(product.D);
        var inputs = Enumerable.Range(kernel.Outputs, kernel.Arguments.Count - kernel.Outputs).Select(i => (Index: i, At: shapes.Resolve(kernel.Arguments[i]))).Where(i => i.At.Tensor == d.Tensor).OrderBy(i => i.At.Column).ToArray();
        var middle = d.Column + d.Columns / 2;
        var covers = inputs.Length switch
        {
            1 => inputs[0].At == d,
            2 => inputs[0].At == d with { ColumnEnd = middle } && inputs[1].At == d with { Column = middle } && d.Columns % 2 == 0,
            _ => false,
        };
        return covers ? [.. inputs.Select(i => i.Index)] : [];
    }
}
