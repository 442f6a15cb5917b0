using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>How a source stores a tensor's elements.</summary>
public enum StoredType { F32, Bf16, F16 }

/// <summary>A frozen tensor of a source: element type and shape.</summary>
public sealed record StoredTensor(StoredType Type, IReadOnlyList<int> Shape)
{
    public int ElementBytes => Type == StoredType.F32 ? 4 : 2;
}

/// <summary>Values of a weight that this run cannot hold. Exit code 3.</summary>
public sealed class WeightException(string message) : Exception(message);

/// <summary>Where frozen weights come from: a checkpoint, or random numbers. Names are the checkpoint's.</summary>
public interface IWeightSource
{
    /// <exception cref="KeyNotFoundException">The source has no such tensor; the message names it.</exception>
    StoredTensor Describe(string name);

    /// <summary>
    /// Elements of rows row .. row + rows, little-endian and finite, in memory of the source's own or in <paramref name="scratch"/>. A tensor of one dimension is one row.
    /// </summary>
    ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch);

    /// <summary>How the source holds the tensor. Of a packed one Describe and Rows speak of its bf16 values.</summary>
    WeightFormat FormatOf(string name) => WeightFormat.Act;

    /// <summary>The codes of a packed tensor.</summary>
    Nf4Tensor Codes(string name) => throw new InvalidOperationException($"weights: {name} has no codes.");
}

/// <summary>
/// Weights that need no checkpoint: a counter-based hash, so any rows can be made in any order, in bf16. Matrices are near normal with deviation 0.02, vectors (norms) with 0.1.
/// Twelve bits of the hash choose one of 4,096 values, a table that fits the nearest cache, because drawing 9 billion of them must take a second, not ten.
/// </summary>
public sealed class RandomWeights(Schedule schedule, int seed) : IWeightSource
{
    const float MatrixDeviation = 0.02f, VectorDeviation = 0.1f;

    readonly Dictionary<string, int[]> shapes = schedule.Tensors.Where(t => t.Kind == TensorKind.Weight).SelectMany(t => t.Stored()).ToDictionary(t => t.Name, t => t.Shape);

    readonly Lazy<ushort[]> matrixValues = new(() => Values(MatrixDeviation)), vectorValues = new(() => Values(VectorDeviation));

    public StoredTensor Describe(string name) =>
        shapes.TryGetValue(name, out var shape) ? new StoredTensor(StoredType.Bf16, shape)
        : throw new KeyNotFoundException($"random weights: {schedule.Variant} has no tensor '{name}'.");

    public unsafe ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
    {
        var shape = shapes[name];
        var columns = shape[^1];
        var values = (shape.Length == 1 ? vectorValues : matrixValues).Value;
        var key = Mix((ulong)seed + 0x9E3779B97F4A7C15);
        foreach (var c in name) key = Mix(key ^ c);
        var hashesPerRow = (columns + 3) / 4;
        fixed (byte* start = scratch)
        fixed (ushort* table = values)
        {
            nint address = (nint)start, tableAddress = (nint)table;
            Parallel.For(0, rows, r =>
            {
                ushort* to = (ushort*)address + (long)r * columns, from = (ushort*)tableAddress;
                var counter = key + (ulong)((long)(row + r) * hashesPerRow);
                var i = 0;
                for (; i + 4 <= columns; i += 4)
                {
                    var hash = Mix(counter++);
                    to[i] = from[hash & 0xFFF];
                    to[i + 1] = from[(hash >> 16) & 0xFFF];
                    to[i + 2] = from[(hash >> 32) & 0xFFF];
                    to[i + 3] = from[(hash >> 48) & 0xFFF];
                }
                for (var hash = Mix(counter); i < columns; i++, hash >>= 16) to[i] = from[hash & 0xFFF];
            });
        }
        return scratch[..(rows * columns * sizeof(ushort))];
    }

