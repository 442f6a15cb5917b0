using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// An argument of a kernel under test: a view of Rows x Columns that starts at Column of a buffer whose rows
/// are Pitch apart. Values are fp32, already rounded to the type they are stored as.
/// </summary>
/// <param name="Pitched">The kernel gets a pitch for it.</param>
/// <param name="PerToken">Its rows are tokens.</param>
/// <param name="Factor">Allowed error in errors of the composition: 2 for outputs, 3 for gradients.</param>
/// <param name="DeviceScale">The device holds Values times this: lse is a natural logarithm on the CPU and of base 2 on CUDA.</param>
sealed record CaseArgument(string Name, ElementType Type, int Rows, int Columns, int Pitch, int Column, bool Pitched, bool PerToken, bool Output, bool InPlace, int Factor)
{
    internal float[] Values { get; init; } = [];
    internal int[] Ints { get; init; } = [];
    internal float DeviceScale { get; init; } = 1;

    internal int Count => Rows * Columns;
    internal bool Read => !Output || InPlace;
}

/// <summary>A kernel with its arguments' values, and how to run it on the CPU.</summary>
/// <param name="KvHeads">Attention only: how many kv heads take part.</param>
sealed record KernelCase(string Variant, string Kernel, string Label, IReadOnlyList<CaseArgument> Arguments, int Rows, int GridY, int KvHeads)
{
    internal IReadOnlyList<CaseArgument> Outputs => [.. Arguments.Where(a => a.Output)];

    /// <summary>
    /// The outputs of the emitted cpu kernel in fp32. Inputs are as they are for the reference, or disturbed by what rounding them once more would do (composition).
    /// </summary>
    internal unsafe float[][] OnCpu(CpuKernelEntry entry, Random? disturb)
    {
        using var device = new CpuDevice();
        device.Load(new Dictionary<string, CpuKernelEntry> { [Kernel] = entry });
        var arrays = Arguments.Select(a => a.Type == ElementType.I32 ? (Array)a.Ints : Input(a, disturb)).ToArray();
        var bound = Arguments.Select((a, i) => new BoundArgument(Pinned.Address(arrays[i]), a.Pitched ? a.Columns : 0, a.PerToken ? 4 * a.Columns : 0)).ToArray();
        using var program = device.Prepare([new BoundKernel(Kernel, 0, 0, 0, Kernel, bound, Rows)]);
        program.Run();
        GC.KeepAlive(arrays);
        return [.. Arguments.Zip(arrays).Where(p => p.First.Output).Select(p => (float[])p.Second)];
    }

    static float[] Input(CaseArgument a, Random? disturb)
    {
        var values = Pinned.Floats(a.Count);
        if (!a.Read)
        {
            Array.Fill(values, float.NaN);
            return values;
        }
        a.Values.CopyTo(values.AsSpan());
        // Vectors of weights and fp32 statistics keep their values.
        if (disturb is null || a.Type != ElementType.Act || a.Rows == 1 && !a.PerToken) return values;
        var key = (ulong)disturb.NextInt64();
        var size = 1.5f * Elem.UnitRoundoff;
        RandomValues.ForEach(values, key, (value, bits) => value * (1 + size * ((bits & 0xffff) / 65536f - 0.5f)));
        return values;
    }
}

/// <summary>Arrays that do not move, so that kernels may take their addresses.</summary>
static class Pinned
{
    internal static float[] Floats(int count) => GC.AllocateUninitializedArray<float>(Math.Max(1, count), pinned: true);

    internal static int[] Ints(IReadOnlyList<int> values)
    {
        var array = GC.AllocateUninitializedArray<int>(Math.Max(1, values.Count), pinned: true);
        for (var i = 0; i < values.Count; i++) array[i] = values[i];
        return array;
    }

    internal static nint Address(Array array) => System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(array, 0);
}
