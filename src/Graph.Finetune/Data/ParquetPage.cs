using System;
using System.Buffers.Binary;
using System.IO;
using Parquet.Meta;

namespace Graph.Finetune.Data;

/// <summary>
/// The header of a page. Levels: bytes of repetition and definition levels that stand before the values,
/// which pages of version 2 say; null: version 1, where each has its length before it.
/// </summary>
/// <param name="At">Where the page's content is in the file.</param>
/// <param name="Plain">The values are not compressed, whatever the column's codec.</param>
sealed record ParquetPage(PageType Type, long At, int Compressed, int Uncompressed, int Values, int Encoding, (int Repetition, int Definition)? Levels, bool Plain)
{
    /// <summary>Pages are read as a whole.</summary>
    public const int MostBytes = 128 << 20;

    public const int MostValues = 1 << 24;

    const int Rle = 3;

    /// <summary>The header that begins with these bytes of the file, which may be more.</summary>
    /// <param name="at">Where they are in the file.</param>
    /// <exception cref="InvalidDataException">It is damaged, cut, or of a page that is too large.</exception>
    public static ParquetPage Read(ReadOnlySpan<byte> bytes, long at, bool levels)
    {
        var thrift = new CompactThrift(bytes);
        var (type, uncompressed, compressed, page) = (-1L, -1L, -1L, (Values: 0L, Encoding: 0L, Levels: ((int, int)?)null, Plain: false));
        for (var id = 0; thrift.Next(ref id, out var wire);)
        {
            switch (id, wire)
            {
                case (1, Wire.I32): type = thrift.Number(); break;
                case (2, Wire.I32): uncompressed = thrift.Number(); break;
                case (3, Wire.I32): compressed = thrift.Number(); break;
                case (5 or 7, Wire.Struct): page = Version1(ref thrift, levels && id == 5); break;
                case (8, Wire.Struct): page = Version2(ref thrift); break;
                default: thrift.Skip(wire); break;
            }
        }
        if (uncompressed is < 0 or > MostBytes || compressed is < 0 or > MostBytes)
            throw new InvalidDataException($"a page has {Math.Max(uncompressed, compressed)} bytes; write pages of at most {MostBytes}, 1 MiB is usual");
        if (page.Values is < 0 or > MostValues) throw new InvalidDataException($"a page has {page.Values} values; write pages of at most {MostValues}");
        return new ParquetPage((PageType)type, at + thrift.At, (int)compressed, (int)uncompressed, (int)page.Values, (int)page.Encoding, page.Levels, page.Plain);
    }

    static (long, long, (int, int)?, bool) Version1(ref CompactThrift thrift, bool levels)
    {
        var (values, encoding) = (0L, 0L);
        for (var id = 0; thrift.Next(ref id, out var wire);)
        {
            switch (id, wire)
            {
                case (1, Wire.I32): values = thrift.Number(); break;
                case (2, Wire.I32): encoding = thrift.Number(); break;
                case (3 or 4, Wire.I32) when thrift.Number() is not Rle and var odd
                && levels: throw new InvalidDataException($"levels have the encoding {odd}; only RLE can be read");
                case (3 or 4, Wire.I32): break;
                default: thrift.Skip(wire); break;
            }
        }
        return (values, encoding, null, false);
    }

    static (long, long, (int, int)?, bool) Version2(ref CompactThrift thrift)
    {
        var (values, encoding, definition, repetition, plain) = (0L, 0L, 0L, 0L, false);
        for (var id = 0; thrift.Next(ref id, out var wire);)
        {
            switch (id, wire)
            {
                case (1, Wire.I32): values = thrift.Number(); break;
                case (4, Wire.I32): encoding = thrift.Number(); break;
                case (5, Wire.I32): definition = thrift.Number(); break;
                case (6, Wire.I32): repetition = thrift.Number(); break;
                case (7, Wire.True or Wire.False): plain = wire == Wire.False; break;
                default: thrift.Skip(wire); break;
            }
        }
        return definition is < 0 or > MostBytes || repetition is < 0 or > MostBytes
            ? throw new InvalidDataException($"a page has {repetition} and {definition} bytes of levels") : (values, encoding, ((int)repetition, (int)definition), plain);
    }

