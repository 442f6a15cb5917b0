using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Runtime.Quantization;

/// <summary>
/// NF4 as bitsandbytes stores it. Values are cut into blocks of 64 over the flattened tensor; a block has its absmax in fp32 and a 4-bit code for each value.
/// Absmax may be coded too: their mean (offset) is taken off, blocks of 256 have an absmax of their own, and 8 bits choose from a map of 256.
///   absmax = fp32(fp32(map[code8] · nested) + offset)        value = bf16(fp32(table[code4] · absmax)), each rounded to nearest even, no FMA
/// A weight stored so is the bf16 tensor of these values, whatever type products read: fp16 and fp32 are made from the bf16 value, as from a checkpoint that holds it.
/// Source: Dettmers et al. 2023, "QLoRA"; bitsandbytes 0.50, functional.py and csrc/kernels.cu.
/// </summary>
public static class Nf4
{
    /// <summary>Values of a block, and absmax of a nested block.</summary>
    public const int Block = 64, NestedBlock = 256;

    /// <summary>What the 16 codes stand for.</summary>
    public static ReadOnlySpan<float> Table =>
    [
        -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
        0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f,
    ];

    /// <summary>
    /// The signed code book of absmax, ascending: 0, 1, and of either sign 2^i means of equal parts of [0.1, 1], times 10^(i-6), for i from 0 to 6.
    /// Computed in fp32 as torch's linspace and products round.
    /// </summary>
    public static IReadOnlyList<float> DynamicMap { get; } = CreateDynamicMap();

    public static long Blocks(long elements) => (elements + Block - 1) / Block;

    public static long NestedBlocks(long blocks) => (blocks + NestedBlock - 1) / NestedBlock;

    /// <summary>fp32 rounded to bf16, to nearest even; the bits.</summary>
    public static ushort Bf16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)0x7FC0 : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    /// <summary>The 16 values of a block as bf16.</summary>
    public static void Values(float absmax, Span<ushort> values)
    {
        for (var code = 0; code < 16; code++) values[code] = Bf16(Table[code] * absmax);
    }

    static float[] CreateDynamicMap()
    {
        var map = new List<float> { 0, 1 };
        for (var i = 0; i < 7; i++)
        {
            var edges = Linspace(0.1f, 1, (1 << i) + 1);
            // The power is a double in Python, which a product with an fp32 tensor rounds to fp32 first.
            var scale = (float)Math.Pow(10, i - 6);
            foreach (var mean in edges.Zip(edges.Skip(1), (a, b) => scale * ((a + b) / 2f))) map.AddRange([mean, -mean]);
        }
        return [.. map.Order()];
    }

    // As torch makes it on a CPU: from both ends to the middle, each with one rounding.
    static float[] Linspace(float start, float end, int count)
    {
        var step = (end - start) / (count - 1);
        return [.. Enumerable.Range(0, count).Select(i => i < count / 2 ? MathF.FusedMultiplyAdd(step, i, start) : MathF.FusedMultiplyAdd(-step, count - i - 1, end))];
    }
}
