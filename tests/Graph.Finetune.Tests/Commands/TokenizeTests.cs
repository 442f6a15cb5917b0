using System.Linq;
using System.Text.Json;
using System.IO;
using Xunit;

namespace Graph.Finetune.Tests.Commands;

public class TokenizeTests
{
    [Fact]
    public void Tokenize_GoldenTexts_PrintsSentencePiecesIds()
    {
        using var scratch = new Scratch();
        var goldens = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Reference, "tokenizer_goldens.json"))).RootElement.EnumerateArray().ToArray();
        var data = scratch.File("texts.jsonl", goldens.Select(g => $"{{\"text\":{g.GetProperty("text").GetRawText()}}}"));
        var lines = Gemma2Run.Succeed("tokenize", "--model", Fixture.Checkpoint, "--data", data).TrimEnd('\n').Split('\n');
        Assert.Equal(290, goldens.Length);
        Assert.Equal(goldens.Select(g => string.Join(',', g.GetProperty("ids").EnumerateArray())),
            lines.Select(l => string.Join(',', JsonDocument.Parse(l).RootElement.GetProperty("ids").EnumerateArray())));
    }
}
