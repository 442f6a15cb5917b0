using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Commands;
using Xunit;

namespace Graph.Finetune.Tests.Commands;

public class DataTests
{
    static string Messages(Scratch scratch)
    {
        var goldens = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Chat, "chat_goldens.json"))).RootElement.EnumerateArray().ToArray();
        return scratch.File("chat.jsonl", goldens.Select(g => $"{{\"messages\":{JsonSerializer.Serialize(g.GetProperty("messages"))}}}"));
    }

    [Fact]
    public void Inspect_Json_IsALineOfIdsAndLabelsForEachDocument()
    {
        using var scratch = new Scratch();
        var lines = Gemma2Run.Succeed("data", "inspect", "--model", Fixture.Checkpoint, "--data", Messages(scratch), "--loss-on", "completion", "--json")
            .TrimEnd('\n').Split('\n').Select(l => JsonDocument.Parse(l).RootElement).ToArray();
        var goldens = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Chat, "chat_goldens.json"))).RootElement.EnumerateArray().ToArray();
        Assert.Equal(goldens.Length, lines.Length);
        foreach (var (golden, line, number) in goldens.Zip(lines, Enumerable.Range(1, goldens.Length)))
        {
            Assert.Equal(["line", "ids", "labels"], line.EnumerateObject().Select(p => p.Name));
            Assert.Equal(number, line.GetProperty("line").GetInt32());
            if (!golden.TryGetProperty("ids", out var ids)) continue;
            Assert.Equal(ids.EnumerateArray().Skip(1).Select(i => i.GetInt32()), line.GetProperty("ids").EnumerateArray().Skip(1).Select(i => i.GetInt32()));
            Assert.Equal(golden.GetProperty("labels").GetRawText().Replace(" ", ""), line.GetProperty("labels").GetRawText());
        }
    }

    [Fact]
    public void Inspect_ForPeople_CountsAndShowsWhatIsLearnt()
    {
        using var scratch = new Scratch();
        var data = scratch.File("d.jsonl", "{\"prompt\":\"one \",\"completion\":\"two\"}", "{\"input_ids\":[2,5,6,7,8,9,10,11]}", "{\"input_ids\":[2,5,6]}");
        string Inspect(params string[] more) => Gemma2Run.Succeed(["data", "inspect", data, "--model", Fixture.Checkpoint, "--seq", "8", "--batch-tokens", "12", .. more]);
        var text = Inspect("--loss-on", "completion");
        Assert.Contains("3 lines, 3 documents, ", text);
        Assert.Contains("       8 to 15                1  #", text);
        Assert.Contains("<s>one« two</s>»", text);
        Assert.Contains("tokens that are learnt stand in «»", text);
        // 5 + 3 tokens beside 8: two micro-batches; joined, 15 tokens are one row of 8.
        Assert.Contains("packed: 2 micro-batches of 12 tokens, ", text);
        Assert.Contains("one in a row: 3 micro-batches", Inspect("--packing", "off"));
        Assert.DoesNotContain("«", Inspect("--show", "0"));
        var split = Gemma2Run.Succeed("data", "inspect", "--data", data, "--model", Fixture.Checkpoint, "--seq", "4", "--over-length", "split");
        Assert.Contains("1 of 3 lines are longer than --seq 4 and were split into 2 documents\n", split);

        var example = new Graph.Finetune.Data.Example([2, 5, 6], [2, -100, 6], 1);
        Assert.Equal("\e[90m2\e[0m\e[90m\e[2m 5\e[0m\e[32m 6\e[0m", InspectText.Of(example, null, colours: true));
        Assert.Equal("2 5« 6»", InspectText.Of(example, null, colours: false));
    }

    [Fact]
    public void Inspect_BrokenLines_AreSaidEachWithItsNumber()
    {
        using var scratch = new Scratch();
        var data = scratch.File("d.jsonl", "{\"text\":5}", "{\"text\":\"a\\u001b[31mb\"}", "", "{", "{\"te\\u001bxt\":1}");
        var result = Gemma2Run.Run("data", "inspect", data, "--model", Fixture.Checkpoint);
        Assert.Equal(3, result.Code);
        var errors = result.Error.TrimEnd('\n').Split('\n');
        Assert.Equal([$"{data}, line 1, has text = 5", $"{data}, line 4, is not JSON", $"{data}, line 5, has the fields te\\u001Bxt", "error: 3 of 4 lines cannot be used"],
            errors.Select((e, i) => e[..(i < 3 ? data.Length + new[] { 23, 21, 37 }[i] : 34)].TrimEnd(',', ':', ';', ' ')));
        // What a text says does not reach the terminal as a command.
        Assert.DoesNotContain('\e', result.Out);
        Assert.Contains("<0x1B>[31mb", result.Out);
        Assert.Contains("there is no data file", Gemma2Run.Run("data", "inspect", "nowhere").Error);
        Assert.Contains("name one", Gemma2Run.Run("data", "inspect").Error);
    }
}
