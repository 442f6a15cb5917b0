using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Data;
using Graph.Finetune.Tests.Tokenization;
using Graph.Finetune.Tokenization;
using Xunit;

namespace Graph.Finetune.Tests.Data;

public class GemmaChatTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static IReadOnlyList<JsonElement> Goldens() => [.. JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Chat, "chat_goldens.json"))).RootElement.EnumerateArray()];

    /// <summary>The case's messages as the only line of a file.</summary>
    static Example Read(Scratch scratch, JsonElement golden, LossOn lossOn, SentencePieceTokenizer tokenizer) =>
        DataTests.Read(scratch.File("c.jsonl", [$"{{\"messages\":{JsonSerializer.Serialize(golden.GetProperty("messages"))}}}"]),
            new DataOptions(null, [], lossOn), tokenizer).Single();

    static IReadOnlyList<ChatMessage> Messages(JsonElement golden) =>
        [.. golden.GetProperty("messages").EnumerateArray()
            .Select(m => new ChatMessage(m.GetProperty("role").GetString() switch { "system" => ChatRole.System, "user" => ChatRole.User, _ => ChatRole.Model },
                m.GetProperty("content").GetString()!))];

    // The goldens' maker asked SentencePiece for the control piece of BOS, which the fixture has as a user-defined one: -1 stands for BOS.
    static int[] Ids(JsonElement golden, string name) => [.. golden.GetProperty(name).EnumerateArray().Select(i => i.GetInt32() is var id && id == -1 ? Tokenizer.Bos : id)];

    [Fact]
    public void Encode_Goldens_HaveTheirIdsLabelsAndPrompts()
    {
        using var scratch = new Scratch();
        var goldens = Goldens().Where(g => g.TryGetProperty("ids", out _)).ToArray();
        Assert.Equal(60, goldens.Length);
        Assert.All(goldens, golden =>
        {
            var completion = Read(scratch, golden, LossOn.Completion, Tokenizer);
            Assert.Equal(Ids(golden, "ids"), completion.Ids);
            Assert.Equal(Ids(golden, "labels"), completion.Labels);
            var all = Read(scratch, golden, LossOn.All, Tokenizer);
            Assert.Equal(completion.Ids, all.Ids);
            Assert.Equal(all.Ids, all.Labels);
            Assert.Equal(Ids(golden, "prompt_ids"), new GemmaChat(Tokenizer).Prompt(Messages(golden).SkipLast(1).ToArray()));
        });
    }

    [Fact]
    public void Encode_ControlPiecesInAContent_AreText()
    {
        using var scratch = new Scratch();
        var goldens = Goldens().Where(g => g.TryGetProperty("control", out _)).ToArray();
        Assert.Equal(7, goldens.Length);
        Assert.All(goldens, golden => HasItsContents(golden, Read(scratch, golden, LossOn.All, Tokenizer), Tokenizer));
    }

    /// <summary>One start and one end for each turn, one BOS, no other steering id; and between them the contents.</summary>
    static void HasItsContents(JsonElement golden, Example example, SentencePieceTokenizer tokenizer)
    {
        int start = tokenizer.IdOf("<start_of_turn>")!.Value, end = tokenizer.IdOf("<end_of_turn>")!.Value;
        var messages = Messages(golden);
        Assert.Equal((tokenizer.Bos, 1), (example.Ids[0], example.Ids.Count(i => i == tokenizer.Bos)));
        Assert.Equal((messages.Count, messages.Count), (example.Ids.Count(i => i == start), example.Ids.Count(i => i == end)));
        Assert.Equal(1 + 2 * messages.Count, example.Ids.Count(tokenizer.IsSteering));
        var at = 0;
        foreach (var message in messages)
        {
            var (from, to) = (System.Array.IndexOf(example.Ids, start, at) + 1, System.Array.IndexOf(example.Ids, end, at + 1));
            Assert.Equal((message.Role == ChatRole.User ? "user" : "model") + "\n" + message.Content.Trim(), tokenizer.Decode(example.Ids[from..to]));
            at = to;
        }
    }

    /// <summary>
    /// A tokenizer whose pieces have other numbers and kinds:
    /// turns are control pieces, BOS and EOS are at the end, and their numbers in the trainer's part are stale.
    /// </summary>
    static SentencePieceTokenizer Other()
    {
        List<(string, float, int)> pieces = [("<unk>", 0, 2), ("<end_of_turn>", 0, 3), ("<unused5>", 0, 4), ("\n", 0, 4), ("\n\n", 0, 4)];
        pieces.AddRange(Enumerable.Range(0, 256).Select(b => ($"<0x{b:X2}>", 0f, 6)));
        pieces.Add(("<start_of_turn>", 0, 4));
        string[] normal = ["se", "us", "er", "user", "mo", "de", "mode", "model", "<s", "<start", "_of", "_of_", "_t", "en", "end"];
        pieces.AddRange(normal.Select((text, i) => (text, -1f - i, 1)));
        pieces.AddRange("abcdefghijklmnopqrstuvwxyz<>_/▁0123456789".Select((c, i) => (c.ToString(), -100f - i, 1)));
        pieces.AddRange([("<eos>", 0, 4), ("<bos>", 0, 3)]);
        return SentencePieceTokenizer.Parse("other", ProtobufWriter.Model(pieces, bos: 0, eos: 0));
    }

    [Fact]
    public void Encode_AnotherTokenizer_ItsOwnIdsAreUsed()
    {
        using var scratch = new Scratch();
        var other = Other();
        Assert.Equal((other.IdOf("<bos>"), other.IdOf("<eos>")), (other.Bos, other.Eos));
        Assert.All(Goldens(), golden =>
        {
            if (Messages(golden).All(m => m.Role != ChatRole.System)) HasItsContents(golden, Read(scratch, golden, LossOn.Completion, other), other);
        });
    }

    [Theory]
    [InlineData("\\u001c hi \\u3000\\u0085\\u001f", "hi"), InlineData("\\u200bhi\\ufeff", "\u200Bhi\uFEFF"), InlineData(" \\n", "")]
    public void Encode_WhiteSpaceAroundAContent_IsPythons(string written, string content)
    {
        using var scratch = new Scratch();
        var example = DataTests.Read(scratch.File("c.jsonl", [$"{{\"messages\":[{{\"role\":\"user\",\"content\":\"{written}\"}},{{\"role\":\"model\",\"content\":\"x\"}}]}}"]),
            new DataOptions(null, [])).Single();
        Assert.Equal($"<start_of_turn>user\n{content}<end_of_turn>\n<start_of_turn>model\nx<end_of_turn>\n", Tokenizer.Decode(example.Ids[1..]));
    }

    [Fact]
    public void Encode_SystemText_StandsBeforeTheFirstUserText()
    {
        var chat = new GemmaChat(Tokenizer);
        string Text(params ChatMessage[] messages) => Tokenizer.Decode(chat.Encode(messages, LossOn.All, 1).Ids[1..]);
        Assert.Equal("<start_of_turn>user\nbe kind\n\nhi<end_of_turn>\n", Text(new(ChatRole.System, " be kind\n"), new(ChatRole.User, " hi")));
        Assert.Equal("<start_of_turn>user\nhi<end_of_turn>\n", Text(new(ChatRole.System, " \n"), new(ChatRole.User, "hi")));
    }

    [Theory]
    [InlineData("chat_template.jinja", "{{ '<|im_start|>' + role }}", true), InlineData("tokenizer_config.json", "{\"chat_template\":\"<|im_start|>\"}", true)]
    [InlineData("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"default\",\"template\":\"<|im_start|>\"}]}", true)]
    [InlineData("chat_template.jinja", "{{ '<start_of_turn>' + role + '<end_of_turn>' }}", false),
     InlineData("tokenizer_config.json", "{\"chat_template\":\"<start_of_turn><end_of_turn>\"}", false)]
    [InlineData("tokenizer_config.json", "{\"chat_template\":null}", false), InlineData("tokenizer_config.json", "{}", false), InlineData("tokenizer_config.json", "{", false)]
    public void Inspect_TheTokenizersTemplateIsNotGemmas_IsSaid(string file, string text, bool said)
    {
        using var scratch = new Scratch();
        File.Copy(Fixture.TokenizerModel, Path.Combine(scratch.Path, "tokenizer.model"));
        File.WriteAllText(Path.Combine(scratch.Path, file), text);
        var data = scratch.File("d.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
        foreach (var tokenizer in new[] { scratch.Path, Path.Combine(scratch.Path, "tokenizer.model") })
        {
            var result = Commands.Gemma2Run.Run("data", "inspect", data, "--model", tokenizer, "--json");
            Assert.Equal((0, said), (result.Code, result.Error.Contains("writes no <start_of_turn>")));
        }
        Assert.Equal(said, Commands.Gemma2Run.Run(Commands.Gemma2Run.Train(data, Path.Combine(scratch.Path, "out"), "--tokenizer", scratch.Path, "--steps", "1", "--dry-run"))
            .Error.Contains("writes no <start_of_turn>"));
    }

    [Fact]
    public void Find_OnlyATokenizerJson_SaysThatItIsNotRead()
    {
        using var scratch = new Scratch();
        scratch.File("tokenizer.json", "{}");
        Assert.Contains("its tokenizer.json is not read", Assert.Throws<InputException>(() => SentencePieceTokenizer.Find(scratch.Path)).Message);
    }
}
