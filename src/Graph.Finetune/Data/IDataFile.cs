using System;
using System.IO;
using System.Security.Cryptography;

namespace Graph.Finetune.Data;

/// <summary>A file of examples as blocks, each of which is read by itself, in any order, by several threads at once.</summary>
interface IDataFile : IDisposable
{
    string Path { get; }

    int Blocks { get; }

    /// <summary>Bytes of the file that a block stands for.</summary>
    long BytesOf(int block);

    /// <summary>The block as JSON Lines.</summary>
    /// <exception cref="InputException">It cannot be read.</exception>
    ReadOnlyMemory<byte> Load(int block);

    /// <summary>Lines before a block.</summary>
    long LinesBefore(int block);

    /// <summary>Adds what tells the file from others without reading all of it.</summary>
    void AddSample(IncrementalHash hash);

    /// <summary>The start of a sentence about a line: the file and its number, from 1.</summary>
    string At(long line);
}

static class DataFile
{
    /// <summary>A Parquet file, known by its first bytes, or JSON Lines.</summary>
    /// <exception cref="InputException">There is no such file, or it cannot be read.</exception>
    public static IDataFile Open(string path, int blockBytes = JsonLinesFile.DefaultBlockBytes)
    {
        if (Directory.Exists(path)) throw new InputException($"'{path}' is a directory; give a data file.");
        if (!File.Exists(path)) throw new InputException($"there is no data file '{path}'.");
        try
        {
            var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1);
            return ParquetFile.Is(stream) ? new ParquetFile(path, stream, 4L * blockBytes) : new JsonLinesFile(path, stream, blockBytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }
}