    /// <summary>The page as one of version 1 that is not compressed.</summary>
    /// <exception cref="InvalidDataException">Its content is damaged.</exception>
    public byte[] Decode(ReadOnlySpan<byte> content, CompressionCodec codec)
    {
        if (Levels is not var (repetition, definition)) return ParquetCodec.Decompress(codec, content, Uncompressed);
        var levels = repetition + definition;
        if (levels > content.Length || levels > Uncompressed) throw new InvalidDataException($"a page of {content.Length} bytes has {levels} of levels");
        var values = ParquetCodec.Decompress(Plain ? CompressionCodec.UNCOMPRESSED : codec, content[levels..], Uncompressed - levels);
        var to = new byte[(repetition > 0 ? 4 : 0) + (definition > 0 ? 4 : 0) + levels + values.Length];
        var rest = to.AsSpan();
        foreach (var part in new[] { content[..repetition].ToArray(), content[repetition..levels].ToArray() })
        {
            if (part.Length == 0) continue;
            BinaryPrimitives.WriteInt32LittleEndian(rest, part.Length);
            part.CopyTo(rest[4..]);
            rest = rest[(4 + part.Length)..];
        }
        values.CopyTo(rest);
        return to;
    }

    /// <summary>Writes the page as one of version 1 that is not compressed.</summary>
    public void Write(MemoryStream to, byte[] decoded)
    {
        ThriftWriter.Field(to, 1, Wire.I32);
        ThriftWriter.Number(to, (int)(Type == PageType.DICTIONARY_PAGE ? Type : PageType.DATA_PAGE));
        foreach (var id in new[] { 2, 3 })
        {
            ThriftWriter.Field(to, id, Wire.I32);
            ThriftWriter.Number(to, decoded.Length);
        }
        ThriftWriter.Field(to, Type == PageType.DICTIONARY_PAGE ? 7 : 5, Wire.Struct);
        foreach (var (id, value) in new[] { (1, Values), (2, Encoding), (3, Rle), (4, Rle) })
        {
            if (Type == PageType.DICTIONARY_PAGE && id > 2) continue;
            ThriftWriter.Field(to, id, Wire.I32);
            ThriftWriter.Number(to, value);
        }
        to.Write([0, 0]);
        to.Write(decoded);
    }

    /// <summary>How many rows begin in the page, and whether it begins inside of one: zeros among the repetition levels, and the first of them.</summary>
    /// <param name="content">The page's content, of a column whose values are on lists, once; or its beginning.</param>
    /// <exception cref="InvalidDataException">The levels are damaged, or more of the content is needed.</exception>
    public (int Rows, bool Inside) Rows(ReadOnlySpan<byte> content, CompressionCodec codec)
    {
        if (Values == 0) return (0, false);
        if (Levels is var (repetition, _)) return repetition <= content.Length ? Rows(content[..repetition]) : throw new InvalidDataException("a page has no repetition levels");
        using var decoded = ParquetCodec.Open(codec, content, Uncompressed);
        Span<byte> head = stackalloc byte[4];
        var length = decoded.ReadAtLeast(head, 4, throwOnEndOfStream: false) == 4 ? BinaryPrimitives.ReadInt32LittleEndian(head) : -1;
        if (length < 0 || length > Uncompressed - 4) throw new InvalidDataException("a page has no repetition levels");
        var levels = new byte[length];
        if (decoded.ReadAtLeast(levels, length, throwOnEndOfStream: false) < length) throw new InvalidDataException("repetition levels end too soon");
        return Rows(levels);
    }

    (int, bool) Rows(ReadOnlySpan<byte> levels)
    {
        // The hybrid of runs and packed bits, of one bit a value.
        var (at, seen, zeros, first) = (0, 0, 0, -1);
        while (seen < Values)
        {
            var header = 0U;
            for (var shift = 0; ; shift += 7)
            {
                if (at >= levels.Length || shift > 28) throw new InvalidDataException("repetition levels end too soon");
                header |= (uint)(levels[at] & 127) << shift;
                if (levels[at++] < 128) break;
            }
            var packed = (header & 1) == 1;
            var bytes = packed ? (long)(header >> 1) : 1;
            if (bytes == 0 || bytes > levels.Length - at) throw new InvalidDataException("repetition levels end too soon");
            var count = (int)Math.Min(packed ? 8 * bytes : header >> 1, Values - seen);
            if (first < 0 && count > 0) first = levels[at] & 1;
            if (!packed) zeros += (levels[at] & 1) == 0 ? count : 0;
            else for (var i = 0; i < count; i++) zeros += 1 - (levels[at + i / 8] >> (i % 8) & 1);
            (at, seen) = (at + (int)bytes, seen + count);
        }
        return (zeros, first == 1);
    }
}
