using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;
using Parquet.Meta;
using Parquet.Schema;
using PhysicalType = Parquet.Meta.Type;

namespace Graph.Finetune.Data;

/// <summary>Some pages of a column as Parquet.Net reads them. FirstRow: the first row that begins in them.</summary>
sealed record ParquetPart(MemoryStream Content, int Values, long FirstRow);

/// <summary>A column of a row group: where its pages are, and which rows they have.</summary>
/// <param name="ends">Where the file's pages end.</param>
/// <param name="rows">Of the row group.</param>
sealed class ParquetChunk(SafeFileHandle file, ColumnMetaData meta, long ends, DataField leaf, long rows)
{
    readonly long start = Math.Min(meta.DictionaryPageOffset is > 0 and var d ? d : long.MaxValue, meta.DataPageOffset), length = meta.TotalCompressedSize, count = meta.NumValues;
    readonly CompressionCodec codec = meta.Codec;
    ParquetPage? dictionary;
    List<ParquetPage>? pages;
    // The row that begins first in each page, and the number of rows behind the last; pages that begin inside of a row.
    (long[] First, bool[] Inside)? places;

    /// <summary>Bytes once decompressed, as the file says.</summary>
    public long Bytes { get; } = Math.Clamp(meta.TotalUncompressedSize, 0, 1L << 50);

    /// <summary>The pages that rows from <paramref name="from"/> to <paramref name="to"/> of the row group are on.</summary>
    /// <param name="whole">These are all rows, so no page needs to be looked for.</param>
    /// <exception cref="InvalidDataException">A page is damaged or too large.</exception>
    public ParquetPart Read(long from, long to, bool whole)
    {
        pages ??= Scan();
        var range = whole ? 0..pages.Count : Find(from, to);
        var content = new EndingStream();
        // Parquet.Net takes no column to begin at 0.
        content.WriteByte(0);
        dictionary?.Write(content, Decode(dictionary));
        var values = 0L;
        foreach (var page in pages.Take(range))
        {
            page.Write(content, Decode(page));
            values += page.Values;
        }
        // What Parquet.Net finds in place of the whole column.
        (meta.NumValues, meta.DataPageOffset, meta.DictionaryPageOffset, meta.Codec) = (values, 1, null, CompressionCodec.UNCOMPRESSED);
        if (values > 2 * ParquetPage.MostValues) throw new InvalidDataException($"{values} values belong to one part of it; write pages of at most {ParquetPage.MostValues / 16}");
        return new ParquetPart(content, (int)values, whole ? 0 : places!.Value.First[range.Start.Value]);
    }

    Range Find(long from, long to)
    {
        var (first, inside) = places ??= Places();
        if (first[^1] < to) throw new InvalidDataException($"a column has {first[^1]} rows where {to} are due");
        var begin = Array.FindLastIndex(first, first.Length - 2, row => row <= from);
        // Pages in which no row begins have their row from the one before.
        while (begin > 0 && first[begin] == first[begin + 1]) begin--;
        var end = begin;
        while (end < pages!.Count && (first[end] < to || first[end] == to && inside[end])) end++;
        return begin..end;
    }

    (long[], bool[]) Places()
    {
        var (first, inside) = (new long[pages!.Count + 1], new bool[pages.Count]);
        // Only lists need to be looked into: a row may have any number of values there.
        var rows = pages.Select(p => p.Values).ToArray();
        if (leaf.MaxRepetitionLevel > 0) Parallel.For(0, pages.Count, i => (rows[i], inside[i]) = Rows(pages[i]));
        for (var i = 0; i < rows.Length; i++) first[i + 1] = first[i] + rows[i];
        return inside.Length > 0 && inside[0] ? throw new InvalidDataException("a row group begins inside of a row") : (first, inside);
    }

