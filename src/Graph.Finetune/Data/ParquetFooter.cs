using System;
using System.Buffers.Binary;
using System.IO;

namespace Graph.Finetune.Data;

/// <summary>The footer of a Parquet file: its schema, and where the pages of its columns are. Source: parquet.thrift.</summary>
static class ParquetFooter
{
    const int MostBytes = 64 << 20;

    static readonly ThriftStruct Empty = new();

    // Of logical types those that say how a number or a text is read.
    static readonly ThriftStruct Logical = new((1, Of(Empty)), (3, Of(Empty)), (4, Of(Empty)), (10, Of(new ThriftStruct((1, new(Wire.Byte)), (2, new(Wire.True))))),
        (12, Of(Empty)));

    static readonly ThriftStruct Schema = new((1, new(Wire.I32)), (2, new(Wire.I32)), (3, new(Wire.I32)), (4, new(Wire.Binary)), (5, new(Wire.I32)), (6, new(Wire.I32)),
        (7, new(Wire.I32)), (8, new(Wire.I32)), (10, Of(Logical)));

    static readonly ThriftStruct Chunk = new((1, new(Wire.Binary)), (2, new(Wire.I64)),
        (3, Of(new ThriftStruct((1, new(Wire.I32)), (2, Many(Wire.I32)), (3, Many(Wire.Binary)), (4, new(Wire.I32)), (5, new(Wire.I64)), (6, new(Wire.I64)), (7, new(Wire.I64)),
            (9, new(Wire.I64)), (11, new(Wire.I64))))));

    static readonly ThriftStruct Group = new((1, Many(Wire.Struct, Chunk)), (2, new(Wire.I64)), (3, new(Wire.I64)));

    static readonly ThriftStruct File = new((1, new(Wire.I32)), (2, Many(Wire.Struct, Schema)), (3, new(Wire.I64)), (4, Many(Wire.Struct, Group)));

    /// <summary>A file that has this one's footer, with what is read of it alone, and no pages. Ends: where the pages end.</summary>
    /// <exception cref="InvalidDataException">The footer is damaged.</exception>
    public static (byte[] File, byte[] Footer, long Ends) Read(FileStream stream)
    {
        var length = RandomAccess.GetLength(stream.SafeFileHandle);
        Span<byte> end = stackalloc byte[8];
        if (length < 12 || RandomAccess.Read(stream.SafeFileHandle, end, length - 8) != 8) throw new InvalidDataException($"it has {length} bytes");
        if (end[4..].SequenceEqual("PARE"u8)) throw new InvalidDataException("it is encrypted");
        if (!end[4..].SequenceEqual("PAR1"u8)) throw new InvalidDataException("it does not end as a Parquet file does; it is cut short");
        var size = BinaryPrimitives.ReadUInt32LittleEndian(end);
        if (size > length - 12) throw new InvalidDataException($"its footer has {size} bytes, but the file only {length}");
        if (size > MostBytes) throw new InvalidDataException($"its footer has {size} bytes; {MostBytes} are the most that can be read");
        var footer = new byte[size];
        for (var done = 0; done < footer.Length;)
        {
            var read = RandomAccess.Read(stream.SafeFileHandle, footer.AsSpan(done), length - 8 - size + done);
            done += read > 0 ? read : throw new InvalidDataException("it became shorter while it was read");
        }
        using var copy = new MemoryStream();
        copy.Write("PAR1"u8);
        new CompactThrift(footer).Copy(File, copy);
        BinaryPrimitives.WriteInt32LittleEndian(end, (int)copy.Length - 4);
        copy.Write(end);
        return (copy.ToArray(), footer, length - 8 - size);
    }

    static ThriftField Of(ThriftStruct layout) => new(Wire.Struct, layout);

    static ThriftField Many(Wire of, ThriftStruct? layout = null) => new(Wire.List, layout, of);
}
