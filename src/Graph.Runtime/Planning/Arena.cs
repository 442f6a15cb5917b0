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
/// Offset assignment in one block. Greedy: lifetimes in some order, each in a gap among those placed that are alive with it, the smallest or the lowest one that is large enough.
/// Large lifetimes come first; how much it counts beside their bytes how long they last and how much is alive with them is tried with several weights.
/// Then the lifetimes that reached highest are placed first in the next try.
/// </summary>
public static class Arena
{
    /// <summary>Every tensor starts on 512 bytes: what TMA, vector loads and cuBLASLt's fastest kernels want.</summary>
    public const long Alignment = 512;

    /// <summary>Orders that are improved, tries of each, and those of them without a smaller block after which it stays.</summary>
    const int Improved = 2, Tries = 24, Patience = 8;

    /// <summary>Times the bound: a block that is no larger is not worth another try.</summary>
    const double NearEnough = 1.005;

    /// <summary>An order is by bytes * launches^a * (the most bytes alive at one of these launches)^b, the largest first.</summary>
    static readonly double[] WeightsOfLength = [0.03, 0.06, 0.12, 0.25, 0.5], WeightsOfCrowd = [0, 0.5, 1, 2, 4];

    /// <param name="enough">A block of at most so many bytes is not worth another try; null: <see cref="NearEnough"/>.</param>
    public static ArenaLayout Assign(IReadOnlyList<Lifetime> lifetimes, long? enough = null)
    {
        if (lifetimes.Count == 0) return ArenaLayout.Empty;
        var alive = Alive(lifetimes, Launches(lifetimes));
        var bound = alive.Max();
        var goal = enough ?? (long)(NearEnough * bound);
        // Each as small as those before it, or smaller.
        var tried = new List<Placements>();
        foreach (var order in Orders(lifetimes, alive))
            foreach (var lowest in new[] { false, true })
            {
                var limit = tried.Count > 0 ? tried[^1].Bytes : long.MaxValue;
                var placements = new Placements(order, lowest, limit);
                if (placements.Bytes <= limit) tried.Add(placements);
                if (placements.Bytes <= goal) return placements.Layout();
            }
        var best = tried[^1];
        foreach (var start in tried.TakeLast(Improved).Reverse())
        {
            var (last, patience) = (start, Patience);
            for (var i = 0; i < Tries && patience > 0 && best.Bytes > goal; i++, patience--)
            {
                last = new Placements(last.HighestFirst(bound), last.Lowest, long.MaxValue);
                if (last.Bytes < best.Bytes) (best, patience) = (last, Patience);
            }
        }
        return best.Layout();
    }

    static IEnumerable<Lifetime[]> Orders(IReadOnlyList<Lifetime> lifetimes, long[] alive)
    {
        var facts = lifetimes.Select(l => (Bytes: Math.Log(Align(l.Bytes) + 1), Length: Math.Log(l.Last - l.First + 1), Crowd: Math.Log(Most(l) + 1))).ToArray();
        foreach (var crowd in WeightsOfCrowd)
            foreach (var length in WeightsOfLength)
                yield return [.. lifetimes.Zip(facts, (l, f) => (Lifetime: l, Size: f.Bytes + length * f.Length + crowd * f.Crowd))
                    .OrderByDescending(l => l.Size).Select(l => l.Lifetime)];

        long Most(Lifetime l)
        {
            var most = 0L;
            foreach (var bytes in alive.AsSpan(l.First, l.Last - l.First + 1)) most = Math.Max(most, bytes);
            return most;
        }
    }

    /// <summary>The layout with one more lifetime in a gap of it, or null: the block does not grow.</summary>
    public static ArenaLayout? InGap(ArenaLayout layout, Lifetime lifetime)
    {
        var placed = layout.Placements.ToList();
        return Place(placed, lifetime) <= layout.Bytes ? layout with { Placements = placed } : null;
    }

    /// <summary>The most bytes alive at one launch: no assignment can be smaller.</summary>
    public static long LowerBound(IReadOnlyList<Lifetime> lifetimes) => Alive(lifetimes, Launches(lifetimes)).DefaultIfEmpty().Max();

    /// <summary>Bytes alive at each of so many launches.</summary>
    public static long[] Alive(IReadOnlyList<Lifetime> lifetimes, int launches)
    {
        var alive = new long[launches + 1];
        foreach (var l in lifetimes)
        {
            alive[l.First] += Align(l.Bytes);
            alive[l.Last + 1] -= Align(l.Bytes);
        }
        for (var at = 1; at < alive.Length; at++) alive[at] += alive[at - 1];
        return alive[..launches];
    }

    static int Launches(IReadOnlyList<Lifetime> lifetimes) => lifetimes.Select(l => l.Last + 1).DefaultIfEmpty().Max();

    public static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    /// <summary>
    /// Lifetimes placed in their order. Kept apart in arrays sorted by offset: one pass over them finds the gaps, and that pass is what an assignment spends its time in.
    /// </summary>
    sealed class Placements
    {
        readonly record struct Slot(int First, int Last, long Offset, long End, int Lifetime);

        readonly Lifetime[] order;
        readonly Slot[] placed;

        /// <param name="lowest">The lowest gap that is large enough; else the smallest.</param>
        /// <param name="limit">A block that gets larger is given up.</param>
        internal Placements(Lifetime[] order, bool lowest, long limit)
        {
            (this.order, Lowest, placed) = (order, lowest, new Slot[order.Length]);
            for (var i = 0; i < order.Length && Bytes <= limit; i++) Bytes = Math.Max(Bytes, Place(i));
        }

        internal long Bytes { get; private set; }

        internal bool Lowest { get; }

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
                if (gap >= size && gap < bestGap)
                {
                    (best, bestGap) = (gapStart, gap);
                    // No later one is lower, or smaller.
                    if (Lowest || gap == size) break;
                }
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
