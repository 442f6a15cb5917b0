using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Graph.Runtime.Planning;

namespace Graph.Parsers.Fuzz;

/// <summary>Data files, lines of them, tokenizers, cached tokens.</summary>
static class DataParsers
{
    static readonly string[] Lines =
    [
        """{"text":"Das ist é \u00e9 \ud83d\ude00 ein Text."}""", """{"prompt":"What is 2+2?","completion":" 4"}""",
            """{"instruction":"Say it.","input":"hello","output":"hello"}""", """{"instruction":"Say it.","output":"x"}""",
        """{"messages":[{"role":"system","content":"Be kind."},{"role":"user","content":" Hi "},{"role":"assistant","content":"Hello!"},{"role":"user","content":"Bye"},{"role":"model","content":"Bye."}]}""",
        """{"input_ids":[2,10,11,12,1],"labels":[-100,-100,11,12,1],"attention_mask":[1,1,1,1,1]}""", """{"input_ids":[2,5,6,7,1],"source":{"a":[1,2.5e3,null,true]}}""",
            """{"conversations":[{"from":"human","value":"x"}]}""",
    ];

    public static IEnumerable<Parser> Of(string fixtures)
    {
        var model = AllParsers.File(fixtures, "reference", "checkpoint", "tokenizer.model");
        var small = Shortened(model, 700);
        var tokenizer = SentencePieceTokenizer.Parse("tokenizer.model", model);
        var seeds = Lines.Select(AllParsers.Utf8).ToArray();
        IReadOnlyList<EmbeddingTable> tables = [new EmbeddingTable("ids", "embedding", 4096), new EmbeddingTable("labels", "head", 4096)];
        return
        [
            new Parser("data line", seeds, _ =>
            {
                LineParser all = new(tokenizer, new DataOptions(null, tables)), none = new(null, new DataOptions(null, []));
                var completion = new LineParser(tokenizer, new DataOptions(null, tables, LossOn.Completion));
                return line =>
                {
                    using var fields = LineParser.Object(line);
                    Check(all.Parse(1, fields.RootElement));
                    Check(completion.Parse(1, fields.RootElement));
                    none.Parse(1, fields.RootElement);
                };
            }),
            Parser.OfFile("JSON Lines",
                [
                    AllParsers.Utf8(string.Join('\n', Lines.Where(l => !l.Contains("conversations")))),
                    AllParsers.Utf8("\uFEFF" + string.Join("\r\n", Enumerable.Repeat(Lines[0], 30)) + "\r\n"), AllParsers.Utf8("\n\n" + Lines[5] + "\n"),
                ],
                "d.jsonl", folder => () => ReadAll(Path.Combine(folder, "d.jsonl"), 64 * 200)),
            Parser.OfFile("Parquet", [.. Directory.GetFiles(Path.Combine(fixtures, "parquet"), "*.parquet").Order(StringComparer.Ordinal).Select(File.ReadAllBytes)],
                "d.parquet", folder => () =>
            {
                // Row groups as a whole, and in parts of some rows.
                foreach (var held in new[] { DataSet.HeldBytes, 64 * 400 }) ReadAll(Path.Combine(folder, "d.parquet"), held);
            }),
            new Parser("tokenizer.model", [small], _ => bytes =>
            {
                var parsed = SentencePieceTokenizer.Parse("tokenizer.model", bytes);
                foreach (var text in new[] { "Hello <bos> world\n\n  \u00e9\U0001F600", "" }) parsed.Decode(parsed.Encode(text));
                parsed.EncodeContent("<start_of_turn>user");
            }),
            new Parser("text", [.. Lines.Select(AllParsers.Utf8), AllParsers.Utf8("<start_of_turn>user\nHi<end_of_turn>\n  \u2581\u2581 \t x")], _ => bytes =>
            {
                var text = Encoding.UTF8.GetString(bytes);
                // SentencePiece's own sign for a space is read as one.
                if (tokenizer.Decode(tokenizer.Encode(text)) != text.Replace('\u2581', ' ')) throw new UnnoticedException("the ids of a text give another text");
                tokenizer.EncodeContent(text);
            }),
            new Parser("token cache", [Cached(tokenizer)], folder =>
            {
                var (cache, key) = (new TokenCache(Path.Combine(folder, "tokens")), TokenCache.Key("a"u8, "t", LossOn.All));
                cache.Store(key, []);
                var path = Directory.GetFiles(Path.Combine(folder, "tokens"), "*", SearchOption.AllDirectories).Single();
                return bytes =>
                {
                    File.WriteAllBytes(path, bytes);
                    if (cache.Find(key) is null) throw new InputException("the entry is damaged");
                };
            }),
        ];

        void ReadAll(string path, long held)
        {
            using var set = new DataSet([path], tokenizer, new DataOptions(64, tables, LossOn.Completion, OverLength.Split), null, held);
            var blocks = Enumerable.Range(0, set.BlocksOf(0)).Select(b => new BlockAt(0, b)).ToArray();
            set.Sample();
            foreach (var at in blocks)
            {
                var block = set.Read(at);
                foreach (var example in block.Examples) Check(example);
                set.Require([(at, block)]);
            }
        }

        static void Check(Example example)
        {
            if (example.Ids.Length == 0 || example.Ids.Length != example.Labels.Length || example.Ids.Any(id => id is < 0))
                throw new UnnoticedException($"an example has {example.Ids.Length} ids and {example.Labels.Length} labels");
        }
    }

    // A model of the same kind that is quick to read: all bytes, and the first pieces.
    static byte[] Shortened(byte[] model, int pieces)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        var reader = new ProtobufReader(model);
        for (var seen = 0; reader.Next();)
        {
            if (reader.Field == 1 && seen++ >= pieces) continue;
            writer.Write((byte)(reader.Field << 3 | 2));
            writer.Write7BitEncodedInt(reader.Content.Length);
            writer.Write(reader.Content);
        }
        return stream.ToArray();
    }

    static byte[] Cached(SentencePieceTokenizer tokenizer)
    {
        var folder = Directory.CreateTempSubdirectory("parsers-fuzz-").FullName;
        try
        {
            var cache = new TokenCache(folder);
            var parser = new LineParser(tokenizer, new DataOptions(null, [], LossOn.Completion));
            cache.Store("aaaa", [.. Lines.SkipLast(1).Select((line, i) =>
            {
                using var fields = LineParser.Object(AllParsers.Utf8(line));
                return parser.Parse(i + 1, fields.RootElement);
            })]);
            return File.ReadAllBytes(Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Single());
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }
}
