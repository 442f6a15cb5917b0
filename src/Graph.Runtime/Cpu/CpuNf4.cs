using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;

namespace Graph.Runtime.Cpu;

/// <summary>nf4.cu on the host, argument for argument: the bf16 values of a packed weight, widened to fp32, so that a CPU and a GPU mean the same weight.</summary>
static unsafe class CpuNf4
{
    public static Dictionary<string, CpuKernelEntry> Kernels() => new() { [Nf4Layout.Kernel] = new(Dequantize, false) };

    // weight; packed block (pitch: its parts); chunks
    static void Dequantize(ReadOnlySpan<CpuView> a, int chunks)
    {
        nint weight = (nint)a[0].Floats, packed = (nint)a[1].Floats;
        var parts = a[1].Pitch;
        Parallel.For(0, chunks, chunk =>
        {
            var block = (byte*)packed;
            var part = (Nf4Part*)block + parts - 1;
            while (part->FirstChunk > chunk) part--;
            float* to = (float*)weight + part->Start, stored = (float*)(block + (part->Nested < 0 ? part->Absmax : part->Nested)), map = (float*)(block + part->Map);
            byte* codes = block + part->Codes, coded = block + part->Absmax;
            var table = stackalloc ushort[16];
            var values = stackalloc float[16];
            var first = (long)(chunk - part->FirstChunk) * Nf4Layout.ChunkElements;
            var last = Math.Min(part->Elements, first + Nf4Layout.ChunkElements);
            for (var start = first; start < last; start += Nf4.Block)
            {
                var b = start / Nf4.Block;
                var absmax = part->Nested < 0 ? stored[b] : (float)(map[coded[b]] * stored[b / Nf4.NestedBlock]) + part->Offset;
                Nf4.Values(absmax, new Span<ushort>(table, 16));
                for (var code = 0; code < 16; code++) values[code] = BitConverter.UInt32BitsToSingle((uint)table[code] << 16);
                for (var i = start; i < Math.Min(last, start + Nf4.Block); i++) to[i] = values[i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15];
            }
        });
    }
}
