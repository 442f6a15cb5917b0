using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Threading;
using System.Threading.Tasks;
using Graph.Runtime.Execution;
using Microsoft.Win32.SafeHandles;

namespace Graph.Finetune.Checkpoints;

/// <summary>A tensor of a safetensors file: its elements are the bytes Offset .. Offset + Length of the file's data, row-major, little-endian.</summary>
public sealed record SafetensorsEntry(string Name, string DType, IReadOnlyList<long> Shape, long Offset, long Length);

/// <summary>
/// A safetensors file: 8 bytes of header length, a JSON header, the data. Nothing in the header is believed: see <see cref="SafetensorsHeader"/> for the rules.
/// Data is read, not mapped: a file that is cut short or rewritten meanwhile is then a sentence, where a mapping would end the process with a bus error or give other bytes.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    const int ChunkBytes = 1 << 20;

    readonly SafeFileHandle handle;
    readonly long dataOffset, dataLength;
    readonly DateTime written;

    SafetensorsFile(string path, SafeFileHandle handle, DateTime written, SafetensorsHeader header)
    {
        (Path, Tensors, Metadata, dataOffset, dataLength) = (path, header.Tensors, header.Metadata, header.DataOffset, header.DataLength);
        (this.handle, this.written) = (handle, written);
    }

    public string Path { get; }
    public IReadOnlyDictionary<string, SafetensorsEntry> Tensors { get; }
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <exception cref="InputException">The file cannot be read or breaks a rule of the format; the sentence has the values.</exception>
    public static SafetensorsFile Open(string path)
    {
        try
        {
            var handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            try
            {
                var written = File.GetLastWriteTimeUtc(handle);
                return new SafetensorsFile(path, handle, written, SafetensorsHeader.Parse(path, ReadHeader(path, handle, out var length), length));
            }
            catch
            {
                handle.Dispose();
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }

    /// <summary><paramref name="count"/> bytes of a tensor from its byte <paramref name="offset"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    /// <exception cref="InputException">The file cannot be read, or changed since it was opened.</exception>
    public ReadOnlySpan<byte> Bytes(SafetensorsEntry entry, long offset, int count)
    {
        Require(entry, offset, count);
        var bytes = new byte[count];
        Read(entry, offset, bytes);
        return bytes;
    }

    /// <summary>Bytes of a tensor from its byte <paramref name="offset"/> on, read by all cores in pieces of 1 MiB.</summary>
    /// <param name="finite">The elements' type, where a NaN or an infinity among them is a fault; they are looked at while they are in the cache.</param>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    /// <exception cref="InputException">The file cannot be read, changed since it was opened, or holds a value that is not finite.</exception>
    public void Read(SafetensorsEntry entry, long offset, Span<byte> to, StoredType? finite = null)
    {
        Require(entry, offset, to.Length);
        var (count, start, bad) = (to.Length, dataOffset + entry.Offset + offset, long.MaxValue);
        var (fault, gate) = (default(InputException), new Lock());
        fixed (byte* pointer = to)
        {
            var address = (nint)pointer;
            Parallel.For(0, (count + ChunkBytes - 1) / ChunkBytes, (chunk, loop) =>
            {
                var from = chunk * ChunkBytes;
                var part = new Span<byte>((byte*)address + from, Math.Min(ChunkBytes, count - from));
                try
                {
                    Fill(Path, handle, part, start + from);
                    if (finite is not { } type || Elements.FirstNonFinite(part, type) is not (>= 0 and var at)) return;
                    lock (gate) bad = Math.Min(bad, offset + from + at);
                }
                catch (Exception e) when (e is InputException or IOException or UnauthorizedAccessException)
                {
                    lock (gate) fault ??= e as InputException ?? new InputException($"{Path} cannot be read: {e.Message}");
                    loop.Stop();
                }
            });
        }
        if (fault is not null) throw fault;
        if (RandomAccess.GetLength(handle) != dataOffset + dataLength || File.GetLastWriteTimeUtc(handle) != written)
            throw new InputException($"{Path} changed while it was read; wait until it is complete and start again.");
        if (bad < long.MaxValue)
            throw new InputException($"{Path}: {entry.Name} has the value {Value(to, bad - offset, finite!.Value)} at [{Position(entry, bad)}]; "
                + "weights must be finite, so the file is damaged: download it again.");
    }

    /// <summary>Adds the file's size, its header and 64 pieces of 4 KiB of its data, evenly spread.</summary>
    internal void AddSamples(IncrementalHash hash)
    {
        const int samples = 64, sampleBytes = 4096;
        hash.AppendData(BitConverter.GetBytes(dataOffset + dataLength));
        var header = new byte[dataOffset];
        Fill(Path, handle, header, 0);
        hash.AppendData(header);
        var piece = new byte[Math.Min(sampleBytes, dataLength)];
        for (var i = 0; i < samples; i++)
        {
            Fill(Path, handle, piece, dataOffset + (long)((Int128)(dataLength - piece.Length) * i / (samples - 1)));
            hash.AppendData(piece);
        }
    }

    public void Dispose() => handle.Dispose();

    void Require(SafetensorsEntry entry, long offset, int count)
    {
        ObjectDisposedException.ThrowIf(handle.IsClosed, this);
        if (offset < 0 || count < 0 || offset > entry.Length - count || entry.Offset > dataLength - entry.Length)
            throw new ArgumentOutOfRangeException(nameof(offset), $"safetensors: bytes {offset}..{offset + count} leave {entry.Name}, which has {entry.Length}.");
    }

    static string Value(ReadOnlySpan<byte> bytes, long at, StoredType type)
    {
        var value = type switch
        {
            StoredType.F32 => BinaryPrimitives.ReadSingleLittleEndian(bytes[(int)at..]),
            StoredType.Bf16 => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(bytes[(int)at..]) << 16),
            _ => (float)BinaryPrimitives.ReadHalfLittleEndian(bytes[(int)at..]),
        };
        return float.IsNaN(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
    }

    static string Position(SafetensorsEntry entry, long at)
    {
        var element = at / SafetensorsHeader.ElementBytes(entry.DType);
        return string.Join(',', entry.Shape.Select((_, d) => entry.Shape.Skip(d + 1).Aggregate(element, (rest, extent) => rest / extent) % entry.Shape[d]));
    }

    static byte[] ReadHeader(string path, SafeFileHandle handle, out long fileLength)
    {
        fileLength = RandomAccess.GetLength(handle);
        if (fileLength < 8)
            throw new InputException($"{path} has {fileLength} bytes, but a safetensors file begins with 8 bytes of header length; it is cut short or of another kind.");
        Span<byte> prefix = stackalloc byte[8];
        Fill(path, handle, prefix, 0);
        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (length > SafetensorsHeader.MaxBytes)
            throw new InputException($"{path} says that its header has {length} bytes, but {SafetensorsHeader.MaxBytes} is the most that is read; "
                + "it is no safetensors file or damaged.");
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
            if (read == 0) throw new InputException($"{path} ends at byte {offset}, earlier than its length said; it was cut short.");
            buffer = buffer[read..];
            offset += read;
        }
    }
}
