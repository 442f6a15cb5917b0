using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Parquet;
using Parquet.Schema;
using Parquet.Serialization;
using Xunit;

namespace Graph.Finetune.Tests.Data;

/// <summary>Files that other programs write, and row groups too large to be decoded at once.</summary>
public class ParquetFilesTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static string Folder => Path.Combine(Fixture.Repository(), "tests", "fixtures", "parquet");

    public static TheoryData<string> Files => [.. Directory.GetFiles(Folder, "*.parquet").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];

    static (IReadOnlyList<(long Line, Example Example)> Examples, IReadOnlyList<long> Faults, int Blocks) Read(string path, long held = DataSet.HeldBytes)
    {
        using var set = new DataSet([path], Tokenizer, new DataOptions(null, [], LossOn.Completion), heldBytes: held);
        var blocks = Enumerable.Range(0, set.BlocksOf(0)).Select(b => new BlockAt(0, b)).ToArray();
        // Parts are read in any order.
        var read = blocks.Reverse().Zip(set.ReadWithFaults([.. blocks.Reverse()])).Reverse().ToArray();
        return ([.. read.SelectMany(b => b.Second.Examples.Select(e => (set.LineOf(b.First, e.Line), e)))],
            [.. read.SelectMany(b => b.Second.Faults.Select(f => set.LineOf(b.First, f.Line)))], blocks.Length);
    }

    /// <summary>Every type, compression, encoding and page version gives the rows that the JSON Lines file beside it has, whole and in parts of a row or a few.</summary>
    [Theory, MemberData(nameof(Files))]
    public void Read_AsArrowWritesIt_IsTheSameJsonLines(string name)
    {
        var json = Directory.GetFiles(Folder, "*.jsonl").OrderByDescending(f => f.Length)
            .First(f => name.StartsWith(Path.GetFileNameWithoutExtension(f), StringComparison.Ordinal));
        var (expected, faults, _) = Read(json);
        Assert.True(expected.Count >= 34 && expected.Count + faults.Count == 40);
        foreach (var held in new[] { DataSet.HeldBytes, 64 * 40, 64 })
        {
            var parquet = Read(Path.Combine(Folder, name), held);
            Assert.True(held == DataSet.HeldBytes ? parquet.Blocks < 7 : parquet.Blocks > (held == 64 ? 35 : 2), $"{parquet.Blocks} blocks");
            Assert.Equal(faults, parquet.Faults);
            Assert.Equal(expected.Select(e => e.Line), parquet.Examples.Select(e => e.Line));
            Assert.All(expected.Zip(parquet.Examples), p =>
            {
                Assert.Equal(p.First.Example.Ids, p.Second.Example.Ids);
                Assert.Equal(p.First.Example.Labels, p.Second.Example.Labels);
            });
        }
    }

    /// <summary>Ten thousand rows of one row group, a hundred of them broken: parts of it know the number of each.</summary>
    [Fact]
    public async Task Read_OneRowInAHundredIsBroken_ExactNumbers()
    {
        using var scratch = new Scratch();
        var random = new Random(3);
        var numbers = Enumerable.Range(1, 10_000).OrderBy(_ => random.Next()).Take(100).Order().ToArray();
        var rows = Enumerable.Range(1, 10_000)
            .Select(n => (Broken: Array.BinarySearch(numbers, n) >= 0, Number: n))
            .Select(r => (IDictionary<string, object?>)new Dictionary<string, object?> { ["text"] = r.Broken ? null : $"line {r.Number}", ["score"] = (double)r.Number });
        var path = Path.Combine(scratch.Path, "d.parquet");
        await using (var stream = File.Create(path))
            await ParquetSerializer.SerializeUntypedAsync([.. rows], new ParquetSchema(new DataField<string>("text"), new DataField<double>("score")), stream,
                new ParquetOptions { RowGroupSize = 10_000 }, cancellationToken: TestContext.Current.CancellationToken);
        var (examples, faults, blocks) = Read(path, 64 * 400);
        Assert.InRange(blocks, 50, 10_000);
        Assert.Equal(numbers.Select(n => (long)n), faults);
        Assert.All(examples, e => Assert.Equal($"line {e.Line}", Tokenizer.Decode(e.Example.Ids[1..^1])));
    }

    /// <summary>The footer's damage is a sentence, where Parquet.Net's reader would not end.</summary>
    [Fact]
    public void Read_FooterCutOrTurned_IsASentence()
    {
        using var scratch = new Scratch();
        var whole = File.ReadAllBytes(Path.Combine(Folder, "chat-none-plain.parquet"));
        var footer = whole.Length - 8 - BitConverter.ToInt32(whole, whole.Length - 8);
        var refused = 0;
        for (var at = footer; at < whole.Length - 8; at++)
        {
            var bytes = (byte[])whole.Clone();
            // The end of a structure becomes a number that does not end, a length, a field of another type.
            bytes[at] = at % 3 == 0 ? (byte)0xFF : at % 3 == 1 ? (byte)(bytes[at] ^ 0x0C) : (byte)0;
            try
            {
                Read(scratch.File("x.parquet", bytes));
            }
            catch (InputException e)
            {
                refused++;
                Assert.Contains("x.parquet", e.Message);
            }
        }
        Assert.InRange(refused, 100, whole.Length);
    }

    [Fact]
    public void Read_PageIsDamaged_NamesRowGroupAndColumn()
    {
        using var scratch = new Scratch();
        var bytes = File.ReadAllBytes(Path.Combine(Folder, "chat-groups.parquet"));
        bytes[4] = 0xFF;
        var path = scratch.File("x.parquet", bytes);
        Assert.StartsWith($"{path}, row group 1 of 6, column text, cannot be read as Parquet: a ",
            Assert.Throws<InputException>(() => Read(path)).Message, StringComparison.Ordinal);
    }

    /// <summary>One row begins where the row group says three.</summary>
    [Fact]
    public void Read_ListsOfFewerRowsThanDue_NamesRowGroupAndColumn()
    {
        using var scratch = new Scratch();
        var bytes = TwoPages([0, 1, 0], [1, 1, 0, 1]);
        // The levels of the first page: 0 1 0 becomes 0 1 1.
        var at = bytes.AsSpan().IndexOf(new byte[] { 2, 0, 0, 0, 3, 2, 2, 0, 0, 0 });
        Assert.True(at > 0);
        bytes[at + 5] = 6;
        var path = scratch.File("x.parquet", bytes);
        Assert.Equal($"{path}, row group 1 of 1, column input_ids/list/element, cannot be read as Parquet: it has 2 rows where 3 are due.",
            Assert.Throws<InputException>(() => Read(path)).Message);
    }

    [Fact]
    public void Read_BytesThatAreNoText_AreRefusedByRow()
    {
        using var scratch = new Scratch();
        var bytes = File.ReadAllBytes(Path.Combine(Folder, "text-binary.parquet"));
        var at = bytes.AsSpan().IndexOf("row 2 "u8);
        Assert.True(at > 0);
        bytes[at + 4] = 0xFF;
        Assert.Equal([3L, 4, 11, 18, 25, 32, 39], Read(scratch.File("x.parquet", bytes)).Faults);
    }

    /// <summary>Writers of version 1 may end a page inside of a row; Arrow does not.</summary>
    [Fact]
    public void Read_RowThatGoesOnInTheNextPage_IsWhole()
    {
        using var scratch = new Scratch();
        // Rows [10 11] [12 13 14] [15 16], the second one on both pages.
        var path = scratch.File("x.parquet", TwoPages([0, 1, 0], [1, 1, 0, 1]));
        foreach (var held in new[] { DataSet.HeldBytes, 64 })
        {
            var (examples, faults, blocks) = Read(path, held);
            Assert.Equal(held == 64 ? 3 : 1, blocks);
            Assert.Empty(faults);
            Assert.Equal(["10 11", "12 13 14", "15 16"], examples.Select(e => string.Join(' ', e.Example.Ids)));
        }
    }

    // input_ids, a list of int32, with all values there; ids from 10 on.
    static byte[] TwoPages(params byte[][] repetition)
    {
        using var file = new MemoryStream();
        file.Write("PAR1"u8);
        var next = 10;
        foreach (var levels in repetition)
        {
            var packed = levels.Select((level, i) => level << i).Sum();
            // One group of eight packed bits; a run of definition levels 3; the values.
            byte[] content = [2, 0, 0, 0, 3, (byte)packed, 2, 0, 0, 0, (byte)(levels.Length << 1), 3, .. levels.SelectMany(_ => BitConverter.GetBytes(next++))];
            new ParquetPage(global::Parquet.Meta.PageType.DATA_PAGE, 0, content.Length, content.Length, levels.Length, 0, null, false).Write(file, content);
        }
        var (end, count, rows) = (file.Length, repetition.Sum(r => r.Length), repetition.Sum(r => r.Count(l => l == 0)));
        Number(1, Wire.I32, 1);
        ThriftWriter.Field(file, 2, Wire.List);
        ThriftWriter.List(file, 4, Wire.Struct);
        // Name, children, repetition (1 optional, 2 repeated), type (1 INT32), converted type (3 a list).
        foreach (var (name, children, repeated, type, converted) in new[] { ("schema", 1, -1, -1, -1), ("input_ids", 1, 1, -1, 3), ("list", 1, 2, -1, -1),
            ("element", -1, 1, 1, -1) })
        {
            if (type >= 0) Number(1, Wire.I32, type);
            if (repeated >= 0) Number(3, Wire.I32, repeated);
            Text(4, name);
            if (children >= 0) Number(5, Wire.I32, children);
            if (converted >= 0) Number(6, Wire.I32, converted);
            file.WriteByte(0);
        }
        Number(3, Wire.I64, rows);
        ThriftWriter.Field(file, 4, Wire.List);
        ThriftWriter.List(file, 1, Wire.Struct);
        ThriftWriter.Field(file, 1, Wire.List);
        ThriftWriter.List(file, 1, Wire.Struct);
        Number(2, Wire.I64, 4);
        ThriftWriter.Field(file, 3, Wire.Struct);
        Number(1, Wire.I32, 1);
        ThriftWriter.Field(file, 3, Wire.List);
        ThriftWriter.List(file, 3, Wire.Binary);
        foreach (var name in new[] { "input_ids", "list", "element" }) Bytes(name);
        Number(4, Wire.I32, 0);
        Number(5, Wire.I64, count);
        Number(6, Wire.I64, end - 4);
        Number(7, Wire.I64, end - 4);
        Number(9, Wire.I64, 4);
        file.Write([0, 0]);
        Number(2, Wire.I64, end - 4);
        Number(3, Wire.I64, rows);
        file.Write([0, 0]);
        file.Write(BitConverter.GetBytes((int)(file.Length - end)));
        file.Write("PAR1"u8);
        return file.ToArray();

        void Number(int id, Wire type, long value)
        {
            ThriftWriter.Field(file, id, type);
            ThriftWriter.Number(file, value);
        }

        void Text(int id, string text)
        {
            ThriftWriter.Field(file, id, Wire.Binary);
            Bytes(text);
        }

        void Bytes(string text)
        {
            file.WriteByte((byte)text.Length);
            file.Write(System.Text.Encoding.ASCII.GetBytes(text));
        }
    }
}