    // Quantiles of the normal distribution by Shore's approximation, scaled to exactly the deviation asked for.
    static ushort[] Values(float deviation)
    {
        var quantiles = Enumerable.Range(0, 1 << 11).Select(i => (i + 0.5) / (1 << 12) + 0.5).Select(p => 5.5556 * (1 - Math.Pow((1 - p) / p, 0.1186))).ToArray();
        var scale = deviation / Math.Sqrt(quantiles.Average(q => q * q));
        return [.. quantiles.Select(q => Elements.Bf16((float)(-q * scale))), .. quantiles.Select(q => Elements.Bf16((float)(q * scale)))];
    }

    static ulong Mix(ulong x)
    {
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
        return x ^ (x >> 31);
    }
}

/// <summary>Element conversions between stored types and the activation type, rounding to nearest even.</summary>
public static class Elements
{
    /// <summary>The same bytes where types agree, else converted into <paramref name="scratch"/>.</summary>
    public static unsafe ReadOnlySpan<byte> Convert(ReadOnlySpan<byte> source, StoredType from, ActType to, Span<byte> scratch)
    {
        if ((from, to) is (StoredType.F32, ActType.F32) or (StoredType.Bf16, ActType.Bf16) or (StoredType.F16, ActType.F16)) return source;
        int inSize = from == StoredType.F32 ? 4 : 2, outSize = to == ActType.F32 ? 4 : 2, count = source.Length / inSize;
        const int piece = 1 << 16;
        fixed (byte* input = source, output = scratch)
        {
            nint inputAddress = (nint)input, outputAddress = (nint)output;
            Parallel.For(0, (count + piece - 1) / piece, p =>
            {
                for (var i = p * piece; i < Math.Min(count, (p + 1) * piece); i++)
                {
                    var value = from switch
                    {
                        StoredType.F32 => ((float*)inputAddress)[i],
                        StoredType.Bf16 => BitConverter.UInt32BitsToSingle((uint)((ushort*)inputAddress)[i] << 16),
                        _ => (float)((Half*)inputAddress)[i],
                    };
                    switch (to)
                    {
                        case ActType.F32: ((float*)outputAddress)[i] = value; break;
                        case ActType.Bf16: ((ushort*)outputAddress)[i] = Bf16(value); break;
                        default: ((Half*)outputAddress)[i] = (Half)value; break;
                    }
                }
            });
        }
        return scratch[..(count * outSize)];
    }

    /// <summary>How activations of this type are stored.</summary>
    public static StoredType TypeOf(ActType act) => act switch { ActType.F32 => StoredType.F32, ActType.Bf16 => StoredType.Bf16, _ => StoredType.F16 };

    /// <summary>Byte offset of the first NaN or infinity, or -1. Such an element has all bits of its exponent set, whatever type it is of.</summary>
    public static int FirstNonFinite(ReadOnlySpan<byte> bytes, StoredType type)
    {
        var at = type == StoredType.F32 ? First(MemoryMarshal.Cast<byte, uint>(bytes), 0x7F800000u)
            : First(MemoryMarshal.Cast<byte, ushort>(bytes), type == StoredType.Bf16 ? (ushort)0x7F80 : (ushort)0x7C00);
        return at < 0 ? -1 : at * (type == StoredType.F32 ? 4 : 2);

        static int First<T>(ReadOnlySpan<T> elements, T exponent) where T : unmanaged, IBinaryInteger<T>
        {
            var (wide, i) = (new Vector<T>(exponent), 0);
            for (; i + Vector<T>.Count <= elements.Length; i += Vector<T>.Count)
                if (Vector.EqualsAny(new Vector<T>(elements[i..]) & wide, wide)) break;
            for (; i < elements.Length; i++)
                if ((elements[i] & exponent) == exponent) return i;
            return -1;
        }
    }

    public static ushort Bf16(float value) => Nf4.Bf16(value);

    /// <summary>Activation-type bytes as fp32.</summary>
    public static float[] ToFloats(ReadOnlySpan<byte> source, ActType act)
    {
        var result = new float[source.Length / (act == ActType.F32 ? 4 : 2)];
        Convert(source, TypeOf(act), ActType.F32, MemoryMarshal.AsBytes(result.AsSpan()));
        if (act == ActType.F32) source.CopyTo(MemoryMarshal.AsBytes(result.AsSpan()));
        return result;
    }
}
