using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;

namespace Graph.Finetune.Data;

/// <summary>
/// A JSON Lines file. Block k has the lines that start in bytes k·size to (k+1)·size, so a block is found without what is
/// before it; a file may be larger than memory. What cannot be read twice (a pipe) is one block.
/// </summary>
sealed class JsonLinesFile : IDataFile
{
    /// <summary>A line longer than this is no example.</summary>
    public const int MaxLineBytes = 256 << 20;

    public const int DefaultBlockBytes = 1 << 20;

    const int Piece = 1 << 16;

    readonly FileStream stream;
    readonly byte[]? content;
    readonly long length;
    readonly int blockBytes;
    // Line ends in the bytes of each block; -1: not counted yet.
    readonly long[] lineEnds;

    /// <param name="stream">The open file; it is this one's own from here on.</param>
    /// <exception cref="InputException">It cannot be read.</exception>
    public JsonLinesFile(string path, FileStream stream, int blockBytes = DefaultBlockBytes)
    {
        (Path, this.stream) = (path, stream);
        try
        {
            if (!stream.CanSeek)
            {
                using var all = new MemoryStream();
                stream.CopyTo(all);
                content = all.ToArray();
            }
            length = content?.Length ?? stream.Length;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            stream.Dispose();
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
        this.blockBytes = content is null ? blockBytes : Math.Max(1, content.Length);
        lineEnds = new long[Blocks];
        Array.Fill(lineEnds, -1);
    }

    public string Path { get; }
    public int Blocks => checked((int)((length + blockBytes - 1) / blockBytes));
    public long BytesOf(int block) => Math.Min(length, (block + 1L) * blockBytes) - (long)block * blockBytes;
    public string At(long line) => $"{Path}, line {line},";

    /// <summary>Bytes from the first line's start to the last line's end; none where a long line covers the block.</summary>
    public ReadOnlyMemory<byte> Load(int block)
    {
        var (from, to) = ((long)block * blockBytes, Math.Min(length, (block + 1L) * blockBytes));
        var start = from == 0 ? 0 : LineStart(from, to);
        if (start >= to) return default;
        var end = LineStart(to, Math.Min(length, to + MaxLineBytes));
        if (end == to + MaxLineBytes && end < length)
            throw new InputException($"{Path} has a line of more than {MaxLineBytes} bytes after line {LinesBefore(block) + 1}; "
                + "is it a JSON Lines file, with one object per line?");
        var bytes = Read(start, checked((int)(end - start)));
        return start == 0 && bytes.Span.StartsWith("\uFEFF"u8) ? bytes[3..] : bytes;
    }

    public long LinesBefore(int block)
    {
        var (from, sum) = ((long)block * blockBytes, 0L);
        for (var b = 0; b < block; b++)
        {
            if (lineEnds[b] < 0) lineEnds[b] = Count((long)b * blockBytes, Math.Min(length, (b + 1L) * blockBytes));
            sum += lineEnds[b];
        }
        // The line that goes on into this block is not one of its own.
        return block > 0 && from < length && Read(from - 1, 1).Span[0] != '\n' ? sum + 1 : sum;
    }

    /// <summary>Some blocks; the first and the last are among them.</summary>
    public void AddSample(IncrementalHash hash)
    {
        const int samples = 8;
        foreach (var block in Enumerable.Range(0, samples).Select(i => (int)((Blocks - 1L) * i / (samples - 1))).Distinct().Where(b => b >= 0)) hash.AppendData(Load(block).Span);
    }

    public void Dispose() => stream.Dispose();

    /// <summary>The lines of a block that are not white space, with their numbers in it, from 1.</summary>
    public static IEnumerable<(int Line, ReadOnlyMemory<byte> Bytes)> Lines(ReadOnlyMemory<byte> block)
    {
        for (var line = 1; !block.IsEmpty; line++)
        {
            var end = block.Span.IndexOf((byte)'\n');
            var bytes = end < 0 ? block : block[..end];
            block = end < 0 ? default : block[(end + 1)..];
            if (bytes.Span.ContainsAnyExcept(" \t\r"u8)) yield return (line, bytes);
        }
    }

    /// <summary>The first place from <paramref name="at"/> on, and before <paramref name="limit"/>, behind a line end; else the limit.</summary>
    long LineStart(long at, long limit)
    {
        for (at--; at < limit;)
        {
            var bytes = Read(at, (int)Math.Min(Piece, limit - at)).Span;
            var found = bytes.IndexOf((byte)'\n');
            if (found >= 0) return Math.Min(limit, at + found + 1);
            at += bytes.Length;
        }
        return limit;
    }

    long Count(long from, long to)
    {
        var count = 0L;
        for (; from < to; from += Piece) count += Read(from, (int)Math.Min(Piece, to - from)).Span.Count((byte)'\n');
        return count;
    }

    ReadOnlyMemory<byte> Read(long at, int count)
    {
        if (content is not null) return content.AsMemory((int)at, count);
        var buffer = new byte[count];
        try
        {
            for (var done = 0; done < count;)
            {
                var read = RandomAccess.Read(stream.SafeFileHandle, buffer.AsSpan(done), at + done);
                if (read == 0) throw new InputException($"{Path} became shorter while it was read; it had {length} bytes and ends after {at + done}.");
                done += read;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{Path} cannot be read: {e.Message}");
        }
        return buffer;
    }
}
