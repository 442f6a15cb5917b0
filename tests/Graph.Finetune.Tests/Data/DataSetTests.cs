using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Xunit;

namespace Graph.Finetune.Tests.Data;

public class DataSetTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static IReadOnlyList<BlockAt> Blocks(DataSet set, int files) =>
        [.. Enumerable.Range(0, files).SelectMany(f => Enumerable.Range(0, set.BlocksOf(f)).Select(b => new BlockAt(f, b)))];

    /// <summary>Ten thousand lines, a hundred of them broken in many ways, in one block or in thousands: the sentence has the number of each.</summary>
    [Theory, InlineData(DataSet.HeldBytes), InlineData(10_000)]
    public void Read_OneLineInAHundredIsBroken_ExactNumbers(long heldBytes)
    {
        using var scratch = new Scratch();
        var random = new Random(3);
        string[] broken = ["{", "{\"text\":5}", "[1]", "{\"text\":\"\\ud800\"}", "{\"prompt\":\"a\"}",
            "{\"input_ids\":[1,-5]}", "{\"input_ids\":[4096]}", "nul",
            "{\"messages\":[{\"role\":\"x\",\"content\":\"\"}]}", "{\"text\":\"a\",\"text\":\"b\"}", $"{{\"input_ids\":[{string.Join(',', Enumerable.Repeat(7, 65))}]}}"];
        var numbers = Enumerable.Range(1, 10_000).OrderBy(_ => random.Next()).Take(100).Order().ToArray();
        var lines = Enumerable.Range(1, 10_000).Select(n => Array.BinarySearch(numbers, n) >= 0 ? broken[random.Next(broken.Length)]
            : n % 17 == 0 ? "" : $"{{\"text\":\"line {n}\"}}");
        var path = scratch.File("d.jsonl", lines);
        using var set = new DataSet([path], Tokenizer, new DataOptions(64, [new("ids", "table", 4096)]), heldBytes: heldBytes);
        var blocks = Blocks(set, 1);
        Assert.True(heldBytes == DataSet.HeldBytes || blocks.Count > 1000);
        var found = blocks.SelectMany(at => set.Read(at).Faults.Select(f => set.LineOf(at, f.Line))).ToArray();
        Assert.Equal(numbers.Select(n => (long)n), found);
        var message = Assert.Throws<InputException>(() => set.Read(blocks, TestContext.Current.CancellationToken)).Message;
        Assert.StartsWith($"{path}, line {numbers[0]}, ", message, StringComparison.Ordinal);
        Assert.Contains("; 99 more lines cannot be used: " + string.Join(", ", numbers.Skip(1)) + ";", message);
        // The lines between are the ones they were.
        var good = blocks.SelectMany(at => set.Read(at).Examples.Select(e => (Line: set.LineOf(at, e.Line), Text: Tokenizer.Decode(e.Ids[1..^1]))));
        Assert.All(good, g => Assert.Equal($"line {g.Line}", g.Text));
    }

    [Theory]
    [InlineData(OverLength.Drop, new[] { "1-3", "1-4" }, "1 of 3 lines are longer than --seq 4 and were dropped: 10 of their 10 tokens are left out")]
    [InlineData(OverLength.Truncate, new[] { "1-3", "11-14", "1-4" }, "1 of 3 lines are longer than --seq 4 and were truncated: 6 of their 10 tokens are left out")]
    [InlineData(OverLength.Split, new[] { "1-3", "11-14", "15-18", "19-20", "1-4" }, "1 of 3 lines are longer than --seq 4 and were split into 3 documents")]
    public void Read_LineThatIsTooLong_IsDroppedCutOrSplitAndCounted(OverLength overLength, string[] documents, string says)
    {
        using var scratch = new Scratch();
        string Ids(int from, int to) => string.Join(',', Enumerable.Range(from, to - from + 1));
        var path = scratch.File("d.jsonl",
            [$"{{\"input_ids\":[{Ids(1, 3)}]}}", $"{{\"input_ids\":[{Ids(11, 20)}],\"labels\":[-100,-100,{Ids(13, 20)}]}}", $"{{\"input_ids\":[{Ids(1, 4)}]}}"]);
        using var set = new DataSet([path], null, new DataOptions(4, [], OverLength: overLength));
        var block = set.Read(Blocks(set, 1), TestContext.Current.CancellationToken).Single();
        Assert.Equal(documents, block.Examples.Select(e => $"{e.Ids[0]}-{e.Ids[^1]}"));
        Assert.All(block.Examples, e => Assert.Equal(e.Ids.Select(i => i is 11 or 12 ? -100 : i), e.Labels));
        Assert.Equal([says], set.Counts.Sentences(4, overLength, null));
    }

    /// <summary>What was tokenized once is not tokenized again, for other data or another tokenizer it is, and a damaged entry is made anew.</summary>
    [Fact]
    public void Cache_OfBlocks_IsUsedOnlyForWhatItIsOf()
    {
        using var scratch = new Scratch();
        var folder = Path.Combine(scratch.Path, "tokens");
        var path = scratch.File("d.jsonl", Enumerable.Range(0, 60).Select(i => i % 3 == 0 ? $"{{\"prompt\":\"p{i}\",\"completion\":\"a{i}\"}}"
            : i % 3 == 1 ? $"{{\"text\":\"t{i}\"}}" : $"{{\"input_ids\":[5,6,{i}],\"labels\":[9,-100,8]}}"));
        var first = Read(LossOn.Completion);
        var entries = Directory.GetFiles(folder, "*", SearchOption.AllDirectories);
        Assert.NotEmpty(entries);
        Assert.Equal(first, Read(LossOn.Completion));
        Assert.Equal(entries.Length, Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Length);
        Assert.NotEqual(first, Read(LossOn.All));
        Assert.Equal(2 * entries.Length, Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Length);
        // An entry that says something else, with the right hash at its end, is believed: so it is read.
        var (original, forged) = (File.ReadAllBytes(entries[0]), File.ReadAllBytes(entries[0]));
        forged[13]++;
        System.Security.Cryptography.SHA256.HashData(forged.AsSpan(..^32)).CopyTo(forged.AsSpan(^32..));
        File.WriteAllBytes(entries[0], forged);
        Assert.NotEqual(first, Read(LossOn.Completion));
        foreach (var bytes in new[] { original[..^1], [], [.. original.Select((b, i) => i == 20 ? (byte)~b : b)] })
        {
            File.WriteAllBytes(entries[0], bytes);
            Assert.Equal(first, Read(LossOn.Completion));
            Assert.Equal(original, File.ReadAllBytes(entries[0]));
        }

        string[] Read(LossOn lossOn)
        {
            using var set = new DataSet([path], Tokenizer, new DataOptions(null, [], lossOn), new TokenCache(folder), heldBytes: 640);
            var blocks = Blocks(set, 1);
            return [.. blocks.Zip(set.Read(blocks))
                .SelectMany(b => b.Second.Examples.Select(e => $"{set.LineOf(b.First, e.Line)}: {string.Join(',', e.Ids)} | {string.Join(',', e.Labels)}"))];
        }
    }

    [Fact]
    public void Decreasing_RandomLengths_FillBinsAsTheRuleSays()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var lengths = Enumerable.Range(0, random.Next(0, 120)).Select(_ => random.Next(1, 1 + random.Next(1, 100))).ToArray();
            var bins = FirstFit.Decreasing(lengths, 100);
            Assert.Equal(Enumerable.Range(0, lengths.Length), bins.SelectMany(b => b).Order());
            Assert.All(bins, b => Assert.True(b.Sum(i => lengths[i]) <= 100 && b.SequenceEqual(b.Order())));
            // The rule, with every bin looked at.
            var literally = new List<List<int>>();
            foreach (var item in Enumerable.Range(0, lengths.Length).OrderByDescending(i => lengths[i]))
            {
                var bin = literally.Find(b => b.Sum(i => lengths[i]) + lengths[item] <= 100);
                if (bin is null) literally.Add(bin = []);
                bin.Add(item);
            }
            Assert.Equal(literally.OrderBy(b => b[0]).Select(b => string.Join(',', b.Order())), bins.Select(b => string.Join(',', b)));
        }
    }
}
