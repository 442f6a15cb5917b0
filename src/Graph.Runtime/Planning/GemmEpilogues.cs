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
        at > 0 && at < launches.Count && launches[at] is KernelLaunch { Epilogue: { } places } kernel && launches[at - 1] is GemmLaunch { Accumulate: false } product && places.SequenceEqual(Places(shapes, product, kernel));

    /// <param name="neededD">Something reads D after the kernel has.</param>
    public static BoundGemmEpilogue Bind(Shapes shapes, GemmLaunch product, KernelLaunch row, BoundGemm gemm, BoundKernel kernel, bool neededD)
    {
        var (places, inPlace) = (row.Epilogue!, row.Epilogue![0] < row.Outputs);
        var storeD = neededD && !inPlace;
        // What the one kernel saves: reading D and, where nothing else reads it or the kernel works in place, writing it before.
        var bytes = gemm.Bytes + kernel.Bytes - (storeD ? 1 : 2) * LaunchCost.BytesOf(shapes, shapes.Resolve(inPlace ? row.Arguments[0] : product.D));
        return new BoundGemmEpilogue(gemm.Label, gemm.Layer, gemm.Flops, bytes, gemm, kernel, places, row.Outputs, storeD);
    }

    /// <summary>Where the kernel's arguments are D, from left to right: D itself, its two halves, or its first columns in place, in whole tiles; none when it reads something else.</summary>
    static IReadOnlyList<int> Places(Shapes shapes, GemmLaunch product, KernelLaunch kernel)
    {
        var d = shapes.Resolve(product.D);
        var read = Enumerable.Range(0, kernel.Arguments.Count).Where(i => i < kernel.InPlace || i >= kernel.Outputs).Select(i => (Place: i, At: shapes.Resolve(kernel.Arguments[i]))).Where(i => i.At.Tensor == d.Tensor)
            .OrderBy(i => i.At.Column).ToArray();
        var middle = d.Column + d.Columns / 2;
        var covers = read.Length switch
        {
            1 when read[0].Place < kernel.InPlace => kernel.Outputs == 1 && read[0].At == d with { ColumnEnd = read[0].At.ColumnEnd } && read[0].At.ColumnEnd <= d.ColumnEnd && d.Columns % GemmKernel.TileColumns == 0,
            1 => read[0].At == d,
            2 => read[0].At == d with { ColumnEnd = middle } && read[1].At == d with { Column = middle } && d.Columns % 2 == 0,
            _ => false,
        };
        return covers ? [.. read.Select(i => i.Place)] : [];
    }
}
