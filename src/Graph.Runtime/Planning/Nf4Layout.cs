using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>One checkpoint tensor of a packed weight, 64 bytes, as nf4.cu declares it. Offsets are bytes from the start of the packed weight.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct Nf4Part
{
    /// <summary>u8[⌈Elements / 2⌉]; the element with the even number is the high half.</summary>
    public long Codes;

    /// <summary>u8, or f32 where Nested is negative, for each 64 elements.</summary>
    public long Absmax;

    /// <summary>f32 for each 256 absmax; -1: absmax are f32.</summary>
    public long Nested;

    /// <summary>f32[256]: what the codes of absmax stand for.</summary>
    public long Map;

    /// <summary>Its first element in the weight, and how many it has.</summary>
    public long Start, Elements;

    /// <summary>Chunks of work of the parts before it.</summary>
    public int FirstChunk;

    /// <summary>What was taken off every absmax before it was coded.</summary>
    public float Offset;

    public long Unused;
}

/// <summary>
/// A packed weight as one block of bytes: a table of its parts (<see cref="Nf4Part"/>), then each part's codes, absmax, nested absmax and map. Each part is
/// quantised by itself, over its own flattened elements. The block may lie anywhere, because its offsets count from its start.
/// </summary>
/// <param name="Chunks">Pieces of <see cref="ChunkElements"/> of all parts; none crosses a part.</param>
public sealed record Nf4Layout(IReadOnlyList<Nf4Part> Parts, int Chunks, long Bytes)
{
    /// <summary>Arguments: the weight; its packed block, whose pitch is the number of parts; rows are chunks.</summary>
    public const string Kernel = "dequantize_nf4";

    /// <summary>Elements of one chunk of work: CHUNK of nf4.cu.</summary>
    public const int ChunkElements = 8192;

    const int Alignment = 128;

    /// <summary>Name of a weight's packed block among a plan's tensors.</summary>
    public static string NameOf(string weight) => weight + ".nf4";

    public static Nf4Layout Create(ScheduleTensor weight, WeightFormat format)
    {
        var stored = weight.Stored().Select(s => (long)s.Shape[0] * s.Shape[1]).ToArray();
        var (at, start, chunk) = (Align(stored.Length * (long)Marshal.SizeOf<Nf4Part>()), 0L, 0);
        var parts = new List<Nf4Part>();
        foreach (var elements in stored)
        {
            long blocks = Nf4.Blocks(elements), codes = Take((elements + 1) / 2);
            var nested = format == WeightFormat.Nf4;
            parts.Add(new Nf4Part
            {
                Codes = codes, Absmax = Take(nested ? blocks : 4 * blocks), Nested = nested ? Take(4 * Nf4.NestedBlocks(blocks)) : -1, Map = nested ? Take(4 * 256) : -1,
                Start = start, Elements = elements, FirstChunk = chunk,
            });
            start += elements;
            chunk += (int)((elements + ChunkElements - 1) / ChunkElements);
        }
        return new Nf4Layout(parts, chunk, at);

        long Take(long bytes)
        {
            var offset = at;
            at += Align(bytes);
            return offset;
        }
    }

    /// <summary>The block as a tensor of a plan.</summary>
    internal ScheduleTensor Tensor(ScheduleTensor weight) => new(NameOf(weight.Name), TensorKind.Weight, ElementType.I32, false, [checked((int)(Bytes / 4))], weight.Layer);

    static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;
}
