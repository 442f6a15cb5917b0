using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>
/// What a kernel is given in place of a launch's own arguments, before the number of rows: some start from what the launch before left, and need less of the rest.
/// </summary>
public static class KernelArguments
{
    /// <param name="kind">The kernel's kind (<see cref="KernelInfo.Kind"/>).</param>
    /// <param name="keeps">dS is kept: there is a kernel of dq that starts from it.</param>
    public static IEnumerable<BoundArgument> Of(BoundKernel k, KernelKind kind, bool keeps) => kind switch
    {
        KernelKind.CrossEntropyFromSums => k.Arguments.Append(new BoundArgument(k.Sums!.Value.Address, k.Sums.Value.Pitch, 4 * k.Sums.Value.Pitch)),
        // Without dS a pitch it has all the same, because parameters go by position.
        KernelKind.AttentionDkdvToDs => k.Arguments.Append(keeps ? Kept(k) : new BoundArgument(0, 1)),
        // Of dq, q, k, v, do, lse, delta, doc_start.
        KernelKind.AttentionDqFromDs => [k.Arguments[0], k.Arguments[2], k.Arguments[7], Kept(k)],
        _ => k.Arguments,
    };

    public const string AddUnitsKernel = "add_units";

    /// <summary>D += the products of units of a sum over tokens, dense and one after the other from an address on (add_units.cu).</summary>
    public static BoundKernel AddUnits(BoundGemm sum, nint products, int units)
    {
        var size = (long)sum.M * sum.N;
        return new BoundKernel(AddUnitsKernel, sum.Layer, 0, 4 * size * (units + 2),
            AddUnitsKernel, [new(sum.D, sum.DPitch), new(products, sum.N), new(products + (nint)(4 * size * units), 0)], (int)(size / 4));
    }

    static BoundArgument Kept(BoundKernel k) => new(k.ScoreGradients!.Value.Address, k.ScoreGradients.Value.Tiles);
}