    (int, bool) Rows(ParquetPage page)
    {
        // Levels are at its beginning, and codecs work in blocks of at most 128 KiB.
        const int beginning = 1 << 17;
        try
        {
            return page.Rows(Take(page.At, Math.Min(page.Compressed, beginning)), codec);
        }
        catch (Exception e) when (page.Compressed > beginning && e is not OutOfMemoryException)
        {
            return page.Rows(Take(page.At, page.Compressed), codec);
        }
    }

    List<ParquetPage> Scan()
    {
        if (start < 4 || length < 0 || start > ends - length) throw new InvalidDataException($"{length} bytes of pages at {start} are not in the file");
        // A null, an empty list and a list that is null count as values, too.
        if (leaf.MaxRepetitionLevel == 0 ? count != rows : count < rows) throw new InvalidDataException($"it has {count} values, but its row group {rows} rows");
        var (found, at, seen) = (new List<ParquetPage>(), start, 0L);
        while (seen < count)
        {
            var page = Header(at);
            if (page.Compressed > start + length - page.At) throw new InvalidDataException($"a page of {page.Compressed} bytes at {page.At} is larger than its column");
            at = page.At + page.Compressed;
            switch (page.Type)
            {
                case PageType.DICTIONARY_PAGE when dictionary is null && found.Count == 0: dictionary = Possible(page); break;
                case PageType.DATA_PAGE or PageType.DATA_PAGE_V2 when (page.Type == PageType.DATA_PAGE_V2) == page.Levels is not null:
                    found.Add(Possible(page));
                    seen += page.Values;
                    break;
                case PageType.INDEX_PAGE: break;
                default: throw new InvalidDataException($"there is a page of type {(int)page.Type} at {page.At}");
            }
        }
        return seen == count ? found : throw new InvalidDataException($"pages have {seen} values where {count} are due");
    }

    // What is stated is made room for: no more of it than the bytes that are there can mean.
    ParquetPage Possible(ParquetPage page)
    {
        if (page.Uncompressed > ParquetCodec.Most(codec, page.Compressed))
            throw new InvalidDataException($"a page of {page.Compressed} bytes ({codec}) cannot give {page.Uncompressed}");
        // Levels, indices and differences of any number of values may be a few bytes; values that stand there one by one are not.
        var plain = page.Type == PageType.DICTIONARY_PAGE || leaf.MaxDefinitionLevel == 0 && page.Encoding == (int)Encoding.PLAIN;
        return plain && page.Values * LeastBits > 8L * page.Uncompressed
            ? throw new InvalidDataException($"a page of {page.Uncompressed} bytes cannot have {page.Values} values") : page;
    }

    // Of a value, plainly written; a text has its length before it.
    long LeastBits => meta.Type switch
    {
        PhysicalType.BOOLEAN => 1,
        PhysicalType.INT32 or PhysicalType.FLOAT or PhysicalType.BYTE_ARRAY => 32,
        PhysicalType.INT64 or PhysicalType.DOUBLE => 64,
        PhysicalType.INT96 => 96,
        _ => 8,
    };

    ParquetPage Header(long at)
    {
        // Most have less than a hundred bytes; those with statistics of long texts more.
        for (var size = 512; ; size *= 16)
        {
            var bytes = Take(at, (int)Math.Min(size, start + length - at));
            try
            {
                return ParquetPage.Read(bytes, at, leaf.MaxDefinitionLevel > 0);
            }
            catch (InvalidDataException) when (bytes.Length == size && size < 1 << 20)
            {
                // More of it may be there.
            }
        }
    }

    byte[] Decode(ParquetPage page) => page.Decode(Take(page.At, page.Compressed), codec);

    byte[] Take(long at, int count)
    {
        var bytes = new byte[count];
        for (var done = 0; done < count;)
        {
            var read = RandomAccess.Read(file, bytes.AsSpan(done), at + done);
            done += read > 0 ? read : throw new InvalidDataException("it became shorter while it was read");
        }
        return bytes;
    }

    // Parquet.Net takes the end of a stream for a byte.
    sealed class EndingStream : MemoryStream
    {
        public override int ReadByte() => Position < Length ? base.ReadByte() : throw new EndOfStreamException("a page ends too soon");
    }
}
