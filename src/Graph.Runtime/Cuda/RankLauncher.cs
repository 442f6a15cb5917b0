using System;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>
/// G and dB from one read of dY (rank_gradients.cu, rank_sum.cu). Partial sums lie in a workspace that nothing else uses at the same time; a batch whose sums do not fit is cut
/// into slices of tokens, which add to dB in order.
/// </summary>
/// <param name="Multiprocessors">Blocks of rank_gradients; the order of the sums, hence the bits, depend on it.</param>
/// <param name="Overlap">Whether rank_sum is launched while rank_gradients still runs, and waits for its end by itself.</param>
internal sealed record RankLauncher(CudaStream Stream, KernelTable Kernels, nint Workspace, long WorkspaceBytes, int Multiprocessors, bool Overlap)
{
    /// <summary>Whether there are kernels for these ranks and alignments.</summary>
    internal bool Fits(BoundRankGradients both)
    {
        var (g, d, blocks) = (both.G, both.GradB, both.Blocks);
        if (blocks.Count is 0 or > RankKernel.MaxBlocks) return false;
        var rank = blocks[0].Rank;
        if (Kernels.Ranks(rank) is not { } kernels || g.Segments.Count != 1 || d.Segments.Count != 1) return false;
        // Adapter i's ranks are at i * RANK, 16-byte loads never cross an adapter, and no column of dY has two adapters.
        for (var i = 0; i < blocks.Count; i++)
            if (blocks[i].Rank != rank || blocks[i].RankStart != i * rank || blocks[i].Start % 8 != 0 || blocks[i].Columns % 8 != 0 || (i > 0 && blocks[i].Start < blocks[i - 1].Start + blocks[i - 1].Columns)) return false;
        var (gs, ds) = (g.Operands, d.Operands);
        return (gs.A | gs.B | g.D | d.D | ds.B) % 16 == 0 && (gs.APitch | gs.BPitch | g.DPitch | ds.BPitch) % 8 == 0 && d.DPitch % 4 == 0 && d.Accumulate && d.Alpha == 1
            && Plan(both, kernels.Gradients.Info) is not null;
    }

    internal unsafe void Launch(BoundRankGradients both)
    {
        var (g, d, rank) = (both.G, both.GradB, both.Blocks[0].Rank);
        var (gradients, sum) = Kernels.Ranks(rank)!.Value;
        var (gs, ds) = (g.Operands, d.Operands);
        var facts = gradients.Info;
        var plan = Plan(both, facts)!.Value;
        // struct Linears: four starts, four ends.
        var linears = stackalloc int[2 * RankKernel.MaxBlocks];
        for (var i = 0; i < RankKernel.MaxBlocks; i++)
        {
            var block = i < both.Blocks.Count ? both.Blocks[i] : default;
            (linears[i], linears[RankKernel.MaxBlocks + i]) = (block.Start, block.Start + block.Columns);
        }
        var cells = stackalloc long[14];
        var parameters = stackalloc void*[14];
        for (var row = 0; row < g.M; row += plan.Rows)
        {
            var rows = Math.Min(plan.Rows, g.M - row);
            var blocks = Blocks(plan, rows, facts);
            long gSums = Workspace, sums = Workspace + (long)plan.Stripes * rows * rank * sizeof(float);
            Pack([sums, gSums, gs.A + (long)row * gs.APitch * 2, gs.APitch, ds.B + (long)row * ds.BPitch * 2, ds.BPitch, gs.B, gs.BPitch, 0, plan.Tiles, plan.Width, rows], 8);
            Start(gradients, blocks, false);

            var gBlocks = both.Blocks.Count * Launcher.Blocks(rows * (rank / 4), sum.Info.Block);
            // One thread adds at most eight or so, which it can ask for at once.
            var parts = blocks > 16 * plan.Stripes ? 4 : blocks > 8 * plan.Stripes ? 2 : 1;
            Pack([d.D, d.DPitch, g.D + (long)row * g.DPitch * 2, g.DPitch, sums, gSums, 0, plan.Tiles, plan.Width, blocks, gBlocks, parts, rows, BitConverter.SingleToInt32Bits(g.Alpha)], 6);
            Start(sum, gBlocks + plan.Tiles * facts.TileCols * (rank / 4) / sum.Info.Block * parts, Overlap);
        }

        void Pack(ReadOnlySpan<long> values, int linearsAt)
        {
            for (var i = 0; i < values.Length; i++)
            {
                cells[i] = values[i];
                parameters[i] = i == linearsAt ? linears : cells + i;
            }
        }

        void Start(LoadedKernel kernel, int grid, bool early)
        {
            var info = kernel.Info;
            Driver.Check(early ? LaunchConfiguration.LaunchEarly(kernel.Function, (uint)grid, (uint)info.Block, (uint)info.SharedBytes, Stream, parameters)
                : Driver.LaunchKernel(kernel.Function, (uint)grid, 1, 1, (uint)info.Block, 1, 1, (uint)info.SharedBytes, Stream, parameters, null), $"launching {info.Name} for {both.Label} (grid {grid})");
        }
    }

    // Tile columns, how many of them make a stripe, stripes, and the tokens of a slice.
    readonly record struct Cut(int Tiles, int Width, int Stripes, int Rows);

    /// <summary>The widths are tried for the fewest bytes of partial sums: wide stripes have fewer sums of G, narrow ones smaller sums of dB. Null: not one step's sums fit.</summary>
    Cut? Plan(BoundRankGradients both, KernelInfo gradients)
    {
        var rank = both.Blocks[0].Rank;
        return Enumerable.Range(1, RankKernel.Width(rank)).Select(width =>
        {
            var tiles = both.Blocks.Sum(b => Launcher.Blocks(b.Columns, gradients.TileCols));
            var stripes = both.Blocks.Sum(b => Launcher.Blocks(Launcher.Blocks(b.Columns, gradients.TileCols), width));
            var left = WorkspaceBytes / sizeof(float) - (long)(stripes + Multiprocessors) * width * gradients.TileCols * rank;
            return new Cut(tiles, width, stripes, left < 0 ? 0 : (int)Math.Min(left / ((long)stripes * rank) / gradients.TileRows * gradients.TileRows, 1 << 24));
        }).Where(c => c.Rows > 0).Select(c => (Cut?)c).MinBy(c => Sums(c!.Value, Math.Min(both.G.M, c.Value.Rows), gradients));
    }

    // Floats per rank column that the blocks write.
    long Sums(Cut cut, int rows, KernelInfo gradients) => (long)cut.Stripes * rows + (long)(cut.Stripes + Blocks(cut, rows, gradients)) * cut.Width * gradients.TileCols;

    /// <summary>Every block has a step, or rank_sum would read a slot that none wrote.</summary>
    int Blocks(Cut cut, int rows, KernelInfo gradients) => (int)Math.Clamp((long)cut.Tiles * Launcher.Blocks(rows, gradients.TileRows) / cut.Width, 1, Multiprocessors);
}
