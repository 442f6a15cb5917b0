using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Finetune.Data;

/// <summary>
/// First-fit-decreasing: the longest item first, each into the first bin that has room. Bins used are at most 11/9 of the fewest possible, and 6/9 more (Dósa 2007).
/// Time is n log n: a tree over the bins knows the most room below each of its nodes.
/// </summary>
static class FirstFit
{
    /// <summary>Items of each bin, in their own order; the bins in the order of their longest items, which a shuffle of the items decides.</summary>
    /// <param name="lengths">None longer than <paramref name="capacity"/>; equal ones keep their order.</param>
    public static IReadOnlyList<int[]> Decreasing(IReadOnlyList<int> lengths, int capacity)
    {
        var leaves = 1;
        while (leaves < lengths.Count) leaves *= 2;
        var room = new int[2 * leaves];
        Array.Fill(room, capacity);
        var bins = new List<List<int>>();
        foreach (var item in Enumerable.Range(0, lengths.Count).OrderByDescending(i => lengths[i]))
        {
            var node = 1;
            while (node < leaves) node = room[2 * node] >= lengths[item] ? 2 * node : 2 * node + 1;
            var bin = node - leaves;
            if (bin == bins.Count) bins.Add([]);
            bins[bin].Add(item);
            room[node] -= lengths[item];
            for (node /= 2; node > 0; node /= 2) room[node] = Math.Max(room[2 * node], room[2 * node + 1]);
        }
        return [.. bins.OrderBy(b => b[0]).Select(b => b.Order().ToArray())];
    }
}
