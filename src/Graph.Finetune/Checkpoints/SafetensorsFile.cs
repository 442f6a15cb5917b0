using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Linq;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace Graph.Finetune.Checkpoints;

/// <summary>A tensor of a safetensors file: its elements are the bytes Offset .. Offset + Length of the file's data, row-major, little-endian.</summary>
public sealed record SafetensorsEntry(string Name, string DType, IReadOnlyList<long> Shape, long Offset, long Length);

/// <summary>
/// A safetensors file, memory-mapped: 8 bytes of header length, a JSON header, the data. Nothing in the header is believed: see <see cref="SafetensorsHeader"/> for the rules.
/// The file must not shrink while it is open.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    readonly MemoryMappedFile mapping;
    readonly MemoryMappedViewAccessor view;
    readonly byte* data;
    readonly long dataLength;
    bool disposed;

    SafetensorsFile(string path, MemoryMappedFile mapping, MemoryMappedViewAccessor view, SafetensorsHeader header)
    {
        (Path, Tensors, Metadata, dataLength) = (path, header.Tensors, header.Metadata, header.DataLength);
        (this.mapping, this.view) = (mapping, view);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        data = start + view.PointerOffset + header.DataOffset;
    }

    public string Path { get; }
    public IReadOnlyDictionary<string, SafetensorsEntry> Tensors { get; }
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <exception cref="InputException">The file cannot be read or breaks a rule of the format; the sentence has the values.</exception>
    public static SafetensorsFile Open(string path)
    {
        try
        {
            using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            var header = SafetensorsHeader.Parse(path, ReadHeader(path, handle, out var length), length);
            var mapping = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
            try
            {
                // Length 0 maps to the end; the length is compared again, for the file was opened twice.
                var view = mapping.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
                if (view.Capacity >= length && RandomAccess.GetLength(handle) == length) return new SafetensorsFile(path, mapping, view, header);
                view.Dispose();
                throw new InputException($"{path} changed while it was opened.");
            }
            catch
            {
                mapping.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }

    /// <summary><paramref name="count"/> bytes of a tensor from its byte <paramref name="offset"/>, in the mapped file itself; valid until the file is disposed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    public ReadOnlySpan<byte> Bytes(SafetensorsEntry entry, long offset, int count)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if (offset < 0 || count < 0 || offset > entry.Length - count || entry.Offset > dataLength - entry.Length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"safetensors: bytes {offset}..{offset + count} leave {entry.Name}, which has {entry.Length}.");
        return new ReadOnlySpan<byte>(data + entry.Offset + offset, count);
    }

    public void Dispose()
    {
        if (disposed) return;
        disposed = true;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        mapping.Dispose();
    }

    static byte[] ReadHeader(string path, SafeFileHandle handle, out long fileLength)
    {
        fileLength = RandomAccess.GetLength(handle);
        if (fileLength < 8) throw new InputException($"{path} has {fileLength} bytes, but a safetensors file begins with 8 bytes of header length; it is cut short or of another kind.");
        Span<byte> prefix = stackalloc byte[8];
        Fill(path, handle, prefix, 0);
        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > SafetensorsHeader.MaxBytes) throw new InputException($"{path} says that its header has {length} bytes, but {SafetensorsHeader.MaxBytes} is the most that is read; it is no safetensors file or damaged.");
        if ((long)length > fileLength - 8) throw new InputException($"{path} says that its header has {length} bytes, but only {fileLength - 8} follow; it is cut short.");
        var header = new byte[length];
        Fill(path, handle, header, 8);
        return header;
    }

    static void Fill(string path, SafeFileHandle handle, Span<byte> buffer, long offset)
    {
        while (buffer.Length > 0)
        {
            var read = RandomAccess.Read(handle, buffer, offset);
            if (read == 0) throw new InputException($"{path} ends at byte {offset}, earlier than its length said.");
            buffer = buffer[read..];
            offset += read;
        }
    }
}
