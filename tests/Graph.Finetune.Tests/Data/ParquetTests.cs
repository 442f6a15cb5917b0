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

public class ParquetTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static async Task<string> Write(Scratch scratch, ParquetSchema schema, IEnumerable<Dictionary<string, object?>> rows, int perGroup = 1000)
    {
        var path = Path.Combine(scratch.Path, "d.parquet");
        await using var stream = File.Create(path);
        await ParquetSerializer.SerializeUntypedAsync([.. rows.Select(r => (IDictionary<string, object?>)r)], schema, stream,
            new ParquetOptions { RowGroupSize = perGroup, CompressionMethod = CompressionMethod.Zstd });
        return path;
    }

    static IEnumerable<(long Line, Example Example)> Read(string path, LossOn lossOn = LossOn.All)
    {
        using var set = new DataSet([path], Tokenizer, new DataOptions(null, [], lossOn));
        var blocks = Enumerable.Range(0, set.BlocksOf(0)).Select(b => new BlockAt(0, b)).ToArray();
        return [.. blocks.Zip(set.Read(blocks)).SelectMany(b => b.Second.Examples.Select(e => (set.LineOf(b.First, e.Line), e)))];
    }

    /// <summary>Every kind of row is the example that the same fields are in JSON Lines, in its row, in files of one and of many row groups.</summary>
    [Theory, InlineData(1000), InlineData(3)]
    public async Task Read_RowsOfEveryKind_AreTheExamplesOfTheSameJson(int perGroup)
    {
        using var scratch = new Scratch();
        var message = new StructField("element", new DataField<string>("role"), new DataField<string>("content"));
        var schema = new ParquetSchema(new DataField<string>("text"), new DataField<string>("instruction"), new DataField<string>("input"), new DataField<string>("output"),
            new DataField<double?>("score"),
            new ListField("input_ids", new DataField<long>("element")), new ListField("labels", new DataField<int>("element")), new ListField("messages", message));
        var (rows, lines) = (new List<Dictionary<string, object?>>(), new List<string>());
        for (var i = 0; i < 20; i++)
        {
            var row = new Dictionary<string, object?> { ["score"] = i % 2 == 0 ? 0.5 * i : null };
            switch (i % 5)
            {
                case 0: Add(("text", $"text é\n\"{i}\"")); break;
                case 1: Add(("instruction", $"do {i}"), ("input", "with"), ("output", "done")); break;
                case 2: Add(("instruction", $"do {i}"), ("output", "")); break;
                case 3:
                    row["input_ids"] = Enumerable.Range(5, i).Select(n => (long)n).ToList();
                    row["labels"] = Enumerable.Range(5, i).Select(n => n % 2 == 0 ? -100 : n).ToList();
                    lines.Add($"{{\"input_ids\":[{string.Join(',', Enumerable.Range(5, i))}],"
                        + $"\"labels\":[{string.Join(',', Enumerable.Range(5, i).Select(n => n % 2 == 0 ? -100 : n))}]}}");
                    break;
                default:
                    var turns = Enumerable.Range(0, 2 * (i % 3 + 1)).Select(t => (Role: t % 2 == 0 ? "user" : "assistant", Content: $" turn {t} of {i} ")).ToArray();
                    row["messages"] = turns.Select(t => (IDictionary<string, object?>)new Dictionary<string, object?> { ["role"] = t.Role, ["content"] = t.Content }).ToList();
                    lines.Add($"{{\"messages\":[{string.Join(',', turns.Select(t => $"{{\"role\":\"{t.Role}\",\"content\":\"{t.Content}\"}}"))}]}}");
                    break;
            }
            rows.Add(row);

            void Add(params (string Name, string Text)[] fields)
            {
                foreach (var (name, text) in fields) row[name] = text;
                lines.Add("{" + string.Join(',', fields.Select(f => $"\"{f.Name}\":{System.Text.Json.JsonSerializer.Serialize(f.Text)}")) + "}");
            }
        }
        var path = await Write(scratch, schema, rows, perGroup);
        foreach (var lossOn in new[] { LossOn.All, LossOn.Completion })
        {
            var (parquet, json) = (Read(path, lossOn).ToArray(), DataTests.Read(scratch.File("d.jsonl", lines), new DataOptions(null, [], lossOn)));
            Assert.Equal(Enumerable.Range(1, 20).Select(i => (long)i), parquet.Select(p => p.Line));
            Assert.All(parquet.Zip(json), p =>
            {
                Assert.Equal(p.Second.Ids, p.First.Example.Ids);
                Assert.Equal(p.Second.Labels, p.First.Example.Labels);
            });
        }
    }

    [Fact]
    public async Task Read_RowsThatCannotBeUsed_AreNamedByNumber()
    {
        using var scratch = new Scratch();
        var path = await Write(scratch, new ParquetSchema(new DataField<string>("prompt"), new DataField<string>("completion")),
            Enumerable.Range(1, 40).Select(i => new Dictionary<string, object?> { ["prompt"] = $"p{i}", ["completion"] = i is 7 or 23 or 40 ? null : "c" }), 10);
        var message = Assert.Throws<InputException>(() => Read(path).Count()).Message;
        Assert.StartsWith($"{path}, row 7, has no 'completion'; 2 more lines cannot be used: 23, 40;", message, StringComparison.Ordinal);
        var other = await Write(scratch, new ParquetSchema(new DataField<string>("title")), [new() { ["title"] = "x" }]);
        Assert.Contains("has the columns title; an example has messages", Assert.Throws<InputException>(() => Read(other).Count()).Message);
        var masked = await Write(scratch, new ParquetSchema(new ListField("input_ids", new DataField<int>("element")),
            new ListField("completion_mask", new DataField<int>("element"))),
            [new() { ["input_ids"] = new List<int> { 1, 2 }, ["completion_mask"] = new List<int> { 0, 1 } }]);
        Assert.Contains("has completion_mask beside input_ids, which is not read; give labels", Assert.Throws<InputException>(() => Read(masked).Count()).Message);
    }

    /// <summary>Cut and changed at random, a file gives examples or one sentence.</summary>
    [Fact]
    public async Task Read_DamagedFile_IsASentence()
    {
        using var scratch = new Scratch();
        var path = await Write(scratch, new ParquetSchema(new DataField<string>("text"), new ListField("labels", new DataField<int>("element"))),
            Enumerable.Range(1, 60).Select(i => new Dictionary<string, object?> { ["text"] = $"some text {i}", ["labels"] = new List<int> { 1, 2 } }), 20);
        var good = await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken);
        var random = new Random(4);
        var refused = 0;
        for (var round = 0; round < 300; round++)
        {
            var bytes = round % 3 == 0 ? good[..random.Next(4, good.Length)] : (byte[])good.Clone();
            for (var i = random.Next(1, 4); i > 0 && round % 3 > 0; i--) bytes[random.Next(4, bytes.Length)] ^= (byte)(1 << random.Next(8));
            try
            {
                Assert.All(Read(scratch.File("x.parquet", bytes)), e => Assert.NotEmpty(e.Example.Ids));
            }
            catch (InputException e)
            {
                refused++;
                Assert.Contains("x.parquet", e.Message);
                // What is said to programmers.
                Assert.DoesNotMatch("Object reference|Index was|Specified argument|Parameter '", e.Message);
            }
        }
        Assert.InRange(refused, 100, 300);
    }
}
