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
/// Offset assignment in one block. Greedy: lifetimes in some order, each at the smallest gap (best fit) among those placed that are alive with it. Nested lifetimes, which is what forward and backward make, come out at or near the
/// lower bound. Where they do not, the lifetimes that reach highest are placed first in the next try.
/// </summary>
public static class Arena
{
    /// <summary>Every tensor starts on 512 bytes: what TMA, vector loads and cuBLASLt's fastest kernels want.</summary>
    public const long Alignment = 512;

    /// <summary>Tries after the first orders, and those of them without a smaller block after which it stays.</summary>
    const int Tries = 24, Patience = 8;

    /// <summary>Times the bound: what is larger is worth more tries.</summary>
    const double NearEnough = 1.01;

    public static ArenaLayout Assign(IReadOnlyList<Lifetime> lifetimes)
    {
        if (lifetimes.Count == 0) return ArenaLayout.Empty;
        var bound = LowerBound(lifetimes);
        IEnumerable<Lifetime>[] orders =
        [
            lifetimes.OrderByDescending(l => l.Bytes).ThenBy(l => l.First),
            lifetimes.OrderBy(l => l.First).ThenByDescending(l => l.Last),
            lifetimes.OrderByDescending(l => l.Last - l.First).ThenByDescending(l => l.Bytes),
            lifetimes.OrderByDescending(l => l.Bytes * (double)(l.Last - l.First + 1)),
            lifetimes.OrderByDescending(l => l.Last).ThenBy(l => l.First),
        ];
        var placements = new List<Placements>();
        foreach (var order in orders)
        {
            placements.Add(new Placements([.. order]));
            if (placements[^1].Bytes == bound) return placements[^1].Layout();
        }
        var first = placements.OrderBy(p => p.Bytes).ToArray();
        var best = first[0];
        // From the best of them on; what is still far from the bound is tried from the others too.
        foreach (var start in first)
        {
            if (best.Bytes == bound || (start != first[0] && best.Bytes <= NearEnough * bound)) break;
            var (last, patience) = (start, Patience);
            for (var i = 0; i < Tries && patience > 0 && best.Bytes > bound; i++, patience--)
            {
                last = new Placements(last.HighestFirst(bound));
                if (last.Bytes < best.Bytes) (best, patience) = (last, Patience);
            }
        }
        return best.Layout();
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

    /// <summary>
    /// Lifetimes placed in their order. Kept apart in arrays sorted by offset: one pass over them finds the gaps, and that pass is what an assignment spends its time in.
    /// </summary>
    sealed class Placements
    {
        readonly record struct Slot(int First, int Last, long Offset, long End, int Lifetime);

        readonly Lifetime[] order;
        readonly Slot[] placed;

        internal Placements(Lifetime[] order)
        {
            this.order = order;
            placed = new Slot[order.Length];
            for (var i = 0; i < order.Length; i++) Bytes = Math.Max(Bytes, Place(i));
        }

        internal long Bytes { get; private set; }

        internal ArenaLayout Layout() => new([.. placed.Select(p => new Placement(order[p.Lifetime], p.Offset))], Bytes);

        /// <summary>The order with those that end above a limit before all others.</summary>
        internal Lifetime[] HighestFirst(long limit)
        {
            var high = new bool[order.Length];
            foreach (var slot in placed) high[slot.Lifetime] = slot.End > limit;
            return [.. order.Where((_, i) => high[i]), .. order.Where((_, i) => !high[i])];
        }

        long Place(int count)
        {
            var lifetime = order[count];
            var size = Align(lifetime.Bytes);
            long gapStart = 0, best = -1, bestGap = long.MaxValue;
            foreach (ref readonly var other in placed.AsSpan(0, count))
            {
                if (other.First > lifetime.Last || lifetime.First > other.Last) continue;
                var gap = other.Offset - gapStart;
                if (gap >= size && gap < bestGap) (best, bestGap) = (gapStart, gap);
                if (other.End > gapStart) gapStart = other.End;
            }
            var offset = best >= 0 ? best : gapStart;
            var at = count;
            while (at > 0 && placed[at - 1].Offset > offset)
            {
                placed[at] = placed[at - 1];
                at--;
            }
            placed[at] = new Slot(lifetime.First, lifetime.Last, offset, offset + size, count);
            return offset + size;
        }
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
