using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Xunit;

namespace Graph.Finetune.Tests.Data;

public class DataTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static IReadOnlyList<Example> Read(Scratch scratch, byte[] file, int? max = null, LossOn loss = LossOn.All) =>
        Read(scratch.File("d.jsonl", file), new DataOptions(max, [new("ids", "table", Tokenizer.Count), new("labels", "head", Tokenizer.Count)], loss));

    /// <summary>All examples of a file, with their lines in it.</summary>
    public static IReadOnlyList<Example> Read(string path, DataOptions options, SentencePieceTokenizer? tokenizer = null)
    {
        using var set = new DataSet([path], tokenizer ?? Tokenizer, options);
        var blocks = Enumerable.Range(0, set.BlocksOf(0)).Select(b => new BlockAt(0, b)).ToArray();
        return [.. blocks.Zip(set.Read(blocks)).SelectMany(b => b.Second.Examples.Select(e => e with { Line = (int)set.LineOf(b.First, e.Line) }))];
    }

    [Fact]
    public void Read_ByteOrderMarkCrLfAndBlankLines_AreNoExamplesAndKeepTheNumbers()
    {
        using var scratch = new Scratch();
        var examples = Read(scratch, [0xEF, 0xBB, 0xBF, .. "{\"input_ids\":[5,6]}\r\n\r\n  \t\n{\"input_ids\":[7,8],\"labels\":[-100,8]}\r\n{\"input_ids\":[9,9,9]}"u8]);
        Assert.Equal([1, 4, 5], examples.Select(e => e.Line));
        Assert.Equal([5, 6], examples[0].Labels);
        Assert.Equal([-100, 8], examples[1].Labels);
    }

    [Fact]
    public void Read_Kinds_AreFoundFromTheFields()
    {
        using var scratch = new Scratch();
        var all = Read(scratch, """
            {"text":"the word","id":7}
            {"instruction":"Add.","input":"1 2","output":"3","text":"ignored"}
            {"instruction":"Add.","output":"3"}
            {"prompt":"a","completion":" b"}
            """u8.ToArray());
        Assert.Equal("the word", Tokenizer.Decode(all[0].Ids[1..^1]));
        Assert.Equal(Alpaca.Prompt("Add.", "1 2") + "3", Tokenizer.Decode(all[1].Ids[1..^1]));
        Assert.Equal(Alpaca.Prompt("Add.", "") + "3", Tokenizer.Decode(all[2].Ids[1..^1]));
        Assert.Equal("a b", Tokenizer.Decode(all[3].Ids[1..^1]));
        Assert.All(all, e => Assert.Equal((Tokenizer.Bos, Tokenizer.Eos), (e.Ids[0], e.Ids[^1])));
        Assert.All(all, e => Assert.Equal(e.Ids, e.Labels));

        var answer = Read(scratch, "{\"instruction\":\"Add.\",\"output\":\"3\"}"u8.ToArray(), loss: LossOn.Completion).Single();
        Assert.Equal(all[2].Ids, answer.Ids);
        Assert.Equal("3", Tokenizer.Decode([.. answer.Labels.Where(l => l >= 0).SkipLast(1)]));
        Assert.Equal(Tokenizer.Eos, answer.Labels[^1]);
    }

    public static TheoryData<string, string> Wrong => new()
    {
        { "{", "not JSON" },
        { "[1]", "not an object" },
        { "{\"a\":1,\"b\":2}", "the fields a, b" },
        { "{}", "no fields" },
        { "{\"text\":1}", "not a string" },
        { "{\"text\":\"\\ud800\"}", "surrogate" },
        { "{\"\\ud800\":1}", "surrogate|no fields|the fields" },
        { "{\"text\":\"a\",\"text\":\"b\"}", "not JSON" },
        { "{\"messages\":[]}", "has no message" },
        { "{\"messages\":5}", "not a list of messages" },
        { "{\"messages\":[5]}", "in the message at position 0, has 5" },
        { "{\"messages\":[{\"role\":\"user\"}]}", "no 'content'" },
        { "{\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]}", "roles are system, user, assistant and model" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "has no 'content'" },
        { "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"}]}", "no user text" },
        { "{\"messages\":[{\"role\":\"model\",\"content\":\"a\"}]}", "assistant at position 0, where user is due" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]}", "user at position 1, where assistant is due" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"b\"}]}", "system at position 1" },
        { "{\"conversations\":[]}", "write it as messages" },
        { "{\"instruction\":\"a\"}", "no 'output'" },
        { "{\"prompt\":\"a\"}", "no 'completion'" },
        { "{\"input_ids\":[]}", "no input_ids" },
        { "{\"input_ids\":[4096]}", "id 4096 at position 0, but table has 4096 rows, from 0 to 4095" },
        { "{\"input_ids\":[1,2],\"labels\":[1,4096]}", "label 4096 at position 1, but head has 4096 rows" },
        { "{\"input_ids\":[-1]}", "from 0 to 4095" },
        { "{\"input_ids\":[1.5]}", "from 0 to 4095" },
        { "{\"input_ids\":\"1\"}", "not a list" },
        { "{\"input_ids\":[1,2],\"labels\":[1]}", "2 input_ids but 1 labels" },
        { "{\"input_ids\":[1,2],\"labels\":[1,-1]}", "labels are -100" },
        { "{\"input_ids\":[1,2],\"attention_mask\":[1,0]}", "padding" },
        { "{\"input_ids\":[1,2],\"attention_mask\":[1]}", "attention_mask of 1" },
        { "{\"input_ids\":[1,2,3,4,5]}", "has 5 tokens but --seq is 4" },
    };

    [Theory, MemberData(nameof(Wrong))]
    public void Read_WrongLine_HasItsNumber(string line, string says)
    {
        using var scratch = new Scratch();
        var message = Assert.Throws<InputException>(() => Read(scratch, Encoding.UTF8.GetBytes("{\"input_ids\":[5,6]}\n\n" + line + "\n"), 4)).Message;
        Assert.Contains("d.jsonl, line 3,", message);
        Assert.Contains(says.Split('|'), s => message.Contains(s, StringComparison.Ordinal));
    }

    [Fact]
    public void Read_NotUtf8_HasItsLine()
    {
        using var scratch = new Scratch();
        Assert.Contains("line 2, is not UTF-8", Assert.Throws<InputException>(() => Read(scratch, [.. "{\"text\":\"a\"}\n{\"text\":\""u8, 0xC3, .. "\"}"u8])).Message);
    }

    [Fact]
    public void Read_MutatedLines_NeverFailOtherwise()
    {
        using var scratch = new Scratch();
        var random = new Random(32);
        var seed = "{\"text\":\"a\\u0041\"}\n{\"input_ids\":[5,6],\"labels\":[-100,6]}\r\n{\"instruction\":\"x\",\"output\":\"y\"}"u8.ToArray();
        for (var round = 0; round < 2000; round++)
        {
            var bytes = (byte[])seed.Clone();
            for (var edits = random.Next(1, 4); edits > 0; edits--)
                bytes[random.Next(bytes.Length)] = random.Next(3) == 0 ? (byte)random.Next(256) : "{}[]\",:\\ud8\n\r-9"u8[random.Next(15)];
            try
            {
                Assert.All(Read(scratch, bytes), e => Assert.Equal(e.Ids.Length, e.Labels.Length));
            }
            catch (InputException)
            {
            }
        }
    }

    [Fact]
    public void Lines_LongerThanTheBuffer_AreWhole()
    {
        using var scratch = new Scratch();
        var random = new Random(33);
        string[] lines = [.. Enumerable.Range(0, 40).Select(i => new string((char)('a' + i % 26), i % 7 == 0 ? 65536 + random.Next(-2, 200_000) : random.Next(1, 9000)))];
        var path = scratch.File("l", lines);
        foreach (var blockBytes in new[] { 1, 7, 4096, 65536, 65537, 1 << 20 })
        {
            if (blockBytes < 4096) path = scratch.File("l", lines = [.. lines.Select(l => l[..Math.Min(l.Length, 40)])]);
            else path = scratch.File("l", lines = [.. lines.Select((l, i) => l.PadRight(100 * i, 'x'))]);
            using var file = DataFile.Open(path, blockBytes);
            Assert.Equal(new FileInfo(path).Length, Enumerable.Range(0, file.Blocks).Sum(file.BytesOf));
            var read = Enumerable.Range(0, file.Blocks)
                .SelectMany(b => JsonLinesFile.Lines(file.Load(b)).Select(l => (Line: file.LinesBefore(b) + l.Line, Text: Encoding.UTF8.GetString(l.Bytes.Span)))).ToArray();
            Assert.Equal(lines.Select((l, i) => (i + 1L, l)), read);
        }
    }

    static List<Example> Random(int seed, int count, int longest)
    {
        var random = new Random(seed);
        var next = 0;
        // Every token has its own id, so that each can be followed.
        return [.. Enumerable.Range(0, count).Select(line => Enumerable.Range(0, random.Next(1, longest + 1)).Select(_ => next++).ToArray())
            .Select((ids, line) => new Example(ids, [.. ids.Select(i => i % 5 == 0 ? -100 : i)], line + 1))];
    }

    [Fact]
    public void PackDocuments_EveryTokenOnce_LabelsAndBoundsOfItsDocument()
    {
        for (var seed = 0; seed < 30; seed++)
        {
            var examples = Random(seed, 200, 50);
            var seen = new List<int>();
            var starts = examples.ToDictionary(e => e.Ids[0], e => e);
            foreach (var batch in Packing.PackDocuments(examples, 64 + seed, 50))
            {
                Assert.Equal(64 + seed, batch.Ids.Length);
                for (var t = 0; t < batch.Ids.Length;)
                {
                    var (start, end) = (batch.DocStart[t], batch.DocEnd[t]);
                    Assert.Equal(t, start);
                    Assert.True(end > t);
                    Assert.All(Enumerable.Range(start, end - start), i => Assert.Equal((i - start, start, end), (batch.Positions[i], batch.DocStart[i], batch.DocEnd[i])));
                    // What is not a document is slack without labels.
                    if (starts.TryGetValue(batch.Ids[t], out var example) && example.Ids.Length == end - start && batch.Ids.AsSpan(start, end - start).SequenceEqual(example.Ids))
                    {
                        seen.AddRange(example.Ids);
                        Assert.Equal([.. example.Labels[1..], -100], batch.Labels[start..end]);
                    }
                    else
                    {
                        Assert.All(batch.Labels[start..end], l => Assert.Equal(-100, l));
                    }
                    t = end;
                }
            }
            Assert.Equal(Enumerable.Range(0, examples.Sum(e => e.Ids.Length)), seen.Order());
        }
    }

    [Fact]
    public void Concat_EveryTokenOnceInOrder_AndTheRestIsCounted()
    {
        for (var seed = 0; seed < 30; seed++)
        {
            var examples = Random(seed, 100, 70);
            var packed = Packing.Concat(examples, 128, 32);
            var labels = examples.SelectMany(e => e.Labels).ToArray();
            var rows = packed.SelectMany(b => Enumerable.Range(0, 4)
                .Select(r => (Ids: b.Ids[(32 * r)..(32 * r + 32)], Labels: b.Labels[(32 * r)..(32 * r + 32)],
                    Start: b.DocStart[32 * r], End: b.DocEnd[32 * r]))).Take(labels.Length / 32).ToArray();
            Assert.Equal(labels.Length % 32, packed.LeftOver);
            Assert.Equal(Enumerable.Range(0, labels.Length - packed.LeftOver), rows.SelectMany(r => r.Ids));
            for (var r = 0; r < rows.Length; r++)
            {
                Assert.Equal((32 * (r % 4), 32 * (r % 4) + 32), (rows[r].Start, rows[r].End));
                Assert.Equal([.. labels[(32 * r + 1)..(32 * r + 32)], -100], rows[r].Labels);
            }
        }
        Assert.Empty(Packing.Concat(Random(0, 1, 3), 128, 32));
    }

    [Fact]
    public void OnePerRow_OrderIsKept_AndPaddingHasNoLabel()
    {
        var examples = Random(1, 50, 32);
        var batches = Packing.OnePerRow(examples, 96, 32).ToArray();
        for (var i = 0; i < examples.Count; i++)
        {
            var (batch, at, length) = (batches[i / 3], 32 * (i % 3), examples[i].Ids.Length);
            Assert.Equal(examples[i].Ids, batch.Ids[at..(at + length)]);
            Assert.Equal([.. examples[i].Labels[1..], -100], batch.Labels[at..(at + length)]);
            Assert.Equal((at, at + length), (batch.DocStart[at], batch.DocEnd[at]));
            Assert.All(batch.Labels[(at + length)..(at + 32)], l => Assert.Equal(-100, l));
        }
    }

    [Fact]
    public void Packing_DoesNotFit_IsRefused()
    {
        Example[] one = [new([1, 2, 3], [1, 2, 3], 17)];
        Assert.Contains("line 17", Assert.Throws<InputException>(() => Packing.PackDocuments(one, 8, 2)).Message);
        Assert.Contains("line 17", Assert.Throws<InputException>(() => Packing.OnePerRow(one, 8, 2)).Message);
        Assert.Throws<UsageException>(() => Packing.PackDocuments(one, 2, 3));
    }

    [Fact]
    public void Shuffle_IsAPermutationThatSeedAndEpochDecide()
    {
        int[] items = [.. Enumerable.Range(0, 1000)];
        var first = Packing.Shuffle(items, 3, 0);
        Assert.Equal(first, Packing.Shuffle(items, 3, 0));
        Assert.Equal(items, first.Order());
        Assert.NotEqual(first, Packing.Shuffle(items, 3, 1));
        Assert.NotEqual(first, Packing.Shuffle(items, 4, 0));
        Assert.InRange(first.Zip(items).Count(p => p.First == p.Second), 0, 10);
    }
}
