using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Kernels for G and dB (rank_*.cu), which every model with adapters needs and no graph names: the rank is chosen at run time, so there is a pair per rank.</summary>
static class RankKernels
{
    /// <summary>More stages were slower on an H200: what counts besides the bytes in flight is how soon the first ones are there.</summary>
    const int Warps = 8, Stages = 4, Threads = 32 * Warps, Columns = 64 * Warps, Tokens = 32;

    /// <summary>TileRows and TileCols are tokens of a step and columns of a tile.</summary>
    public static IEnumerable<EmittedKernel> Kernels(Target target) => target.HasWgmma ? RankKernel.Ranks.SelectMany(r => Pair(target, r)) : Enumerable.Empty<EmittedKernel>();

    static IEnumerable<EmittedKernel> Pair(Target target, int rank)
    {
        var shared = Stages * Tokens * (Columns + rank) * 2 + 2 * (Warps / 2) * Tokens * rank * 4;
        var number = CudaText.Number(rank);
        string gradients = "rank_gradients_r" + number, sum = "rank_sum_r" + number;
        yield return new EmittedKernel(new KernelInfo(gradients, KernelKind.RankGradients, Threads, shared, Tokens, Columns, 1) { Rank = rank }, new[]
        {
            CudaText.Sentence("G = s dY B and dB += dY^T S of adapters of rank " + number + " from one read of dY, 2 bytes an element of it instead of 4: "
                    + "a block leaves fp32 sums of its columns of dB and of its stripes of G, which " + sum + " adds up.")
                + CudaText.Elem(target) + CudaText.Named(gradients, ("RANK", rank), ("TILE_T", Tokens), ("UNIT", RankKernel.TokenUnit),
                    ("TILE_N", Columns), ("WARPS", Warps), ("STAGES", Stages),
                    ("MOST_TILES", RankKernel.Width(rank))),
            "@prelude.cu", "@mma.cu", "@rank_stripes.cu", "@rank_gradients.cu",
        });
        yield return new EmittedKernel(new KernelInfo(sum, KernelKind.RankSum, Threads, 0, Tokens, Columns, 1) { Rank = rank }, new[]
        {
            CudaText.Sentence("The sums that " + gradients + " left, added up in order without atomics: "
                    + "G, rounded once, and dB in fp32, of B's diagonal blocks alone; the same bits every time.")
                + CudaText.Elem(target) + CudaText.Named(sum, ("RANK", rank), ("TILE_T", Tokens), ("UNIT", RankKernel.TokenUnit), ("TILE_N", Columns)), "@prelude.cu",
                "@rank_stripes.cu", "@rank_sum.cu",
        });
    }
}
