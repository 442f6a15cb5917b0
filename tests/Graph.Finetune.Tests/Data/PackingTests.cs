using System;
using System.Linq;
using Graph.Finetune.Data;
using Xunit;

namespace Graph.Finetune.Tests.Data;

public class PackingTests
{
    /// <summary>Documents of random lengths whose ids say which document and which token they are.</summary>
    static Example[] Documents(int count, int longest, int seed = 1)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(d => Enumerable.Range(0, random.Next(2, longest + 1)).Select(t => 1000 * (d + 1) + t).ToArray())
            .Select((ids, d) => new Example(ids, ids, d + 1))];
    }

    [Fact]
    public void PackDocuments_EveryDocument_IsWholeOnceAndPredictsItsOwnNextToken()
    {
        var documents = Documents(100, 60);
        var packed = Packing.PackDocuments(documents, 128, 60);
        Assert.Equal(documents.Sum(d => (long)d.Ids.Length), packed.Tokens);
        // First fit leaves little: at most a tenth more batches than the tokens need.
        Assert.InRange(packed.Count, packed.Tokens / 128, packed.Tokens / 128 * 1.1 + 1);
        var seen = 0;
        foreach (var batch in packed)
            for (var t = 0; t < 128; t++)
            {
                if (batch.Ids[t] == 0) { Assert.Equal(-100, batch.Labels[t]); continue; }
                seen++;
                Assert.Equal(batch.Ids[t] % 1000, batch.Positions[t]);
                Assert.Equal(batch.Ids[t] - batch.Positions[t], batch.Ids[batch.DocStart[t]]);
                Assert.Equal(t + 1 < batch.DocEnd[t] ? batch.Ids[t] + 1 : -100, batch.Labels[t]);
            }
        Assert.Equal(packed.Tokens, seen);
    }

    [Fact]
    public void Concat_JoinedDocuments_AreCutIntoFullRows()
    {
        var documents = Documents(30, 40);
        var joined = documents.SelectMany(d => d.Ids).ToArray();
        var packed = Packing.Concat(documents, 64, 16);
        Assert.Equal(joined.Length % 16, packed.LeftOver);
        var rows = packed.SelectMany(b => b.Ids.Chunk(16)).ToArray();
        Assert.Equal(joined[..(joined.Length / 16 * 16)], rows.SelectMany(r => r).Take(joined.Length / 16 * 16));
        Assert.All(packed.Take(packed.Count - 1), b => Assert.Equal(4 * 15, b.LabelCount));
        Assert.All(packed, b => Assert.Equal(Enumerable.Range(0, 16), b.Positions[..16]));
    }

    [Fact]
    public void OnePerRow_EachDocument_StandsAtTheStartOfItsRow()
    {
        var documents = Documents(7, 16);
        var packed = Packing.OnePerRow(documents, 50, 16);
        Assert.Equal(3, packed.Count);
        Assert.Equal(documents.Select(d => d.Ids[0]), packed.SelectMany(b => new[] { b.Ids[0], b.Ids[16], b.Ids[32] }).Where(id => id != 0));
        Assert.Equal(documents.Sum(d => d.Ids.Length), Enumerable.Range(0, 3).Sum(packed.TokensOf));
    }

    [Fact]
    public void Shuffle_SeedAndEpoch_DecideAPermutation()
    {
        var items = Enumerable.Range(0, 50).ToArray();
        var first = Packing.Shuffle(items, 1, 0);
        Assert.Equal(items, first.Order());
        Assert.Equal(first, Packing.Shuffle(items, 1, 0));
        Assert.NotEqual(first, Packing.Shuffle(items, 1, 1));
        Assert.NotEqual(first, Packing.Shuffle(items, 2, 0));
    }

    [Fact]
    public void PackDocuments_DocumentLongerThanSeq_IsRefusedByItsLine() =>
        Assert.Contains("line 1 ", Assert.Throws<InputException>(() => Packing.PackDocuments([new Example([1, 2, 3], [1, 2, 3], 1)], 8, 2)).Message);
}
