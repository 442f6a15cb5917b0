using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Runtime.Planning;

/// <summary>A lifetime with its place in the arena.</summary>
public sealed record Placement(Lifetime Lifetime, long Offset);

/// <summary>Offsets for all lifetimes, in their order, and the bytes the block needs.</summary>
public sealed record ArenaLayout(IReadOnlyList<Placement> Placements, long Bytes)
{
    public static ArenaLayout Empty { get; } = new([], 0);
}

/// <summary>
/// Offset assignment in one block. Greedy: lifetimes in some order, each at the smallest gap (best fit) among those placed that are alive with it; several orders are tried and the
/// smallest block wins. Nested lifetimes, which is what forward and backward make, come out at or near the lower bound.
/// </summary>
public static class Arena
{
    /// <summary>Every tensor starts on 512 bytes: what TMA, vector loads and cuBLASLt's fastest kernels want.</summary>
    public const long Alignment = 512;

    public static ArenaLayout Assign(IReadOnlyList<Lifetime> lifetimes)
    {
        IEnumerable<Lifetime>[] orders =
        [
            lifetimes.OrderByDescending(l => l.Bytes).ThenBy(l => l.First),
            lifetimes.OrderBy(l => l.First).ThenByDescending(l => l.Last),
            lifetimes.OrderByDescending(l => l.Last - l.First).ThenByDescending(l => l.Bytes),
        ];
        return orders.Select(Place).MinBy(layout => layout.Bytes) ?? ArenaLayout.Empty;
    }

    /// <summary>The layout with one more lifetime in a gap of it, or null: the block does not grow.</summary>
    public static ArenaLayout? InGap(ArenaLayout layout, Lifetime lifetime)
    {
        var placed = layout.Placements.ToList();
        return Place(placed, lifetime) <= layout.Bytes ? layout with { Placements = placed } : null;
    }

    /// <summary>The most bytes alive at one launch: no assignment can be smaller.</summary>
    public static long LowerBound(IReadOnlyList<Lifetime> lifetimes)
    {
        var changes = lifetimes.SelectMany(l => new[] { (At: l.First, Bytes: Align(l.Bytes)), (At: l.Last + 1, Bytes: -Align(l.Bytes)) }).GroupBy(c => c.At).OrderBy(g => g.Key);
        long alive = 0, most = 0;
        foreach (var change in changes)
        {
            alive += change.Sum(c => c.Bytes);
            if (alive > most) most = alive;
        }
        return most;
    }

    public static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    static ArenaLayout Place(IEnumerable<Lifetime> order)
    {
        // Sorted by offset, so that one pass finds the gaps.
        var placed = new List<Placement>();
        long bytes = 0;
        foreach (var lifetime in order) bytes = Math.Max(bytes, Place(placed, lifetime));
        return new ArenaLayout(placed, bytes);
    }

    // Adds a lifetime to those placed, sorted by offset, and returns where it ends.
    static long Place(List<Placement> placed, Lifetime lifetime)
    {
        var size = Align(lifetime.Bytes);
        long gapStart = 0, best = -1, bestGap = long.MaxValue;
        foreach (var other in placed)
        {
            if (other.Lifetime.First > lifetime.Last || lifetime.First > other.Lifetime.Last) continue;
            var gap = other.Offset - gapStart;
            if (gap >= size && gap < bestGap) (best, bestGap) = (gapStart, gap);
            var end = other.Offset + Align(other.Lifetime.Bytes);
            if (end > gapStart) gapStart = end;
        }
        var placement = new Placement(lifetime, best >= 0 ? best : gapStart);
        var at = placed.FindIndex(p => p.Offset > placement.Offset);
        placed.Insert(at < 0 ? placed.Count : at, placement);
        return placement.Offset + size;
    }
}
