using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Checkpoints;
using Xunit;

namespace Graph.Finetune.Tests.Checkpoints;

public class SafetensorsAttackTests
{
    const string A = """{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""";

    sealed record Attack(string Name, string Says, byte[] File);

    // The first group is the reference implementation's own unit tests and attack files.
    static readonly Attack[] Attacks =
    [
        new("empty file", "has 0 bytes", []),
        new("seven bytes", "has 7 bytes", new byte[7]),
        new("length of 0", "header of 0 bytes", new byte[8]),
        new("length past the end", "only 2 follow", [.. Length(3), .. "{}"u8]),
        new("length of 2^63", "is the most that is read", [.. Length(1ul << 63), .. "{}"u8]),
        new("length of 2^64-1", "is the most that is read", [.. Length(ulong.MaxValue), .. "{}"u8]),
        new("length above the limit", "16777216 is the most", [.. Length(SafetensorsHeader.MaxBytes + 1), .. "{}"u8]),
        new("not UTF-8", "not UTF-8", Raw([(byte)'{', 0xFF, (byte)'}'], 0)),
        new("no JSON", "not JSON", Raw("{"u8, 0)),
        new("JSON of another kind", "does not begin with", Raw("[]"u8, 0)),
        new("space before the header", "does not begin with", Raw(" {}"u8, 0)),
        new("something after the object", "not JSON", Raw("{} {}"u8, 0)),
        new("deep nesting", "not JSON", Raw(Encoding.ASCII.GetBytes($$"""{"a":{{new string('[', 100000)}}""" ), 0)),
        new("comment", "not JSON", Raw("{/**/}"u8, 0)),
        new("one byte short", "cut short", File($$"""{"a":{{A}}}""", 7)),
        new("one byte more", "belongs to none", File($$"""{"a":{{A}}}""", 9)),
        new("overlap", "inside the tensor before it", File($$$"""{"a":{{{A}}},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12)),
        new("same bytes twice", "inside the tensor before it", File($$"""{"a":{{A}},"b":{{A}}}""", 8)),
        new("hole", "bytes between tensors", File($$$"""{"a":{{{A}}},"b":{"dtype":"F32","shape":[2],"data_offsets":[9,17]}}""", 17)),
        new("hole before the first", "bytes between tensors", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}""", 9)),
        new("end before begin", "before its begin", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8)),
        new("more than the shape", "needs 8 bytes", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}}""", 12)),
        new("less than the shape", "needs 8 bytes", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4)),
        new("product that overflows", "do not fit in 63 bits", File("""{"a":{"dtype":"F32","shape":[2,9223372036854775807],"data_offsets":[0,8]}}""", 8)),
        new("product that wraps to the size", "do not fit in 63 bits", File("""{"a":{"dtype":"F32","shape":[4611686018427387906,4],"data_offsets":[0,32]}}""", 32)),
        new("extent above 63 bits", "no whole number", File("""{"a":{"dtype":"F32","shape":[18446744073709551614],"data_offsets":[0,8]}}""", 8)),
        new("negative extent", "no whole number", File("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8)),
        new("fraction", "no whole number", File("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", 8)),
        new("negative offset", "no whole number", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", 8)),
        new("offset that is text", "no whole number", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":["0","8"]}}""", 8)),
        new("three offsets", "has 3 numbers", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""", 8)),
        new("offsets that are no list", "not a list", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":8}}""", 8)),
        new("unknown dtype", "'F31'", File("""{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}""", 8)),
        new("no dtype", "lacks dtype", File("""{"a":{"shape":[2],"data_offsets":[0,8]}}""", 8)),
        new("no shape", "lacks shape", File("""{"a":{"dtype":"F32","data_offsets":[0,8]}}""", 8)),
        new("no offsets", "lacks data_offsets", File("""{"a":{"dtype":"F32","shape":[2]}}""", 8)),
        new("dtype that is a number", "dtype (a string)", File("""{"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}}""", 8)),
        new("another field", "strides", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}""", 8)),
        new("field that is no text", "no Unicode text", File("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"\ud800":1}}""", 8)),
        new("entry that is no object", "not an object", File("""{"a":[]}""", 0)),
        new("name twice", "not JSON", File($$"""{"a":{{A}},"a":{{A}}}""", 8)),
        new("name twice, once escaped", "", File($$"""{"a":{{A}},"\u0061":{{A}}}""", 8)),
        new("field twice", "not JSON", File("""{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8)),
        new("name that is no text", "", File($$"""{"\udc00":{{A}}}""", 8)),
        new("metadata that is no text", "only strings", File("""{"__metadata__":{"a":1}}""", 0)),
        new("metadata that is a list", "not an object", File("""{"__metadata__":[]}""", 0)),
    ];

    public static TheoryData<string> Names => [.. Attacks.Select(a => a.Name)];

    [Theory, MemberData(nameof(Names))]
    public void Open_Attack_IsRefusedInOneSentence(string name)
    {
        var attack = Attacks.Single(a => a.Name == name);
        using var scratch = new Scratch();
        var path = scratch.File("a.safetensors", attack.File);
        var message = Assert.Throws<InputException>(() => SafetensorsFile.Open(path)).Message;
        Assert.StartsWith(path, message);
        Assert.Contains(attack.Says, message);
        Assert.DoesNotContain('\n', message);
    }

    [Fact]
    public void Open_ValidOddities_AreRead()
    {
        using var scratch = new Scratch();
        // White space after the header, a tensor without elements, a scalar, tensors that are not listed by offset.
        var header = """{"b":{"dtype":"U8","shape":[],"data_offsets":[8,9]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"z":{"dtype":"F16","shape":[3,0],"data_offsets":[8,8]},"__metadata__":{"format":"pt"}}   """;
        using var file = SafetensorsFile.Open(scratch.File("a.safetensors",
            [.. Length((ulong)header.Length), .. Encoding.UTF8.GetBytes(header), .. Enumerable.Range(1, 9).Select(i => (byte)i)]));
        Assert.Equal(["a", "b", "z"], file.Tensors.Keys.Order());
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], file.Bytes(file.Tensors["a"], 0, 8).ToArray());
        Assert.Equal([9], file.Bytes(file.Tensors["b"], 0, 1).ToArray());
        Assert.Equal(0, file.Bytes(file.Tensors["z"], 0, 0).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = file.Bytes(file.Tensors["a"], 4, 5); });
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = file.Bytes(file.Tensors["a"], -1, 1); });
        Assert.Throws<ArgumentOutOfRangeException>(() => { _ = file.Bytes(file.Tensors["a"], long.MaxValue, 1); });
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => { _ = file.Bytes(file.Tensors["a"], 0, 8); });
    }

    [Fact]
    public void Open_CutAnywhere_IsRefused()
    {
        using var scratch = new Scratch();
        var whole = File($$$"""{"a":{{{A}}},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}""", 11);
        for (var length = 0; length < whole.Length; length++)
            Assert.Throws<InputException>(() => SafetensorsFile.Open(scratch.File("a.safetensors", whole[..length])));
        using var opened = SafetensorsFile.Open(scratch.File("a.safetensors", whole));
    }

    [Fact]
    public void Parse_MutatedHeaders_NeverFailOtherwise()
    {
        var random = new Random(31);
        var seed = Encoding.UTF8.GetBytes($$$"""{"__metadata__":{"format":"pt"},"a":{{{A}}},"b":{"dtype":"BF16","shape":[3,1],"data_offsets":[8,14]}}""");
        string[] tokens = ["{", "}", "[", "]", "\"", ",", ":", "-1", "9223372036854775807", "1e3", "null", "\\ud800", "\\u0061", "\"a\"", "\"dtype\":", "[0,8]", "é"];
        var (read, refused) = (0, 0);
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = seed.ToList();
            for (var edits = random.Next(1, 4); edits > 0; edits--)
            {
                var at = random.Next(1, bytes.Count);
                switch (random.Next(4))
                {
                    case 0: bytes[at] = (byte)random.Next(256); break;
                    case 1: bytes.RemoveRange(at, Math.Min(random.Next(1, 9), bytes.Count - at)); break;
                    case 2: bytes.InsertRange(at, Encoding.UTF8.GetBytes(tokens[random.Next(tokens.Length)])); break;
                    default: bytes[at] = (byte)('0' + random.Next(10)); break;
                }
                if (bytes.Count < 2) break;
            }
            try
            {
                var header = SafetensorsHeader.Parse("f", bytes.ToArray(), 8 + bytes.Count + 14);
                // Whatever is accepted lies within the data.
                Assert.All(header.Tensors.Values, t => Assert.True(t.Offset >= 0 && t.Length >= 0 && t.Offset + t.Length <= 14));
                Assert.Equal(14, header.Tensors.Values.Sum(t => t.Length));
                read++;
            }
            catch (InputException)
            {
                refused++;
            }
        }
        Assert.True(read > 100 && refused > 1000, $"{read} read, {refused} refused");
    }

    [Fact]
    public void Write_ThenOpen_IsTheSame()
    {
        using var scratch = new Scratch();
        var path = Path.Combine(scratch.Path, "a.safetensors");
        SafetensorsWriter.Write(path, [new("b\"é", "U8", [3], new byte[] { 7, 8, 9 }), new("a", "F32", [1, 2], new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 })],
            new Dictionary<string, string> { ["format"] = "pt" });
        using var file = SafetensorsFile.Open(path);
        Assert.Equal([1, 2], file.Tensors["a"].Shape);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], file.Bytes(file.Tensors["a"], 0, 8).ToArray());
        Assert.Equal([7, 8, 9], file.Bytes(file.Tensors["b\"é"], 0, 3).ToArray());
        Assert.Equal(0, file.Tensors["a"].Offset);
        Assert.Equal(0ul, BinaryPrimitives.ReadUInt64LittleEndian(System.IO.File.ReadAllBytes(path)) % 8);
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(path, [new("a", "U8", [3], new byte[2])], new Dictionary<string, string>()));
        Assert.Throws<ArgumentException>(() => SafetensorsWriter.Write(path, [new("a", "U8", [1], new byte[1]), new("a", "U8", [1], new byte[1])],
            new Dictionary<string, string>()));
    }

    internal static byte[] File(string header, int data) => Raw(Encoding.UTF8.GetBytes(header), data);

    static byte[] Raw(ReadOnlySpan<byte> header, int data) => [.. Length((ulong)header.Length), .. header, .. new byte[data]];

    static byte[] Length(ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return bytes;
    }
}
