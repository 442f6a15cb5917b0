using System.Globalization;
using System.Linq;
using System.Text.RegularExpressions;
using Graph.Generator.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>What the launcher assumes of the GEMMs on TMA: it counts tiles and encodes boxes by their launch facts, and chooses by the constants of GemmKernel.</summary>
public sealed class GemmTileTests
{
    [Fact]
    public void GemmsOnTma_Sm90a_AreWideAndNarrowOfBothLayouts() =>
        Assert.Equal(["gemm_nn Wide 128x256", "gemm_nn_n192 Narrow 128x192", "gemm_nt Wide 128x256", "gemm_nt_n192 Narrow 128x192"],
            from k in Emitted.Kernels("nano")
            where k.Info.Kind == KernelKind.GemmTma
            orderby k.Info.Name
            select $"{k.Info.Name} {k.Info.Gemm!.Value.Tile} {k.Info.TileRows}x{k.Info.TileCols}");

    [Fact]
    public void GemmsOnTma_TheirTexts_HaveTheTilesOfTheirLaunchesInSharedMemory()
    {
        foreach (var kernel in Emitted.Kernels("nano").Where(k => k.Info.Kind is KernelKind.GemmTma or KernelKind.GemmEpilogue))
        {
            int Defined(string name) => int.Parse(Regex.Match(kernel.Text, "#define " + name + @" (\d+)").Groups[1].Value, CultureInfo.InvariantCulture);
            Assert.Equal((kernel.Info.TileRows, kernel.Info.TileCols), (Defined("TILE_M"), Defined("TILE_N")));
            Assert.Equal(GemmKernel.TileRows, kernel.Info.TileRows);
            Assert.Equal(kernel.Info.Gemm is { Tile: TileShape.Narrow } ? GemmKernel.NarrowColumns : GemmKernel.TileColumns, kernel.Info.TileCols);
            // Operands of 16 bits, panels of 64 x 64 sums for each of two warpgroups, and barriers: two for a k-block, two for an epilogue.
            var (operands, panels) = (Defined("STAGES") * (Defined("TILE_M") + Defined("TILE_N")) * Defined("TILE_K") * 2, 2 * Defined("PANELS") * 64 * 64 * 2);
            Assert.InRange(kernel.Info.SharedBytes, operands + panels + (2 * Defined("STAGES") + 2) * 8, 227 * 1024);
        }
    }
}
