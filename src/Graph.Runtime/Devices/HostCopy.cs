using System;
using System.Threading.Tasks;

namespace Graph.Runtime.Devices;

/// <summary>Copies within host memory.</summary>
static class HostCopy
{
    const int ParallelFrom = 1 << 20;

    /// <summary>By several threads where it is much: the source is often a mapped file whose pages arrive one fault at a time.</summary>
    public static unsafe void Run(ReadOnlySpan<byte> source, nint target)
    {
        if (source.Length < ParallelFrom)
        {
            source.CopyTo(new Span<byte>((void*)target, source.Length));
            return;
        }
        var parts = Math.Min(8, Environment.ProcessorCount);
        var length = source.Length;
        fixed (byte* pointer = source)
        {
            var from = (nint)pointer;
            Parallel.For(0, parts, part =>
            {
                long start = (long)length * part / parts, end = (long)length * (part + 1) / parts;
                Buffer.MemoryCopy((void*)(from + (nint)start), (void*)(target + (nint)start), end - start, end - start);
            });
        }
    }
}
