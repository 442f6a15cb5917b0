using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Cuda;

/// <summary>Kernels for G and dB (Templates/rank_*.cu), which every model with adapters needs and no graph names: the rank is chosen at run time, so there is a pair per rank.</summary>
public static class RankTiles
{
    /// <summary>More stages were slower on an H200: what counts besides the bytes in flight is how soon the first ones are there.</summary>
    const int Warps = 8, Stages = 4, Threads = 32 * Warps, Columns = 64 * Warps, Tokens = 32;

    /// <summary>Launch facts, #define lines and the other parts of the text. TileRows and TileCols are tokens of a step and columns of a tile.</summary>
    public static IEnumerable<(KernelInfo Info, string Literals, string[] Parts)> Kernels(string target)
    {
        if (!GemmTiles.HasWgmma(target)) yield break;
        foreach (var rank in RankKernel.Ranks)
        {
            var shared = Stages * Tokens * (Columns + rank) * 2 + 2 * (Warps / 2) * Tokens * rank * 4;
            string gradients = "rank_gradients_r" + N(rank), sum = "rank_sum_r" + N(rank);
            yield return (new KernelInfo(gradients, KernelKind.RankGradients, Threads, shared, Tokens, Columns, 1) { Rank = rank },
                Literals(("KERNEL_NAME", gradients), ("RANK", N(rank)), ("TILE_T", N(Tokens)), ("TILE_N", N(Columns)), ("WARPS", N(Warps)), ("STAGES", N(Stages)), ("MOST_TILES", N(RankKernel.Width(rank)))),
                new[] { "@prelude.cu", "@mma.cu", "@rank_stripes.cu", "@rank_gradients.cu" });
            yield return (new KernelInfo(sum, KernelKind.RankSum, Threads, 0, Tokens, Columns, 1) { Rank = rank },
                Literals(("KERNEL_NAME", sum), ("RANK", N(rank)), ("TILE_T", N(Tokens)), ("TILE_N", N(Columns))), new[] { "@prelude.cu", "@rank_stripes.cu", "@rank_sum.cu" });
        }
    }

    static string Literals(params (string Name, string Value)[] literals) => string.Concat(literals.Select(l => "#define " + l.Name + " " + l.Value + "\n"));

    static string N(int value) => NumberText.Int(value);
}
