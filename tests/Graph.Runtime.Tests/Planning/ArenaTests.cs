using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;
using Xunit;

namespace Graph.Runtime.Tests;

public class ArenaTests
{
    [Theory]
    [InlineData(1, 10), InlineData(2, 100), InlineData(3, 400)]
    public void Assign_RandomLifetimes_NeverOverlapAndStayNearTheBound(int seed, int count)
    {
        var random = new Random(seed);
        var lifetimes = Enumerable.Range(0, count).Select(i =>
        {
            var first = random.Next(count);
            return new Lifetime("t" + i, first, Math.Min(count, first + random.Next(1, 20)), random.Next(1, 1 << 20));
        }).ToArray();
        var layout = Arena.Assign(lifetimes);
        AssertDisjoint(layout);
        var bound = Arena.LowerBound(lifetimes);
        Assert.InRange(layout.Bytes, bound, (long)(bound * 1.25));
    }

    [Fact]
    public void Assign_NestedLifetimes_ReachesTheLowerBound()
    {
        // What forward and backward make: saved activations nest, working tensors come and go between them.
        const int layers = 30;
        var lifetimes = new List<Lifetime>();
        for (var i = 0; i < layers; i++)
        {
            lifetimes.Add(new Lifetime("saved." + i, 2 * i, 4 * layers - 2 * i, 1000 + 512 * (i % 3)));
            lifetimes.Add(new Lifetime("forward." + i, 2 * i, 2 * i + 1, 5000));
            lifetimes.Add(new Lifetime("backward." + i, 4 * layers - 2 * i - 1, 4 * layers - 2 * i, 7000));
        }
        var layout = Arena.Assign(lifetimes);
        AssertDisjoint(layout);
        Assert.Equal(Arena.LowerBound(lifetimes), layout.Bytes);
    }

    [Fact]
    public void Assign_Nothing_IsEmpty() => Assert.Equal(0, Arena.Assign([]).Bytes);

    /// <summary>A lifetime more takes the smallest gap that is empty while it lives, the one behind all others included; where there is none, nothing changes.</summary>
    [Theory]
    [InlineData(2, 2, 1024, 1024L), InlineData(2, 2, 512, 1024L), InlineData(2, 2, 1025, null), InlineData(1, 2, 512, null),
     InlineData(4, 4, 2560, 0L), InlineData(4, 4, 2561, null)]
    public void InGap_OneMore_NeverGrowsTheBlock(int first, int last, long bytes, long? offset)
    {
        // At launch 1 all is taken; at 2 and 3 the middle is free, at 4 everything.
        var layout = new ArenaLayout([new(new("a", 0, 3, 1024), 0), new(new("b", 0, 1, 1024), 1024), new(new("c", 0, 3, 512), 2048)], 2560);
        var more = new Lifetime("more", first, last, bytes);
        var with = Arena.InGap(layout, more);
        Assert.Equal(offset, with?.Placements.Single(p => p.Lifetime == more).Offset);
        if (with is null) return;
        Assert.Equal(layout.Bytes, with.Bytes);
        AssertDisjoint(with);
    }

    static void AssertDisjoint(ArenaLayout layout)
    {
        foreach (var a in layout.Placements)
        {
            Assert.Equal(0, a.Offset % Arena.Alignment);
            Assert.True(a.Offset + a.Lifetime.Bytes <= layout.Bytes);
            foreach (var b in layout.Placements)
            {
                if (ReferenceEquals(a, b) || a.Lifetime.First > b.Lifetime.Last || b.Lifetime.First > a.Lifetime.Last) continue;
                Assert.True(a.Offset + a.Lifetime.Bytes <= b.Offset || b.Offset + b.Lifetime.Bytes <= a.Offset, $"{a} and {b} overlap");
            }
        }
    }
}
