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
        return ([.. read.SelectMany(b => b.Second.Examples.Select(e => (set.LineOf(b.First, e.Line), e)))], [.. read.SelectMany(b => b.Second.Faults.Select(f => set.LineOf(b.First, f.Line)))], blocks.Length);
    }

    /// <summary>Every type, compression, encoding and page version gives the rows that the JSON Lines file beside it has, whole and in parts of a row or a few.</summary>
    [Theory, MemberData(nameof(Files))]
    public void Read_AsArrowWritesIt_IsTheSameJsonLines(string name)
    {
        var json = Directory.GetFiles(Folder, "*.jsonl").OrderByDescending(f => f.Length).First(f => name.StartsWith(Path.GetFileNameWithoutExtension(f), StringComparison.Ordinal));
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
        var rows = Enumerable.Range(1, 10_000).Select(n => (IDictionary<string, object?>)new Dictionary<string, object?> { ["text"] = Array.BinarySearch(numbers, n) >= 0 ? null : $"line {n}", ["score"] = (double)n });
        var path = Path.Combine(scratch.Path, "d.parquet");
        await using (var stream = File.Create(path))
            await ParquetSerializer.SerializeUntypedAsync([.. rows], new ParquetSchema(new DataField<string>("text"), new DataField<double>("score")), stream, new ParquetOptions { RowGroupSize = 10_000 }, cancellationToken: TestContext.Current.CancellationToken);
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
    public void Read_BytesThatAreNoText_AreRefusedByRow()
    {
        using var scratch = new Scratch();
        var bytes = File.ReadAllBytes(Path.Combine(Folder, "text-binary.parquet"));
        var at = bytes.AsSpan().IndexOf("row 2 "u8);
        Assert.True(at > 0);
        bytes[at + 4] = 0xFF;
        Assert.Equal([3L, 4, 11, 18, 25, 32, 39], Read(scratch.File("x.parquet", bytes)).Faults);
    }
}
