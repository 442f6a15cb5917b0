using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Tokenization;
using Xunit;

namespace Graph.Finetune.Tests.Tokenization;

public class TokenizerGoldenTests
{
    static readonly SentencePieceTokenizer Tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);

    static IReadOnlyList<(string Text, int[] Ids, string Decoded)> Goldens()
    {
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Reference, "tokenizer_goldens.json")));
        return [.. json.RootElement.EnumerateArray()
            .Select(e => (e.GetProperty("text").GetString()!, e.GetProperty("ids").EnumerateArray().Select(i => i.GetInt32()).ToArray(), e.GetProperty("decoded").GetString()!))];
    }

    [Fact]
    public void Encode_Goldens_EqualSentencePiece()
    {
        var goldens = Goldens();
        Assert.Equal(290, goldens.Count);
        Assert.All(goldens, g => Assert.Equal(g.Ids, Tokenizer.Encode(g.Text)));
    }

    [Fact]
    public void Decode_Goldens_EqualSentencePiece() => Assert.All(Goldens(), g => Assert.Equal(g.Decoded, Tokenizer.Decode(g.Ids)));

    [Fact]
    public void BosAndEos_OfTheFixture_AreGemmas() => Assert.Equal((2, 1, 4096), (Tokenizer.Bos, Tokenizer.Eos, Tokenizer.Count));

    [Fact]
    public void Encode_HalfSurrogatePairs_AreReplacementCharacters()
    {
        Assert.Equal(Tokenizer.Encode("a\uFFFDb"), Tokenizer.Encode("a\uD83Db"));
        Assert.Equal(Tokenizer.Encode("\uFFFD"), Tokenizer.Encode("\uDE42"));
        Assert.Equal(Tokenizer.Encode("x\uFFFD"), Tokenizer.Encode("x\uD83D"));
    }

    [Fact]
    public void Decode_BrokenUtf8_IsOneReplacementCharacterPerByte()
    {
        // Two of the three bytes of a Euro sign, then a letter: ids 215 + byte.
        Assert.Equal("\uFFFD\uFFFDa", Tokenizer.Decode([215 + 0xE2, 215 + 0x82, .. Tokenizer.Encode("a")]));
    }

    [Fact]
    public void Decode_ControlPiece_IsNothing() => Assert.Equal("ab", Tokenizer.Decode([.. Tokenizer.Encode("a"), 0, .. Tokenizer.Encode("b")]));

    [Fact]
    public void Decode_IdOutsideTheVocabulary_IsNamed() => Assert.Contains("4096", Assert.Throws<ArgumentOutOfRangeException>(() => Tokenizer.Decode([4096])).Message);

    [Fact]
    public void Decode_OfEncode_IsTheText()
    {
        // U+2581 is what a space is stored as, so it comes back as one: left out here.
        var random = new Random(20);
        string[] parts = ["a", "the", " ", "  ", "\n", "\n\n\n", "<td>", "</", "<start_of_turn>", "é", "漢", "🙂", "\0", "7", "==", "word", "\t", "ß", "\uFFFF", "'", "x_1"];
        for (var round = 0; round < 3000; round++)
        {
            var text = new StringBuilder();
            for (var i = random.Next(40); i > 0; i--)
            {
                if (random.Next(4) > 0) text.Append(parts[random.Next(parts.Length)]);
                else if (Rune.TryCreate(random.Next(0x110000), out var rune) && rune.Value != 0x2581) text.Append(rune.ToString());
            }
            Assert.Equal(text.ToString(), Tokenizer.Decode(Tokenizer.Encode(text.ToString())));
        }
    }

    [Fact]
    public void Encode_LongText_TakesTimeNearlyInItsLength()
    {
        // 7 million characters take about a second. Quadratic time, from that of 34,000, would be most of a minute on an idle machine, so other programs do not decide this.
        var text = string.Concat(Enumerable.Repeat(string.Concat(Goldens().Select(g => g.Text)), 400));
        var watch = Stopwatch.StartNew();
        Tokenizer.Encode(text);
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 30);
        // One symbol's neighbours are found again and again in text of one letter.
        Assert.Equal(100_000, Tokenizer.Encode(new string('a', 100_000)).Length);
    }
}
