using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

/// <summary>The tile of a product, by the waves of 132 multiprocessors that wide and narrow tiles take.</summary>
public sealed class TileShapeTests
{
    [Theory]
    // 2B's hidden size: 64 x 9 wide tiles are 4.4 waves, 64 x 12 narrow ones 5.8 that take 0.76 of the time each.
    [InlineData(8192, 2304, TileShape.Narrow)]
    [InlineData(4096, 2304, TileShape.Narrow)]
    [InlineData(2048, 2304, TileShape.Narrow)]
    [InlineData(1024, 2304, TileShape.Narrow)]
    // 14 x 9 = 126 wide tiles are one wave, 14 x 12 narrow ones two.
    [InlineData(1792, 2304, TileShape.Wide)]
    [InlineData(16384, 2304, TileShape.Wide)]
    // 9B's: 6.8 and 9.2 waves; of half the rows 3.4 and 4.6.
    [InlineData(8192, 3584, TileShape.Wide)]
    [InlineData(4096, 3584, TileShape.Narrow)]
    [InlineData(2048, 3584, TileShape.Wide)]
    // 27B's: 9 waves of 256 columns are as many columns as 12 of 192; of half the rows 5 and 6.
    [InlineData(8192, 4608, TileShape.Wide)]
    [InlineData(4096, 4608, TileShape.Narrow)]
    [InlineData(1792, 4608, TileShape.Wide)]
    // 16 x 256 is more than 21 x 192, but 21 tiles cost more than 16 besides.
    [InlineData(8192, 8192, TileShape.Wide)]
    // Few tiles: one wave anyway, the shorter the better.
    [InlineData(65, 65, TileShape.Narrow)]
    [InlineData(129, 256, TileShape.Narrow)]
    // Ranks.
    [InlineData(8192, 64, TileShape.SkinnyN)]
    [InlineData(64, 64, TileShape.SkinnyN)]
    [InlineData(64, 2304, TileShape.SkinnyM)]
    public void TileOf_OneSegment_TakesTheLeastTime(int m, int n, TileShape tile) => Assert.Equal(tile, GemmKernel.TileOf(m, n, 1, 132));

    [Theory]
    [InlineData(8192, 2304, TileShape.Narrow)]
    [InlineData(8192, 3584, TileShape.Wide)]
    [InlineData(64, 2304, TileShape.Narrow)]
    [InlineData(8192, 64, TileShape.Narrow)]
    [InlineData(0, 2304, TileShape.Wide)]
    public void TileOf_TwoSegments_IsNeverSkinny(int m, int n, TileShape tile) => Assert.Equal(tile, GemmKernel.TileOf(m, n, 2, 132));

    /// <summary>8192 x 4608 on 114 multiprocessors: 11 waves of wide tiles, 14 of narrow ones, less than 11 x 256 / 192.</summary>
    [Theory]
    [InlineData(114, TileShape.Narrow)]
    [InlineData(132, TileShape.Wide)]
    public void TileOf_OtherGpu_CountsItsMultiprocessors(int multiprocessors, TileShape tile) => Assert.Equal(tile, GemmKernel.TileOf(8192, 4608, 1, multiprocessors));

    [Theory]
    [InlineData(GemmLayout.Nt, false, false, TileShape.Wide, "gemm_nt")]
    [InlineData(GemmLayout.Nn, false, false, TileShape.Narrow, "gemm_nn_n192")]
    [InlineData(GemmLayout.Nn, false, true, TileShape.SkinnyN, "gemm_nn_add_skinny_n")]
    [InlineData(GemmLayout.Tn, true, true, TileShape.SkinnyM, "gemm_tn_f32_add_skinny_m")]
    public void Name_Form_SaysTheTile(GemmLayout layout, bool f32, bool accumulate, TileShape tile, string name) =>
        Assert.Equal(name, new GemmForm(layout, f32, accumulate, tile).Name);
}
