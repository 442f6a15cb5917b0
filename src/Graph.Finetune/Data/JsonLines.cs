using System;
using System.Collections.Generic;
using System.IO;
using System.Text.Json;

namespace Graph.Finetune.Data;

/// <summary>The lines of a JSON Lines file, one after the other, so that a file may be larger than memory. Lines of white space are passed over; a byte order mark at the start is too.</summary>
static class JsonLines
{
    /// <summary>A line longer than this is no example.</summary>
    public const int MaxLineBytes = 256 << 20;

    /// <summary>Bytes of each line, without its end, valid until the next one is asked for; numbers from 1.</summary>
    /// <exception cref="InputException">The file cannot be read, or a line is too long.</exception>
    public static IEnumerable<(int Line, ReadOnlyMemory<byte> Bytes)> Read(string path)
    {
        using var stream = Open(path);
        var buffer = new byte[1 << 16];
        var (start, end, scanned, line, ended) = (0, 0, 0, 0, false);
        while (true)
        {
            var newline = Array.IndexOf(buffer, (byte)'\n', scanned, end - scanned);
            if (newline < 0 && !ended)
            {
                scanned = end - start;
                if (start > 0) Buffer.BlockCopy(buffer, start, buffer, 0, scanned);
                else if (end == buffer.Length && end >= MaxLineBytes) throw new InputException($"{path}, line {line + 1}, has more than {MaxLineBytes} bytes; is it a JSON Lines file, with one object per line?");
                else if (end == buffer.Length) Array.Resize(ref buffer, 2 * end);
                (start, end) = (0, scanned);
                var read = Fill(path, stream, buffer, end);
                (end, ended) = (end + read, read == 0);
                continue;
            }
            if (newline < 0 && start == end) yield break;
            line++;
            var stop = newline < 0 ? end : newline;
            if (line == 1 && buffer.AsSpan(start, stop - start).StartsWith("\uFEFF"u8)) start += 3;
            if (buffer.AsSpan(start, stop - start).ContainsAnyExcept(" \t\r"u8)) yield return (line, buffer.AsMemory(start, stop - start));
            start = scanned = newline < 0 ? end : newline + 1;
        }
    }

    /// <summary>Each line as a JSON object.</summary>
    /// <exception cref="InputException">A line is not UTF-8, not JSON or not an object; the sentence has the file and the line's number.</exception>
    public static IEnumerable<(int Line, JsonElement Fields)> ReadObjects(string path)
    {
        foreach (var (line, bytes) in Read(path))
        {
            using var document = Json.Parse(bytes, At(path, line));
            if (document.RootElement.ValueKind != JsonValueKind.Object) throw new InputException($"{At(path, line)} is {Json.Show(document.RootElement)}, not an object with the fields of an example.");
            yield return (line, document.RootElement);
        }
    }

    public static string At(string path, int line) => $"{path}, line {line},";

    static FileStream Open(string path)
    {
        if (Directory.Exists(path)) throw new InputException($"'{path}' is a directory; give a JSON Lines file.");
        if (!File.Exists(path)) throw new InputException($"there is no data file '{path}'.");
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }

    static int Fill(string path, FileStream stream, byte[] buffer, int at)
    {
        try
        {
            return stream.Read(buffer, at, buffer.Length - at);
        }
        catch (IOException e)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }
}
