using System;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Threading.Tasks;

namespace Graph.Runtime.Quantization;

/// <summary>
/// Quantises one tensor after the other to NF4 with 8-bit absmax, on all cores. By the rule of bitsandbytes' kernels: v = x · (1 / absmax) in fp32;
/// a value's code is the number of thresholds below it (strictly); a block of zeros gives 0 · ∞ = NaN, which exceeds none: code 0.
/// The offset is the mean of absmax, summed in double; absmax − offset is coded the same way in blocks of 256 by the nearest
/// entry of the map. Where a value lies within 1e-6 of a threshold a GPU of theirs, whose reciprocal is approximate, may choose the code beside it.
/// </summary>
/// <param name="elements">Of the largest tensor.</param>
public sealed unsafe class Nf4Quantizer(long elements)
{
    readonly byte[] codes = new byte[(elements + 1) / 2 + Nf4.Block];
    readonly float[] absmax = new float[Nf4.Blocks(elements)], nested = new float[Nf4.NestedBlocks(Nf4.Blocks(elements))];
    readonly byte[] absmaxCodes = new byte[Nf4.Blocks(elements)];
    static readonly float[] Map = [.. Nf4.DynamicMap];

    // Four of the published thresholds lie halfway between two floats; these are what a compiler rounds the literals to.
    static ReadOnlySpan<float> Thresholds =>
    [
        -0.84809643f, -0.610632896f, -0.45999527f, -0.33967942f, -0.234607399f, -0.137911737f, -0.0455250181f, 0.0397901498f,
        0.120255254f, 0.203521252f, 0.292013764f, 0.389312536f, 0.501663387f, 0.64278692f, 0.861478388f,
    ];

    const int Piece = 512;

    /// <summary>Codes of some elements, which start at a multiple of 64; all but the tensor's last are multiples of 64.</summary>
    /// <param name="values">fp32, or bf16.</param>
    public void Add(long first, ReadOnlySpan<byte> values, bool bf16)
    {
        var count = values.Length / (bf16 ? 2 : 4);
        if (first % Nf4.Block != 0) throw new ArgumentException($"nf4: a piece starts at element {first}, not at a multiple of {Nf4.Block}.", nameof(first));
        fixed (byte* start = values)
        {
            var source = (nint)start;
            var blocks = (int)Nf4.Blocks(count);
            Parallel.For(0, (blocks + Piece - 1) / Piece, piece =>
            {
                var block = stackalloc float[Nf4.Block];
                for (var b = piece * Piece; b < Math.Min(blocks, (piece + 1) * Piece); b++)
                {
                    var (at, length) = ((long)b * Nf4.Block, Math.Min(Nf4.Block, count - b * Nf4.Block));
                    Load(source, at, length, bf16, block);
                    var code = first / Nf4.Block + b;
                    absmax[code] = Quantize(block, codes.AsSpan((int)(code * Nf4.Block / 2), Nf4.Block / 2));
                }
            });
        }
    }

    /// <summary>The tensor whose elements were added, until the next one's are.</summary>
    public Nf4Tensor Finish(long count)
    {
        var blocks = (int)Nf4.Blocks(count);
        // One order for any number of cores.
        double sum = 0;
        for (var b = 0; b < blocks; b++) sum += absmax[b];
        var offset = (float)(sum / blocks);
        var nestedBlocks = (int)Nf4.NestedBlocks(blocks);
        Parallel.For(0, nestedBlocks, n =>
        {
            int start = n * Nf4.NestedBlock, end = Math.Min(blocks, start + Nf4.NestedBlock);
            var most = 0f;
            for (var b = start; b < end; b++) most = Math.Max(most, Math.Abs(absmax[b] - offset));
            nested[n] = most;
            var inverse = 1 / most;
            for (var b = start; b < end; b++) absmaxCodes[b] = Nearest((absmax[b] - offset) * inverse);
        });
        return new Nf4Tensor(count, codes.AsSpan(0, (int)((count + 1) / 2)), absmaxCodes.AsSpan(0, blocks), nested.AsSpan(0, nestedBlocks), Map, offset);
    }

    // 64 floats, zeros behind the last.
    static void Load(nint source, long at, int length, bool bf16, float* block)
    {
        if (length < Nf4.Block) new Span<float>(block + length, Nf4.Block - length).Clear();
        if (!bf16) new ReadOnlySpan<float>((float*)source + at, length).CopyTo(new Span<float>(block, length));
        else if (length < Nf4.Block)
            for (var i = 0; i < length; i++) block[i] = BitConverter.UInt32BitsToSingle((uint)((ushort*)source)[at + i] << 16);
        else
            for (var i = 0; i < Nf4.Block; i += 16)
            {
                var (low, high) = Vector256.Widen(Vector256.Load((ushort*)source + at + i));
                (low << 16).AsSingle().Store(block + i);
                (high << 16).AsSingle().Store(block + i + 8);
            }
    }

    // The codes of 64 floats; returns their absmax.
    static float Quantize(float* block, Span<byte> to)
    {
        var most = Vector256<float>.Zero;
        for (var i = 0; i < Nf4.Block; i += 8) most = Vector256.MaxNative(most, Vector256.Abs(Vector256.Load(block + i)));
        var lanes = Vector128.MaxNative(most.GetLower(), most.GetUpper());
        var absmax = MathF.Max(MathF.Max(lanes[0], lanes[1]), MathF.Max(lanes[2], lanes[3]));
        var inverse = Vector256.Create(1 / absmax);
        Narrow(Narrow(Pairs(block, inverse), Pairs(block + 8, inverse)), Narrow(Pairs(block + 16, inverse), Pairs(block + 24, inverse)),
            Narrow(Pairs(block + 32, inverse), Pairs(block + 40, inverse)), Narrow(Pairs(block + 48, inverse), Pairs(block + 56, inverse))).CopyTo(to);
        return absmax;
    }

    // Four bytes of two codes each, in lanes of 64 bits: the even element is the high half.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<ulong> Pairs(float* values, Vector256<float> inverse)
    {
        var v = Vector256.Load(values) * inverse;
        var below = Vector256<int>.Zero;
        // A comparison that holds is -1.
        foreach (var threshold in Thresholds) below -= Vector256.GreaterThan(v, Vector256.Create(threshold)).AsInt32();
        var pairs = below.AsUInt64();
        return ((pairs << 4) | (pairs >> 32)) & Vector256.Create(0xFFul);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<uint> Narrow(Vector256<ulong> low, Vector256<ulong> high) => Vector256.Narrow(low, high);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<byte> Narrow(Vector256<uint> a, Vector256<uint> b, Vector256<uint> c, Vector256<uint> d) => Vector256.Narrow(Vector256.Narrow(a, b), Vector256.Narrow(c, d));

    /// <summary>
    /// The nearest entry of the map as bitsandbytes finds it: a binary search, then one of the two neighbours by
    /// their mean; NaN (all absmax are equal) takes the search's last entry or what is below.
    /// </summary>
    internal static byte Nearest(float x)
    {
        int pivot = 127, low = 0, high = 255;
        for (var step = 64; step > 0; step /= 2)
            if (x > Map[pivot]) (low, pivot) = (pivot, pivot + step);
            else (high, pivot) = (pivot, pivot - step);
        var here = Map[pivot];
        return (byte)(x > here ? (x > (Map[high] + here) * 0.5f ? high : pivot) : x < (Map[low] + here) * 0.5f ? low : pivot);
    }
}
