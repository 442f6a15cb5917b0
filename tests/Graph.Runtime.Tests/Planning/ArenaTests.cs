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
