using System;
using System.Threading.Tasks;

namespace Graph.Runtime.Quantization;

/// <summary>A tensor in NF4 where it lies: in a checkpoint's mapped file, or in the quantiser's buffers until it is used again.</summary>
/// <param name="codes">u8[⌈elements / 2⌉]; the element with the even number is the high half.</param>
/// <param name="absmaxCodes">u8 for each 64 elements; empty: absmax are fp32.</param>
/// <param name="absmax">fp32 for each 64 elements, or for each 256 absmax codes.</param>
/// <param name="map">fp32[256]; empty: absmax are fp32.</param>
public readonly unsafe ref struct Nf4Tensor(long elements, ReadOnlySpan<byte> codes, ReadOnlySpan<byte> absmaxCodes, ReadOnlySpan<float> absmax, ReadOnlySpan<float> map,
    float offset)
{
    public long Elements { get; } = elements;
    public ReadOnlySpan<byte> Codes { get; } = codes;
    public ReadOnlySpan<byte> AbsmaxCodes { get; } = absmaxCodes;
    public ReadOnlySpan<float> Stored { get; } = absmax;
    public ReadOnlySpan<float> Map { get; } = map;
    public float Offset { get; } = offset;

    public bool IsNested => AbsmaxCodes.Length > 0;

    /// <summary>The absmax of a block.</summary>
    public float Absmax(long block)
    {
        if (!IsNested) return Stored[(int)block];
        var scaled = Map[AbsmaxCodes[(int)block]] * Stored[(int)(block / Nf4.NestedBlock)];
        return scaled + Offset;
    }

    /// <summary>Elements first … first + values.Length as bf16, on all cores.</summary>
    public void Dequantize(long first, Span<ushort> values)
    {
        fixed (byte* codes = Codes, coded = AbsmaxCodes)
        fixed (float* stored = Stored, map = Map)
        fixed (ushort* to = values)
        {
            // Lambdas take addresses as integers.
            var at = new Addresses((nint)codes, (nint)coded, (nint)stored, (nint)map, (nint)to);
            var (elements, nested, offset, last) = (Elements, IsNested, Offset, first + values.Length);
            if (last > elements) throw new ArgumentOutOfRangeException(nameof(values), $"nf4: elements {first} to {last} of a tensor of {elements}.");
            long firstBlock = first / Nf4.Block, blocks = Nf4.Blocks(last) - firstBlock;
            Parallel.For(0, (int)((blocks + Piece - 1) / Piece), piece =>
            {
                var table = stackalloc ushort[16];
                for (var b = firstBlock + (long)piece * Piece; b < Math.Min(firstBlock + blocks, firstBlock + (long)(piece + 1) * Piece); b++)
                {
                    var absmax = ((float*)at.Stored)[nested ? b / Nf4.NestedBlock : b];
                    if (nested) absmax = (float)(((float*)at.Map)[((byte*)at.Coded)[b]] * absmax) + offset;
                    Nf4.Values(absmax, new Span<ushort>(table, 16));
                    for (var i = Math.Max(first, b * Nf4.Block); i < Math.Min(last, (b + 1) * Nf4.Block); i++)
                    {
                        var pair = ((byte*)at.Codes)[i / 2];
                        ((ushort*)at.To)[i - first] = table[i % 2 == 0 ? pair >> 4 : pair & 15];
                    }
                }
            });
        }
    }

    const int Piece = 1024;

    readonly record struct Addresses(nint Codes, nint Coded, nint Stored, nint Map, nint To);
}
