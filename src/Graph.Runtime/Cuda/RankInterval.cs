using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>
/// What gemm_sm90.cu is told of a segment's k: D's columns from the end of the interval to the left up to <paramref name="ColumnEnd"/> need
/// <paramref name="Begin"/>, a multiple of a k-block, up to <paramref name="End"/>. Elsewhere their columns of B are zero.
/// </summary>
internal readonly record struct RankInterval(int ColumnEnd, int Begin, int End)
{
    /// <summary>Columns without adapters. With Min and Max of what other intervals need nothing is added to those.</summary>
    internal static RankInterval None(int columnEnd) => new(columnEnd, int.MaxValue, 0);

    /// <summary>
    /// The intervals of n columns from left to right, at most <see cref="GemmKernel.RankIntervals"/>: where there are more, neighbours are one, which then needs
    /// what both do.
    /// </summary>
    internal static IReadOnlyList<RankInterval> Of(GemmOperands segment, int n)
    {
        if (segment.Blocks is not { } blocks) return [new(n, 0, segment.K)];
        var intervals = new List<RankInterval>();
        var start = 0;
        foreach (var end in blocks.SelectMany(b => new[] { b.Start, b.Start + b.Columns }).Append(n).Where(c => c > 0).Distinct().Order())
        {
            var own = blocks.Where(b => b.Start < end && start < b.Start + b.Columns);
            var needed = own.Aggregate(None(end), (all, b) => all.And(new(end, b.RankStart / GemmKernel.TileDepth * GemmKernel.TileDepth, b.RankStart + b.Rank)));
            if (intervals is [.., var last] && (last.Begin, last.End) == (needed.Begin, needed.End)) intervals[^1] = needed;
            else intervals.Add(needed);
            start = end;
        }
        while (intervals.Count > GemmKernel.RankIntervals)
        {
            // The pair whose columns multiply the least for nothing.
            var at = Enumerable.Range(0, intervals.Count - 1)
                .MinBy(i => Work(Start(i), intervals[i].And(intervals[i + 1])) - Work(Start(i), intervals[i]) - Work(Start(i + 1), intervals[i + 1]));
            intervals[at] = intervals[at].And(intervals[at + 1]);
            intervals.RemoveAt(at + 1);
        }
        return intervals;

        int Start(int interval) => interval == 0 ? 0 : intervals[interval - 1].ColumnEnd;

        long Work(int start, RankInterval needed) => (long)(needed.ColumnEnd - start) * Math.Max(0, needed.End - needed.Begin);
    }

    RankInterval And(RankInterval right) => new(right.ColumnEnd, Math.Min(Begin, right.Begin), Math.Max(End, right.End));
}
