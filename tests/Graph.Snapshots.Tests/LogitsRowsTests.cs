using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Rows of a chunk of logits, by the waves that the tiles of all chunks' dX take on 132 multiprocessors.</summary>
public sealed class LogitsRowsTests
{
    [Theory]
    // 9 tiles of columns: 14 x 9 = 126 tiles are one wave, 16 x 9 = 144 two.
    [InlineData("2b", 8192, 1792)]
    // 14 tiles of columns: 8 waves with 2,048 rows as with 1,024; the more rows, the fewer launches.
    [InlineData("9b", 8192, 2048)]
    // 18 tiles of columns: 14 x 18 = 252 tiles are two waves, 16 x 18 = 288 three.
    [InlineData("27b", 8192, 1792)]
    public void Default_RealSizes_FillTheWaves(string variant, int tokens, int rows)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        Assert.Equal(rows, ExecutionPlan.DefaultLogitsRows(new Shapes(schedule, tokens, RankTable.Create(schedule, _ => 16), ActType.Bf16), 132));
    }
}
