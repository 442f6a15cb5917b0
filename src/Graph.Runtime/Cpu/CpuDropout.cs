using System;
using System.Collections.Generic;
using Graph.Runtime.Planning;

namespace Graph.Runtime.Cpu;

/// <summary>
/// Dropout of adapters, argument for argument the kernels of adapter_dropout.cu, with the same masks. The key's row is the token's number, so rows are not split.
/// </summary>
public static unsafe class CpuDropout
{
    internal static Dictionary<string, CpuKernelEntry> Kernels() => new()
    {
        [AdapterDropout.Kernel] = new((a, rows) => Run(a, rows, add: false), false),
        [AdapterDropout.AddKernel] = new((a, rows) => Run(a, rows, add: true), false),
    };

    // to, from, one DroppedAdapter, key
    static void Run(ReadOnlySpan<CpuView> a, int rows, bool add)
    {
        CpuView to = a[0], from = a[1];
        var dropped = *(DroppedAdapter*)a[2].Floats;
        uint seed = (uint)a[3].Ints[0], low = (uint)a[3].Ints[1], high = (uint)a[3].Ints[2];
        System.Threading.Tasks.Parallel.For(0, rows, row =>
        {
            float* target = to.Row(row), source = from.Row(row);
            for (var column = 0; column < dropped.Columns; column += 4)
            {
                var random = Philox((uint)column / 4, (uint)row, dropped.Adapter, low, seed, high);
                for (var i = 0; i < Math.Min(4, dropped.Columns - column); i++)
                {
                    var kept = (i switch { 0 => random.X, 1 => random.Y, 2 => random.Z, _ => random.W }) < dropped.Threshold ? 0 : source[column + i] * dropped.Scale;
                    target[column + i] = add ? target[column + i] + kept : kept;
                }
            }
        });
    }

    /// <summary>Philox 4x32 of 10 rounds: four random words of a counter of four and a key of two.</summary>
    public static (uint X, uint Y, uint Z, uint W) Philox(uint x, uint y, uint z, uint w, uint key0, uint key1)
    {
        for (var round = 0; round < 10; round++)
        {
            ulong product0 = 0xD2511F53UL * x, product1 = 0xCD9E8D57UL * z;
            (x, y, z, w) = ((uint)(product1 >> 32) ^ y ^ key0, (uint)product1, (uint)(product0 >> 32) ^ w ^ key1, (uint)product0);
            key0 += 0x9E3779B9;
            key1 += 0xBB67AE85;
        }
        return (x, y, z, w);
    }
}
