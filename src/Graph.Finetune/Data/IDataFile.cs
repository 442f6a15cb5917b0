using System;

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

    /// <summary>The start of a sentence about a line: the file and its number, from 1.</summary>
    string At(long line);
}
