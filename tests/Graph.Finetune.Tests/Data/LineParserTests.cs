using System.Linq;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Xunit;

namespace Graph.Finetune.Tests.Data;

public class LineParserTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static Example[] Read(Scratch scratch, LossOn lossOn, params string[] lines) =>
        [.. DataTests.Read(scratch.File("d.jsonl", lines), new DataOptions(512, [new("ids", "table", 4096), new("labels", "table", 4096)], lossOn))];

    [Fact]
    public void Read_EveryKind_BecomesBosTextEos()
    {
        using var scratch = new Scratch();
        var examples = Read(scratch, LossOn.All, "{\"text\":\"one two\"}", "", "{\"instruction\":\"Do.\",\"output\":\"done\"}",
            "{\"instruction\":\"Do.\",\"input\":\"it\",\"output\":\"done\"}", "{\"prompt\":\"one \",\"completion\":\"two\"}",
            "{\"input_ids\":[7,8],\"labels\":[-100,8],\"id\":3}");
        Assert.Equal([1, 3, 4, 5, 6], examples.Select(e => e.Line));
        int[] Text(string text) => [2, .. Tokenizer.Encode(text), 1];
        Assert.Equal(Text("one two"), examples[0].Ids);
        Assert.Equal(Text(Alpaca.Prompt("Do.", "") + "done"), examples[1].Ids);
        Assert.Equal(Text(Alpaca.Prompt("Do.", "it") + "done"), examples[2].Ids);
        Assert.Equal(Text("one two"), examples[3].Ids);
        Assert.Equal([7, 8], examples[4].Ids);
        Assert.Equal([-100, 8], examples[4].Labels);
        Assert.All(examples[..4], e => Assert.Equal(e.Ids, e.Labels));
    }

    /// <summary>As in Parquet, where rows of several kinds have null in each other's columns.</summary>
    [Fact]
    public void Read_FieldIsNull_IsNotThere()
    {
        using var scratch = new Scratch();
        const string others = "\"messages\":null,\"conversations\":null,\"instruction\":null";
        var with = Read(scratch, LossOn.All, "{\"instruction\":\"Do.\",\"input\":null,\"output\":\"done\"}", $"{{\"input_ids\":null,{others},\"prompt\":null,\"text\":\"one\"}}",
            $"{{\"text\":null,{others},\"input_ids\":[7,8],\"labels\":null,\"attention_mask\":null}}");
        var without = Read(scratch, LossOn.All, "{\"instruction\":\"Do.\",\"output\":\"done\"}", "{\"text\":\"one\"}", "{\"input_ids\":[7,8]}");
        Assert.Equal(without.Select(e => (string.Join(' ', e.Ids), string.Join(' ', e.Labels))), with.Select(e => (string.Join(' ', e.Ids), string.Join(' ', e.Labels))));
    }

    [Fact]
    public void Read_LossOnCompletion_MasksThePromptOnly()
    {
        using var scratch = new Scratch();
        var example = Read(scratch, LossOn.Completion, "{\"prompt\":\"What is it?\\n\",\"completion\":\"A stone.\"}").Single();
        var border = 1 + Tokenizer.Encode("What is it?\n").Length;
        Assert.All(example.Labels[..border], l => Assert.Equal(-100, l));
        Assert.Equal(example.Ids[border..], example.Labels[border..]);
    }

    [Theory]
    [InlineData("{\"messages\":[]}", "no message"), InlineData("{\"name\":\"x\"}", "the fields name"), InlineData("[1]", "not an object"),
     InlineData("{\"text\":5}", "not a string"),
     InlineData("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\"}]}]}",
         "at position 1, has tool_calls"),
     InlineData("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}", "not a string"), InlineData("{\"prompt\":\"a\"}", "no 'completion'"),
     InlineData("{\"prompt\":\"a\",\"completion\":null}", "no 'completion'"), InlineData("{\"text\":null,\"id\":3}", "the fields text = null, id;"),
     InlineData("{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "in the message at position 0, has no 'content'"),
     InlineData("{\"input_ids\":[]}", "no input_ids"), InlineData("{\"input_ids\":[1,2],\"labels\":[1]}", "2 input_ids but 1 labels"),
     InlineData("{\"input_ids\":[1,-1]}", "at position 1"), InlineData("{\"input_ids\":[1.5]}", "at position 0"),
     InlineData("{\"input_ids\":[1],\"attention_mask\":[0]}", "padding"),
     InlineData("{\"input_ids\":[1,2],\"completion_mask\":[0,1]}", "has completion_mask beside input_ids, which is not read; give labels"),
     InlineData("{\"input_ids\":[1,2],\"position_ids\":[0,0]}", "give each document a line of its own"),
     InlineData("{\"text\":\"\\ud800\"}", "surrogate"), InlineData("{\"text\":\"a\",\"text\":\"b\"}", "is not JSON"),
     InlineData("{\"input_ids\":[1],\"labels\":[-1]}", "labels are -100")]
    public void Read_LineThatCannotBeUsed_IsNamedByNumber(string line, string says)
    {
        using var scratch = new Scratch();
        var message = Assert.Throws<InputException>(() => Read(scratch, LossOn.All, "{\"input_ids\":[1,2]}", line)).Message;
        Assert.Contains("line 2,", message);
        Assert.Contains(says, message);
    }

    [Fact]
    public void Read_BytesThatAreNoUtf8_AreRefused()
    {
        using var scratch = new Scratch();
        var path = scratch.File("d.jsonl", [.. "{\"text\":\""u8, 0xC3, .. "\"}\n"u8]);
        Assert.Contains("is not UTF-8",
            Assert.Throws<InputException>(() => DataTests.Read(path, new DataOptions(512, [new("ids", "table", 4096), new("labels", "table", 4096)]))).Message);
    }
}
