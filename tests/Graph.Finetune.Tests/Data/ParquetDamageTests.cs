using System;
using System.IO;
using System.IO.Compression;
using System.Linq;
using Graph.Finetune.Data;
using K4os.Compression.LZ4;
using Parquet.Meta;
using Parquet.Schema;
using Snappier;
using Xunit;

namespace Graph.Finetune.Tests.Data;

/// <summary>Pages that state more than they have are refused before room is made for it, and pages that have much in few bytes are read.</summary>
public class ParquetDamageTests
{
    const int Much = 1 << 24;

    static readonly DataField Required = new ParquetSchema(new DataField<int>("x")).DataFields[0], Optional = new ParquetSchema(new DataField<int?>("x")).DataFields[0];

    static void IsRefused(string says, Action read)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        var message = Assert.Throws<InvalidDataException>(read).Message;
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
        Assert.Contains(says, message);
    }

    [Fact]
    public void Decompress_SnappyStatesHalfAGibibyte_IsRefused() =>
        IsRefused("a page of 7 bytes (SNAPPY) does not give 100", () => ParquetCodec.Decompress(CompressionCodec.SNAPPY, [0x80, 0x80, 0x80, 0x80, 2, 0, 0], 100));

    [Theory, InlineData("UNCOMPRESSED"), InlineData("SNAPPY"), InlineData("LZ4_RAW"), InlineData("GZIP"), InlineData("ZSTD")]
    public void Decompress_MoreThanTheCodecCanGive_IsRefused(string codec) =>
        IsRefused($"a page of 20 bytes ({codec}) does not give 100000000", () => ParquetCodec.Decompress(Enum.Parse<CompressionCodec>(codec), new byte[20], 100_000_000));

    [Theory, InlineData("SNAPPY"), InlineData("LZ4_RAW"), InlineData("GZIP"), InlineData("ZSTD"), InlineData("BROTLI")]
    public void Decompress_BytesThatAreNoneOfTheCodec_SaysSo(string codec) =>
        IsRefused($"a page of 20 bytes ({codec}) does not give 30",
            () => ParquetCodec.Decompress(Enum.Parse<CompressionCodec>(codec), Enumerable.Repeat((byte)0xFF, 20).ToArray(), 30));

    /// <summary>Zeros, which no bytes can be fewer for, and nothing at all.</summary>
    [Theory, InlineData("UNCOMPRESSED"), InlineData("SNAPPY"), InlineData("LZ4_RAW"), InlineData("GZIP"), InlineData("ZSTD"), InlineData("BROTLI")]
    public void Decompress_MuchInFewBytes_IsRead(string name)
    {
        var (codec, zeros) = (Enum.Parse<CompressionCodec>(name), new byte[Much]);
        var few = codec switch
        {
            CompressionCodec.SNAPPY => Snappy.CompressToArray(zeros),
            CompressionCodec.LZ4_RAW => Lz4(),
            CompressionCodec.GZIP => Through(to => new GZipStream(to, CompressionLevel.SmallestSize)),
            CompressionCodec.ZSTD => new ZstdSharp.Compressor(19).Wrap(zeros).ToArray(),
            CompressionCodec.BROTLI => Through(to => new BrotliStream(to, CompressionLevel.SmallestSize)),
            _ => zeros,
        };
        Assert.Equal(zeros, ParquetCodec.Decompress(codec, few, Much));
        Assert.Empty(ParquetCodec.Decompress(codec, [], 0));

        byte[] Lz4()
        {
            var to = new byte[LZ4Codec.MaximumOutputSize(Much)];
            return to[..LZ4Codec.Encode(zeros, to)];
        }

        byte[] Through(Func<Stream, Stream> open)
        {
            using var to = new MemoryStream();
            using (var stream = open(to)) stream.Write(zeros);
            return to.ToArray();
        }
    }

    [Fact]
    public void Read_MoreValuesThanTheRowGroupHasRows_IsRefused() =>
        IsRefused($"it has {Much} values, but its row group 3 rows", () => Read(Optional, Much, 3, Page(PageType.DATA_PAGE, Encoding.PLAIN, Much, new byte[12])));

    [Fact]
    public void Read_MoreEntriesThanTheDictionaryHasBytesFor_IsRefused() =>
        IsRefused($"a page of 12 bytes cannot have {Much} values", () => Read(Required, 3, 3, Page(PageType.DICTIONARY_PAGE, Encoding.PLAIN, Much, new byte[12])));

    [Fact]
    public void Read_MorePlainValuesThanBytes_IsRefused() =>
        IsRefused($"a page of 12 bytes cannot have {Much} values", () => Read(Required, Much, Much, Page(PageType.DATA_PAGE, Encoding.PLAIN, Much, new byte[12])));

    [Fact]
    public void Read_PageOfMoreThanItsCodecCanGive_IsRefused() =>
        IsRefused("a page of 12 bytes (SNAPPY) cannot give 100000000",
            () => Read(Required, 3, 3, Page(PageType.DATA_PAGE, Encoding.PLAIN, 3, new byte[12], 100_000_000), CompressionCodec.SNAPPY));

    /// <summary>A run of definition levels 0 makes a million nulls of few bytes.</summary>
    [Fact]
    public void Read_ManyNullsInFewBytes_AreRead()
    {
        var page = Page(PageType.DATA_PAGE, Encoding.PLAIN, 1 << 20, [4, 0, 0, 0, 0x80, 0x80, 0x80, 1, 0]);
        Assert.Equal(1 << 20, Read(Optional, 1 << 20, 1 << 20, page).Values);
    }

    /// <summary>A run of one entry of the dictionary, of a column without levels.</summary>
    [Fact]
    public void Read_ManyEqualValuesInFewBytes_AreRead()
    {
        byte[] pages = [.. Page(PageType.DICTIONARY_PAGE, Encoding.PLAIN, 3, new byte[12]),
            .. Page(PageType.DATA_PAGE, Encoding.RLE_DICTIONARY, 1 << 20, [2, 0x80, 0x80, 0x80, 1, 2])];
        Assert.Equal(1 << 20, Read(Required, 1 << 20, 1 << 20, pages).Values);
    }

    static ParquetPart Read(DataField leaf, long values, long rows, byte[] pages, CompressionCodec codec = CompressionCodec.UNCOMPRESSED)
    {
        using var scratch = new Scratch();
        byte[] bytes = [.. "PAR1"u8, .. pages];
        using var file = File.OpenHandle(scratch.File("pages", bytes));
        var meta = new ColumnMetaData { Type = global::Parquet.Meta.Type.INT32, Codec = codec, NumValues = values,
            TotalCompressedSize = pages.Length, TotalUncompressedSize = pages.Length, DataPageOffset = 4 };
        return new ParquetChunk(file, meta, bytes.Length, leaf, rows).Read(0, rows, whole: true);
    }

    static byte[] Page(PageType type, Encoding encoding, int values, byte[] content, int? uncompressed = null)
    {
        using var to = new MemoryStream();
        Number(1, (int)type);
        Number(2, uncompressed ?? content.Length);
        Number(3, content.Length);
        ThriftWriter.Field(to, type == PageType.DICTIONARY_PAGE ? 7 : 5, Wire.Struct);
        Number(1, values);
        Number(2, (int)encoding);
        to.Write([0, 0]);
        to.Write(content);
        return to.ToArray();

        void Number(int id, long value)
        {
            ThriftWriter.Field(to, id, Wire.I32);
            ThriftWriter.Number(to, value);
        }
    }
}
