using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Checkpoints;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

/// <summary>A header is not believed: each rule of the format has a file that breaks it.</summary>
public class SafetensorsTests
{
    static byte[] File(string header, int dataBytes, long? length = null) =>
        [.. BitConverter.GetBytes(length ?? Encoding.UTF8.GetByteCount(header)), .. Encoding.UTF8.GetBytes(header), .. Enumerable.Range(0, dataBytes).Select(i => (byte)i)];

    const string Two = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]}}";

    [Fact]
    public void Open_TwoTensors_GivesTheirBytes()
    {
        using var scratch = new Scratch();
        using var file = SafetensorsFile.Open(scratch.File("x", File(Two + "   ", 20)));
        Assert.Equal(["a", "b"], file.Tensors.Keys.Order());
        Assert.Equal([2L, 3L], file.Tensors["b"].Shape);
        Assert.Equal([10, 11, 12], file.Bytes(file.Tensors["b"], 2, 3).ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(file.Tensors["b"], 10, 3).Length);
    }

    public static TheoryData<string, string, int> Broken => new()
    {
        { "[]", "does not begin with", 0 },
        { "{\"a\":1}", "not an object with dtype", 0 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "lacks data_offsets", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", "has more = 1", 8 },
        { "{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", "not known here", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "needs 12 bytes", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "no whole number", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,8]}}", "no whole number", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,4],\"data_offsets\":[0,8]}}", "do not fit in 63 bits", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "before its begin", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", "must be [begin, end]", 8 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", "is not JSON", 16 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", "inside the tensor before it", 12 },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", "bytes between tensors", 20 },
        { Two, "need 20 bytes of data but 19", 19 },
        { Two, "belongs to none", 21 },
        { "{\"__metadata__\":{\"a\":1}}", "only strings", 0 },
        { "{\"a\":", "is not JSON", 0 },
    };

    [Theory, MemberData(nameof(Broken))]
    public void Open_BrokenRule_NamesIt(string header, string says, int dataBytes)
    {
        using var scratch = new Scratch();
        Assert.Contains(says, Assert.Throws<InputException>(() => SafetensorsFile.Open(scratch.File("x", File(header, dataBytes))).Dispose()).Message);
    }

    [Theory]
    [InlineData(0), InlineData(1L << 40), InlineData(-1), InlineData(long.MaxValue), InlineData(long.MinValue)]
    public void Open_HeaderLengthThatLies_IsRefused(long length)
    {
        using var scratch = new Scratch();
        Assert.Throws<InputException>(() => SafetensorsFile.Open(scratch.File("x", File(Two, 20, length))).Dispose());
    }

    [Fact]
    public void Open_EveryTruncationAndEveryFlippedByte_IsRefusedOrReadWhole()
    {
        using var scratch = new Scratch();
        var whole = File(Two, 20);
        for (var length = 0; length < whole.Length; length++) Assert.Throws<InputException>(() => SafetensorsFile.Open(scratch.File("x", whole[..length])).Dispose());
        for (var at = 0; at < whole.Length - 20; at++)
        {
            var changed = (byte[])whole.Clone();
            changed[at] ^= (byte)(1 << (at % 8));
            try
            {
                // What is still a file must give every byte that it promises.
                using var file = SafetensorsFile.Open(scratch.File("x", changed));
                foreach (var entry in file.Tensors.Values) Assert.Equal(entry.Length, file.Bytes(entry, 0, (int)entry.Length).ToArray().Length);
            }
            catch (InputException)
            {
            }
        }
    }

    [Fact]
    public void Write_ThenOpen_GivesTheSameTensors()
    {
        using var scratch = new Scratch();
        var path = Path.Combine(scratch.Path, "x");
        SafetensorsWriter.Write(path, [new("b", "BF16", [1, 3], new byte[] { 1, 2, 3, 4, 5, 6 }), new("a", "F32", [1], new byte[] { 7, 8, 9, 10 })],
            new Dictionary<string, string> { ["format"] = "pt" });
        using var file = SafetensorsFile.Open(path);
        Assert.Equal([1, 2, 3, 4, 5, 6], file.Bytes(file.Tensors["b"], 0, 6).ToArray());
        Assert.Equal([7, 8, 9, 10], file.Bytes(file.Tensors["a"], 0, 4).ToArray());
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(path, [new("a", "F32", [2], new byte[4])], new Dictionary<string, string>()));
    }

    [Fact]
    public void Bytes_FileThatShrankOrChangedSinceItWasOpened_IsRefused()
    {
        using var scratch = new Scratch();
        var path = scratch.File("x", File(Two, 20));
        using (var file = SafetensorsFile.Open(path))
        {
            using (var stream = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) stream.SetLength(stream.Length - 5);
            Assert.Contains("cut short", Assert.Throws<InputException>(() => file.Bytes(file.Tensors["b"], 0, 12).Length).Message);
        }
        scratch.File("x", File(Two, 20));
        using (var file = SafetensorsFile.Open(path))
        {
            Assert.Equal(8, file.Bytes(file.Tensors["a"], 0, 8).Length);
            using (var stream = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) stream.Write([1]);
            System.IO.File.SetLastWriteTimeUtc(path, DateTime.UnixEpoch);
            Assert.Contains("changed while it was read", Assert.Throws<InputException>(() => file.Bytes(file.Tensors["a"], 0, 8).Length).Message);
        }
    }

    [Fact]
    public void Read_LongTensor_IsTheFilesBytesAndFindsTheFirstValueThatIsNotFinite()
    {
        using var scratch = new Scratch();
        var values = Enumerable.Range(0, 1_000_003).Select(i => i * 0.5f).ToArray();
        byte[] Bytes() => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).ToArray();
        SafetensorsFile Open()
        {
            SafetensorsWriter.Write(Path.Combine(scratch.Path, "x"), [new("t", "F32", [1_000_003], Bytes())], new Dictionary<string, string>());
            return SafetensorsFile.Open(Path.Combine(scratch.Path, "x"));
        }
        var read = new byte[4_000_000];
        using (var file = Open()) file.Read(file.Tensors["t"], 12, read, Graph.Runtime.Execution.StoredType.F32);
        Assert.Equal(Bytes()[12..4_000_012], read);
        (values[700_001], values[900_000]) = (float.NaN, float.PositiveInfinity);
        using (var file = Open())
            Assert.Contains("NaN at [700001]", Assert.Throws<InputException>(() => file.Read(file.Tensors["t"], 12, read, Graph.Runtime.Execution.StoredType.F32)).Message);
    }
}
