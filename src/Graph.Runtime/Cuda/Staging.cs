using System;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Copies between ordinary memory and the device through two page-locked buffers: while one is on the bus the other is filled, by several threads,
/// because the source is often a mapped file whose pages arrive one fault at a time.
/// </summary>
internal sealed class Staging : IDisposable
{
    internal const int BufferBytes = 16 << 20;

    readonly PinnedBuffer[] buffers = new PinnedBuffer[2];
    readonly CudaEvent[] free = new CudaEvent[2];
    int next;

    internal Staging()
    {
        try
        {
            for (var i = 0; i < buffers.Length; i++) (buffers[i], free[i]) = (PinnedBuffer.Allocate(BufferBytes), CudaEvent.Create());
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The source may be reused on return; the device sees the bytes in stream order.</summary>
    internal void Upload(CudaStream stream, nint destination, ReadOnlySpan<byte> source)
    {
        for (long done = 0; done < source.Length;)
        {
            var part = source.Slice((int)done, (int)Math.Min(BufferBytes, source.Length - done));
            var slot = Take();
            HostCopy.Run(part, buffers[slot].Address);
            Driver.Check(Driver.CopyToDevice(destination + (nint)done, buffers[slot].Address, (nuint)part.Length, stream), $"copy of {part.Length} bytes to the device");
            Driver.Check(Driver.EventRecord(free[slot], stream), "cuEventRecord");
            done += part.Length;
        }
    }

    /// <summary>Dense rows of <paramref name="width"/> bytes to rows <paramref name="pitch"/> bytes apart.</summary>
    internal void Upload2D(CudaStream stream, nint destination, long pitch, ReadOnlySpan<byte> source, long width, int rows)
    {
        var rowsAtOnce = (int)(BufferBytes / width);
        for (var row = 0; row < rows;)
        {
            if (rowsAtOnce == 0)
            {
                Upload(stream, destination + (nint)(row * pitch), source.Slice(checked((int)(row * width)), (int)width));
                row++;
                continue;
            }
            var count = Math.Min(rowsAtOnce, rows - row);
            var slot = Take();
            HostCopy.Run(source.Slice(checked((int)(row * width)), (int)(count * width)), buffers[slot].Address);
            var copy = new Copy2DArguments
            {
                SourceType = Copy2DArguments.Host, SourceHost = buffers[slot].Address, SourcePitch = (nuint)width,
                DestinationType = Copy2DArguments.Device, DestinationDevice = destination + (nint)(row * pitch), DestinationPitch = (nuint)pitch,
                WidthInBytes = (nuint)width, Height = (nuint)count,
            };
            Driver.Check(Driver.Copy2D(copy, stream), $"copy of {count} rows of {width} bytes to the device");
            Driver.Check(Driver.EventRecord(free[slot], stream), "cuEventRecord");
            row += count;
        }
    }

    /// <summary>Waits until the bytes are there.</summary>
    internal unsafe void Download(CudaStream stream, Span<byte> destination, nint source)
    {
        for (long done = 0; done < destination.Length;)
        {
            var part = destination.Slice((int)done, (int)Math.Min(BufferBytes, destination.Length - done));
            var slot = Take();
            Driver.Check(Driver.CopyToHost(buffers[slot].Address, source + (nint)done, (nuint)part.Length, stream), $"copy of {part.Length} bytes from the device");
            Driver.Check(Driver.StreamSynchronize(stream), "cuStreamSynchronize");
            new ReadOnlySpan<byte>((void*)buffers[slot].Address, part.Length).CopyTo(part);
            done += part.Length;
        }
    }

    public void Dispose()
    {
        foreach (var buffer in buffers) buffer?.Dispose();
        foreach (var handle in free) handle?.Dispose();
    }

    // The buffer whose copy began longest ago, once that copy is done. An event that was never recorded counts as done.
    int Take()
    {
        var slot = next;
        next ^= 1;
        Driver.Check(Driver.EventSynchronize(free[slot]), "cuEventSynchronize");
        return slot;
    }
}
