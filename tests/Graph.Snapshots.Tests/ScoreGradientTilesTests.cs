using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>
/// Which tiles of dS the kernels of dk and dv write and that of dq reads,
/// by the same bounds as in their texts (attention_dkdv_sm90_*.cu, attention_dq_from_ds_sm90.cu, score_gradients.cu), over random documents:
/// what is read has been written, and lies inside the room that is planned.
/// </summary>
public sealed class ScoreGradientTilesTests
{
    const int Tile = 64;

    /// <param name="keyTile">Keys of a block of dk and dv: 64 (head dim 256), 128 (head dim 128).</param>
    [Theory]
    [InlineData(64, 1), InlineData(64, 2), InlineData(128, 3), InlineData(128, 4)]
    public void Tiles_RandomDocuments_AreReadWhereTheyWereWrittenAndFitTheRoom(int keyTile, int seed)
    {
        var random = new Random(seed);
        for (var i = 0; i < 500; i++)
        {
            int rows = random.Next(1, 700), seq = random.Next(1, rows + 1), window = random.Next(3) == 0 ? random.Next(1, 300) : 0;
            var (start, end) = Documents(rows, seq, random);
            var tiles = ScoreGradients.Tiles(rows, seq, window == 0 ? null : window);
            var written = Written(keyTile, rows, window, end, tiles).ToHashSet();
            var read = Read(rows, window, start).ToArray();
            var label = $"{rows} rows, documents of at most {seq}, window {window}";
            Assert.All(read, tile => Assert.True(written.Contains(tile), $"{label}: {tile} is read and was not written"));
            // One place for each, and no place behind the planned end: the next head begins there.
            var places = written.Select(tile => Place(tile.Q, tile.K, tiles)).ToArray();
            Assert.Equal(places.Length, places.Distinct().Count());
            Assert.InRange(places.Min(), 0, long.MaxValue);
            Assert.True(places.Max() < Before(Count(rows), tiles), $"{label}: tile {places.Max()} of {Before(Count(rows), tiles)}");
        }
    }

    /// <summary>The planned bytes are those of the kernels' index, for every head.</summary>
    [Theory]
    [InlineData("9b-2l", 1, 1), InlineData("9b-2l", 1000, 100), InlineData("9b-2l", 8192, 8192), InlineData("27b-2l", 8192, 2048)]
    public void Lifetime_AllHeads_IsWhereTheIndexEnds(string variant, int tokens, int seq)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var shapes = new Shapes(schedule, tokens, RankTable.Create(schedule, _ => 16), ActType.Bf16);
        var heads = variant == "9b-2l" ? 16 : 32;
        foreach (var at in Enumerable.Range(0, schedule.Backward.Count).Where(at => shapes.FusionAt(schedule.Backward, at) is ScoreGradientsFusion))
        {
            var dq = (KernelLaunch)schedule.Backward[at];
            Assert.Equal(heads * Before(Count(tokens), ScoreGradients.Tiles(tokens, seq, dq.Attention!.Window)) * Tile * Tile * 2,
                ScoreGradients.Lifetime(shapes, dq, at, seq).Bytes);
        }
    }

    static int Count(int rows) => (rows + Tile - 1) / Tile;

    static long Before(long q, long tiles) => q < tiles ? q * (q + 1) / 2 : tiles * (tiles + 1) / 2 + (q - tiles) * tiles;

    static long Place(int q, int k, int tiles) => Before(q, tiles) + k - Math.Max(0, q - tiles + 1);

    static IEnumerable<(int Q, int K)> Written(int keyTile, int rows, int window, int[] end, int tiles)
    {
        for (var k0 = 0; k0 < rows; k0 += keyTile)
        {
            var last = Math.Min(k0 + keyTile, rows) - 1;
            var stop = window > 0 ? Math.Min(end[last], last + window) : end[last];
            for (var q = k0 / Tile; q < Count(stop); q++)
                for (var k = k0 / Tile; k < (k0 + keyTile) / Tile; k++)
                    if (k <= q && q - k < tiles) yield return (q, k);
        }
    }

    static IEnumerable<(int Q, int K)> Read(int rows, int window, int[] start)
    {
        for (var q = 0; q < Count(rows); q++)
        {
            var first = window > 0 ? Math.Max(start[q * Tile], q * Tile - window + 1) : start[q * Tile];
            for (var k = first / Tile; k <= q; k++) yield return (q, k);
        }
    }

    static (int[] Start, int[] End) Documents(int rows, int seq, Random random)
    {
        var (start, end) = (new int[rows], new int[rows]);
        for (var t = 0; t < rows;)
        {
            var next = Math.Min(rows, t + random.Next(1, seq + 1));
            Array.Fill(start, t, t, next - t);
            Array.Fill(end, next, t, next - t);
            t = next;
        }
        return (start, end);
    }
}
