using System;
using System.Linq;
using Graph.Runtime.Execution;
using Xunit;

namespace Graph.Runtime.Tests;

public class MicroBatchTests
{
    [Fact]
    public void Pack_TwoDocuments_StandSideBySideAndSlackIsShortDocumentsWithoutLabels()
    {
        var batch = MicroBatch.Pack(200, [([1, 2, 3], [2, 3, -100]), ([4, 5], [5, -100])]);
        Assert.Equal([1, 2, 3, 4, 5, 0], batch.Ids[..6]);
        Assert.Equal([2, 3, -100, 5, -100], batch.Labels[..5]);
        Assert.Equal([0, 1, 2, 0, 1, 0, 1], batch.Positions[..7]);
        Assert.Equal([0, 0, 0, 3, 3, 5], batch.DocStart[..6]);
        // No longer than the longest document, so that a table of positions which is long enough for the documents is long enough for all.
        Assert.Equal([3, 3, 3, 5, 5, 8], batch.DocEnd[..6]);
        Assert.All(batch.Labels[5..], l => Assert.Equal(-100, l));
        Assert.Equal(3, batch.LabelCount);
        for (var t = 5; t < 200; t++)
        {
            Assert.InRange(t, batch.DocStart[t], batch.DocEnd[t] - 1);
            Assert.InRange(batch.DocEnd[t] - batch.DocStart[t], 1, 3);
            Assert.Equal(t - batch.DocStart[t], batch.Positions[t]);
        }
        Assert.Equal(200, batch.DocEnd[199]);
    }

    [Fact]
    public void Pack_LongDocument_LeavesSlackOfAtMost64Tokens() => Assert.Equal([170, 200], MicroBatch.Pack(200, [(new int[106], new int[106])]).DocEnd.Distinct().Skip(1));

    [Fact]
    public void Pack_TooManyTokens_IsRefused() =>
        Assert.Contains("do not fit in 4", Assert.Throws<ArgumentException>(() => MicroBatch.Pack(4, [(new int[3], new int[3]), (new int[2], new int[2])])).Message);

    [Theory, InlineData(null), InlineData(1), InlineData(7), InlineData(40)]
    public void AttendedPairs_DocumentsAndWindow_AreThoseOfTheMask(int? window)
    {
        int[] lengths = [5, 40, 1, 23];
        var batch = MicroBatch.Pack(lengths.Sum(), [.. lengths.Select(n => (new int[n], new int[n]))]);
        var pairs = Enumerable.Range(0, batch.Ids.Length)
            .Sum(q => (long)Enumerable.Range(0, batch.Ids.Length).Count(k => k >= batch.DocStart[q] && k <= q && q - k < (window ?? int.MaxValue)));
        Assert.Equal(pairs, batch.AttendedPairs(window));
        Assert.Equal(MicroBatch.Pack(96, [.. Enumerable.Repeat((new int[40], new int[40]), 2), (new int[16], new int[16])])
            .AttendedPairs(window), Graph.Runtime.Planning.LaunchCost.Pairs(96, 40, window));
    }
}
