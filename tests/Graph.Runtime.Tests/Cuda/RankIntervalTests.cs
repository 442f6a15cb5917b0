using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

/// <summary>Which k-blocks of a block-diagonal B a tile of columns reads: every one that a block of its columns lies in, and no other where the kernel is told enough intervals.</summary>
public sealed class RankIntervalTests
{
    const int In = 3584;

    // Columns of 9B's q, k, v and gate, up; halves of a head and odd ones between tiles.
    static readonly int[] Qkv = [4096, 2048, 2048], Mlp = [14336, 14336], Odd = [264, 520, 136];

    public static TheoryData<int[], int[]> Stacks => new()
    {
        { Qkv, [16, 16, 16] }, { Qkv, [64, 64, 64] }, { Qkv, [256, 256, 256] }, { Qkv, [8, 24, 100] }, { Qkv, [16, 0, 16] }, { Qkv, [0, 64, 0] }, { Qkv, [256, 32, 0] },
        { Mlp, [8, 8] }, { Mlp, [24, 24] }, { Mlp, [64, 64] }, { Mlp, [100, 256] }, { Mlp, [0, 256] }, { Mlp, [256, 0] },
        { Odd, [8, 8, 8] }, { Odd, [24, 100, 16] }, { Odd, [64, 256, 64] }, { Odd, [100, 0, 100] }, { [4096], [256] },
    };

    [Theory]
    [MemberData(nameof(Stacks))]
    public void Of_AStacksRanks_ATileNeedsTheBlocksOfItsColumns(int[] columns, int[] ranks)
    {
        var (segment, n) = Bound(columns, ranks);
        var intervals = RankInterval.Of(segment, n);
        Assert.InRange(intervals.Count, 1, GemmKernel.RankIntervals);
        foreach (var width in new[] { GemmKernel.TileColumns, GemmKernel.NarrowColumns, GemmKernel.TileColumns / 2 })
            for (var column = 0; column < n; column += width) Assert.Equal(Wanted(segment.Blocks!, column, width), Read(intervals, column, width));
    }

    /// <summary>Nine adapters of one rank are more than the kernel is told: nothing is left out, and the fewest columns read what they do not need.</summary>
    [Fact]
    public void Of_MoreIntervalsThanTheKernelHas_NeighboursAreOne()
    {
        int[] columns = [512, 512, 8192, 512, 512, 8192, 512, 512, 8192];
        var (segment, n) = Bound(columns, [.. Enumerable.Repeat(64, columns.Length)]);
        var intervals = RankInterval.Of(segment, n);
        Assert.Equal(GemmKernel.RankIntervals, intervals.Count);
        Assert.Equal(n, intervals[^1].ColumnEnd);
        for (var column = 0; column < n; column += GemmKernel.NarrowColumns)
        {
            var (read, wanted) = (Read(intervals, column, GemmKernel.NarrowColumns), Wanted(segment.Blocks!, column, GemmKernel.NarrowColumns));
            Assert.True(read.Begin <= wanted.Begin && wanted.End <= read.End, $"column {column} reads {read}, not {wanted}");
        }
        // The whole range for every column would be 576 each.
        Assert.True(intervals.Select((x, i) => (long)(x.ColumnEnd - (i == 0 ? 0 : intervals[i - 1].ColumnEnd)) * (x.End - x.Begin)).Sum() < 576L * n / 3, string.Join(" ", intervals));
    }

    /// <summary>Two adapters of one linear, and one of a part of its columns.</summary>
    [Fact]
    public void Of_BlocksThatShareColumns_TheyNeedBoth() =>
        Assert.Equal([new(128, 0, 128), new(256, 0, 192), RankInterval.None(512)],
            RankInterval.Of(new GemmOperands(0, 0, 0, 0, 192) { Blocks = [new(0, 256, 0, 64), new(0, 256, 64, 64), new(128, 128, 128, 64)] }, 512));

    [Fact]
    public void Of_ADenseOperand_IsReadWhole() => Assert.Equal([new(3584, 0, 48)], RankInterval.Of(new GemmOperands(0, 0, 0, 0, 48), 3584));

    [Fact]
    public void Of_OneAdapter_IsReadWhole() => Assert.Equal([new(3584, 0, 128)], RankInterval.Of(Bound([3584], [100]).Segment, 3584));

    // The second segment of Y as a session binds it.
    static (GemmOperands Segment, int Columns) Bound(int[] columns, int[] ranks)
    {
        var n = columns.Sum();
        var adapters = string.Join(" ", columns.Select((c, i) => $"p{i}:{columns.Take(i).Sum()}:{c}"));
        var schedule = ScheduleText.Parse($"schedule stack layers=0\nadapters 0 in={In} out={n} {adapters}\ntensor w weight act[{n},{In}]\ntensor b adapter_b act[{n},R0] stack=0\n"
            + $"tensor x activation act[T,{In}]\ntensor s activation act[T,R0]\ntensor y activation act[T,{n}]\nforward\n  0 L-1 gemm nt y = x * w + s * b\nbackward\n");
        var shapes = new Shapes(schedule, 100, RankTable.Create(schedule, name => ranks[name[1] - '0']), ActType.Bf16);
        var bound = (BoundGemm)new LaunchBinder(shapes, 1, 64, _ => 0).Bind(schedule.Forward.Single(), _ => 1 << 20).Single();
        return (bound.Segments[1], n);
    }

    // As gemm_sm90.cu: hull of the intervals that a tile has columns of; what is empty begins past everything.
    static (int Begin, int End) Read(IReadOnlyList<RankInterval> intervals, int column, int width)
    {
        var own = intervals.Where((x, i) => column < x.ColumnEnd && (i == 0 || intervals[i - 1].ColumnEnd < column + width)).ToArray();
        var (begin, end) = (own.Min(x => x.Begin), own.Max(x => x.End));
        return begin < end ? (begin, end) : (0, 0);
    }

    static (int Begin, int End) Wanted(IReadOnlyList<RankBlock> blocks, int column, int width)
    {
        var own = blocks.Where(b => b.Start < column + width && column < b.Start + b.Columns).ToArray();
        return own.Length == 0 ? (0, 0) : (own.Min(b => b.RankStart) & ~63, own.Max(b => b.RankStart + b.Rank));
    }
}
