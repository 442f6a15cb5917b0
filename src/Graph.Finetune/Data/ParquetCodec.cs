using System;
using System.IO;
using System.IO.Compression;
using K4os.Compression.LZ4;
using Parquet.Meta;
using Snappier;

namespace Graph.Finetune.Data;

/// <summary>
/// Decompresses pages to exactly the bytes that they say they have: Parquet.Net's own codecs make what the page's content asks for, or leave what is missing as it was in memory.
/// </summary>
static class ParquetCodec
{
    /// <exception cref="InvalidDataException">The page is damaged, has other bytes, or is of a codec that is not read.</exception>
    public static byte[] Decompress(CompressionCodec codec, ReadOnlySpan<byte> from, int length)
    {
        var most = Most(codec, from.Length);
        var to = length <= most ? new byte[length] : [];
        try
        {
            // Values that are all null have no bytes, not even a codec's own.
            if (length > most || !(from.IsEmpty && length == 0) && Write(codec, from, to) != length) throw new InvalidDataException();
        }
        catch (Exception e) when (e is InvalidDataException or InvalidOperationException or IOException or ZstdSharp.ZstdException)
        {
            throw new InvalidDataException($"a page of {from.Length} bytes ({codec}) does not give {length}");
        }
        return to;
    }

    /// <summary>The most bytes that so many can give.</summary>
    /// <exception cref="InvalidDataException">The codec is not read.</exception>
    public static long Most(CompressionCodec codec, int from) => codec switch
    {
        CompressionCodec.UNCOMPRESSED => from,
        // A copy of 64 bytes has 3.
        CompressionCodec.SNAPPY => 22L * from,
        // A byte makes a copy longer by 255.
        CompressionCodec.LZ4_RAW or CompressionCodec.LZ4 => 255L * from,
        // A copy of 258 bytes has 2 bits.
        CompressionCodec.GZIP => 1032L * from,
        // A block of 128 KiB of one byte has 4.
        CompressionCodec.ZSTD => 32768L * from,
        CompressionCodec.BROTLI => long.MaxValue,
        _ => throw new InvalidDataException($"pages are compressed by {codec}; none, snappy, gzip, zstd, lz4 and brotli can be read"),
    };

    /// <summary>The first bytes of a page, where they can be had without all of it.</summary>
    /// <param name="from">All of the page's content, or its beginning.</param>
    /// <exception cref="InvalidDataException">It is damaged, or more of it is needed.</exception>
    public static Stream Open(CompressionCodec codec, ReadOnlySpan<byte> from, int length) => codec switch
    {
        CompressionCodec.UNCOMPRESSED => Stream(from),
        CompressionCodec.ZSTD => new ZstdSharp.DecompressionStream(Stream(from), leaveOpen: false),
        CompressionCodec.GZIP => new GZipStream(Stream(from), CompressionMode.Decompress),
        CompressionCodec.BROTLI => new BrotliStream(Stream(from), CompressionMode.Decompress),
        _ => new MemoryStream(Decompress(codec, from, length), writable: false),
    };

    static int Write(CompressionCodec codec, ReadOnlySpan<byte> from, Span<byte> to) => codec switch
    {
        CompressionCodec.UNCOMPRESSED => from.TryCopyTo(to) ? from.Length : -1,
        // Snappier makes room for as many bytes as the content says.
        CompressionCodec.SNAPPY => Snappy.GetUncompressedLength(from) == to.Length && Snappy.TryDecompress(from, to, out var n) ? n : -1,
        CompressionCodec.ZSTD => Zstd(from, to),
        CompressionCodec.LZ4_RAW or CompressionCodec.LZ4 => to.IsEmpty ? 0 : LZ4Codec.Decode(from, to),
        CompressionCodec.GZIP => Inflate(new GZipStream(Stream(from), CompressionMode.Decompress), to),
        _ => Inflate(new BrotliStream(Stream(from), CompressionMode.Decompress), to),
    };

    static int Zstd(ReadOnlySpan<byte> from, Span<byte> to)
    {
        using var zstd = new ZstdSharp.Decompressor();
        return zstd.TryUnwrap(from, to, out var written) ? written : -1;
    }

    static int Inflate(Stream from, Span<byte> to)
    {
        using (from)
        {
            var read = from.ReadAtLeast(to, to.Length, throwOnEndOfStream: false);
            return from.ReadByte() < 0 ? read : -1;
        }
    }

    static MemoryStream Stream(ReadOnlySpan<byte> from) => new(from.ToArray(), writable: false);
}
