using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Finetune.Tokenization;
using Xunit;

namespace Graph.Finetune.Tests.Tokenization;

public class BpeEncoderTests
{
    /// <summary>The rule as it is written, in quadratic time: of all neighbours the ones with the best union are joined, the leftmost of equals first.</summary>
    static int[] Literally(IReadOnlyList<(string Text, float Score, int Kind)> pieces, string text)
    {
        var ids = Enumerable.Range(0, pieces.Count).Where(i => pieces[i].Kind is 1 or 4 or 5).ToDictionary(i => pieces[i].Text);
        var symbols = new List<(string Text, bool Frozen)>();
        for (var at = 0; at < text.Length; at += symbols[^1].Text.Length)
        {
            var user = pieces.Where(p => p.Kind == 4 && text.AsSpan(at).StartsWith(p.Text)).OrderByDescending(p => p.Text.Length).FirstOrDefault();
            symbols.Add((user.Text ?? text[at].ToString(), user.Text is not null));
        }
        var made = new Dictionary<string, (string, string)>();
        for (var i = 1; i < symbols.Count; i++) Offer(i - 1);
        while (true)
        {
            var best = -1;
            for (var i = 0; i + 1 < symbols.Count; i++)
                if (Union(i) is { } id && (best < 0 || pieces[id].Score > pieces[Union(best)!.Value].Score)) best = i;
            if (best < 0) break;
            symbols[best] = (symbols[best].Text + symbols[best + 1].Text, false);
            symbols.RemoveAt(best + 1);
            Offer(best - 1);
            Offer(best);
        }
        return [.. symbols.SelectMany(s => Emit(s.Text))];

        int? Union(int i) => i >= 0 && i + 1 < symbols.Count && !symbols[i].Frozen && !symbols[i + 1].Frozen
            && ids.TryGetValue(symbols[i].Text + symbols[i + 1].Text, out var id) ? id : null;

        void Offer(int i)
        {
            if (Union(i) is { } id && pieces[id].Kind == 5) made[pieces[id].Text] = (symbols[i].Text, symbols[i + 1].Text);
        }

        IEnumerable<int> Emit(string symbol) => !ids.TryGetValue(symbol, out var id) ? Encoding.UTF8.GetBytes(symbol).Select(b => b + 1)
            : pieces[id].Kind == 5 && made.TryGetValue(symbol, out var parts) ? Emit(parts.Item1).Concat(Emit(parts.Item2)) : [id];
    }

    /// <summary>Random models of few characters, so that unions compete, with equal scores, user-defined and unused pieces.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void Encode_RandomModels_IsTheRule(bool unused)
    {
        var random = new Random(unused ? 8 : 7);
        for (var round = 0; round < 300; round++)
        {
            const string letters = "ab▁é日<";
            List<(string Text, float Score, int Kind)> pieces = [("<unk>", 0, 2), .. Enumerable.Range(0, 256).Select(b => ($"<0x{b:X2}>", 0f, 6))];
            foreach (var c in letters.Where(_ => random.Next(6) > 0)) pieces.Add((c.ToString(), -random.Next(40), 1));
            for (var i = random.Next(1, 25); i > 0; i--)
            {
                var text = string.Concat(Enumerable.Range(0, random.Next(2, 6)).Select(_ => letters[random.Next(letters.Length)]));
                if (pieces.All(p => p.Text != text)) pieces.Add((text, -random.Next(40), random.Next(8) == 0 ? 4 : unused && random.Next(4) == 0 ? 5 : 1));
            }
            var tokenizer = SentencePieceTokenizer.Parse("random", ProtobufWriter.Model(pieces, bos: 0, eos: 0));
            for (var text = 0; text < 20; text++)
            {
                var written = string.Concat(Enumerable.Range(0, random.Next(60)).Select(_ => letters[random.Next(letters.Length)]));
                Assert.Equal(Literally(pieces, written), tokenizer.Encode(written));
            }
        }
    }

    [Fact]
    public void Encode_OneLongPart_TakesFewBytesACharacter()
    {
        var tokenizer = SentencePieceTokenizer.Load(Fixture.TokenizerModel);
        var random = new Random(9);
        // Without a space there is hardly a place to cut.
        foreach (var text in new[] { new string('a', 2_000_000), string.Concat(Enumerable.Range(0, 2_000_000).Select(_ => (char)random.Next('a', 'z' + 1))) })
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            Assert.NotEmpty(tokenizer.Encode(text));
            Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / (double)text.Length, 2, 48);
        }
    }

    [Fact]
    public void Parse_PieceOrBosThatCannotBe_IsRefused()
    {
        List<(string, float, int)> pieces = [("<unk>", 0, 2), .. Enumerable.Range(0, 256).Select(b => ($"<0x{b:X2}>", 0f, 6))];
        Assert.Contains("begins a text with id 300", Assert.Throws<InputException>(() => SentencePieceTokenizer.Parse("m", ProtobufWriter.Model(pieces, 300, 0))).Message);
        Assert.Contains("5000 characters",
            Assert.Throws<InputException>(() => SentencePieceTokenizer.Parse("m", ProtobufWriter.Model([.. pieces, (new string('a', 5000), 0, 1)], 0, 0))).Message);
        var named = SentencePieceTokenizer.Parse("m", ProtobufWriter.Model([.. pieces, ("[B]", 0, 3), ("<bos>", 0, 3), ("<eos>", 0, 3)], 0, 0, "[B]", "none"));
        Assert.Equal((257, 259), (named.Bos, named.Eos));
    }
}
