using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>A product and the kernel after it that can work on its tiles (<see cref="KernelLaunch.Epilogue"/>), found in a launch list and bound as one launch.</summary>
public static class GemmEpilogues
{
    /// <summary>
    /// The kernel at <paramref name="at"/> reads what the launch before it multiplies: then what that product reads stays in place until the kernel is done, because the two may be one.
    /// </summary>
    public static bool IsPair(Shapes shapes, IReadOnlyList<Launch> launches, int at) =>
        at > 0 && at < launches.Count && launches[at] is KernelLaunch { Epilogue: true } kernel && launches[at - 1] is GemmLaunch { Accumulate: false } product && Inputs(shapes, product, kernel) is not null;

    /// <param name="neededD">Something reads D after the kernel has.</param>
    public static BoundGemmEpilogue Bind(Shapes shapes, GemmLaunch product, KernelLaunch row, BoundGemm gemm, BoundKernel kernel, bool neededD)
    {
        var inputs = Inputs(shapes, product, row)!;
        var storeD = neededD && inputs.Count > 0;
        // What the one kernel saves: reading D and, where nothing else reads it or the kernel works in place, writing it before.
        var read = shapes.Resolve(inputs.Count > 0 ? product.D : row.Arguments[0]);
        var bytes = gemm.Bytes + kernel.Bytes - (storeD ? 1 : 2) * LaunchCost.BytesOf(shapes, read);
        return new BoundGemmEpilogue(gemm.Label, gemm.Layer, gemm.Flops, bytes, gemm, kernel, inputs, row.Outputs, storeD);
    }

    /// <summary>Arguments of the kernel that are D, from left to right: D itself or its two halves; none when its one output is D's first columns, in place; null when it reads something else.</summary>
    static IReadOnlyList<int>? Inputs(Shapes shapes, GemmLaunch product, KernelLaunch kernel)
    {
        var d = shapes.Resolve(product.D);
        if (kernel.InPlace > 0)
            return kernel is { InPlace: 1, Outputs: 1 } && shapes.Resolve(kernel.Arguments[0]) is var turned && turned.Tensor == d.Tensor && turned == d with { ColumnEnd = turned.ColumnEnd } && turned.ColumnEnd <= d.ColumnEnd ? [] : null;
        var inputs = Enumerable.Range(kernel.Outputs, kernel.Arguments.Count - kernel.Outputs).Select(i => (Index: i, At: shapes.Resolve(kernel.Arguments[i]))).Where(i => i.At.Tensor == d.Tensor).OrderBy(i => i.At.Column).ToArray();
        var middle = d.Column + d.Columns / 2;
        var covers = inputs.Length switch
        {
            1 => inputs[0].At == d,
            2 => inputs[0].At == d with { ColumnEnd = middle } && inputs[1].At == d with { Column = middle } && d.Columns % 2 == 0,
            _ => false,
        };
        return covers ? [.. inputs.Select(i => i.Index)] : null;
    }
}
