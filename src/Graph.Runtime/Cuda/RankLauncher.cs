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
internal sealed record RankLauncher(CudaStream Stream, KernelTable Kernels, nint Workspace, long WorkspaceBytes, int Multiprocessors)
{
    /// <summary>Whether there are kernels for these ranks and alignments.</summary>
    internal bool Fits(BoundRankGradients both)
    {
        var (g, d, blocks) = (both.G, both.GradB, both.Blocks);
        if (blocks.Count is 0 or > RankKernel.MaxBlocks) return false;
        var rank = blocks[0].Rank;
        if (!Kernels.Has(RankKernel.Gradients(rank)) || !Kernels.Has(RankKernel.Sum(rank))) return false;
        // Linear i's ranks are at i * RANK, and 16-byte loads never cross a linear.
        for (var i = 0; i < blocks.Count; i++)
            if (blocks[i].Rank != rank || blocks[i].RankStart != i * rank || blocks[i].Start % 8 != 0 || blocks[i].Columns % 8 != 0) return false;
        return (g.A | g.D | d.D | d.B) % 16 == 0 && (g.APitch | g.DPitch | d.BPitch) % 8 == 0 && d.DPitch % 4 == 0 && d.Accumulate && d.Alpha == 1 && Slice(both, Kernels.Find(RankKernel.Gradients(rank)).Info) > 0;
    }

    internal unsafe void Launch(BoundRankGradients both)
    {
        var (g, d, rank) = (both.G, both.GradB, both.Blocks[0].Rank);
        LoadedKernel gradients = Kernels.Find(RankKernel.Gradients(rank)), sum = Kernels.Find(RankKernel.Sum(rank));
        var info = gradients.Info;
        var stripes = Stripes(both, info);
        // struct Linears: four starts, four ends.
        var linears = stackalloc int[2 * RankKernel.MaxBlocks];
        for (var i = 0; i < RankKernel.MaxBlocks; i++)
        {
            var block = i < both.Blocks.Count ? both.Blocks[i] : default;
            (linears[i], linears[RankKernel.MaxBlocks + i]) = (block.Start, block.Start + block.Columns);
        }
        var slice = Slice(both, info);
        var cells = stackalloc long[12];
        var parameters = stackalloc void*[12];
        for (var row = 0; row < g.M; row += slice)
        {
            var rows = Math.Min(slice, g.M - row);
            // Every block has a step, or rank_sum would read a slot that none wrote.
            var blocks = (int)Math.Min(Multiprocessors, (long)stripes * Launcher.Blocks(rows, info.TileRows));
            long gSums = Workspace, sums = Workspace + (long)stripes * rows * rank * sizeof(float);
            Pack([sums, gSums, g.A + (long)row * g.APitch * 2, g.APitch, d.B + (long)row * d.BPitch * 2, d.BPitch, g.B, g.BPitch, 0, stripes, rows], 8);
            Start(gradients, blocks);

            var gBlocks = both.Blocks.Count * Launcher.Blocks(rows * (rank / 4), sum.Info.Block);
            Pack([d.D, d.DPitch, g.D + (long)row * g.DPitch * 2, g.DPitch, sums, gSums, 0, stripes, blocks, gBlocks, rows, BitConverter.SingleToInt32Bits(g.Alpha)], 6);
            Start(sum, gBlocks + stripes * info.TileCols * (rank / 4) / sum.Info.Block);
        }

        void Pack(ReadOnlySpan<long> values, int linearsAt)
        {
            for (var i = 0; i < values.Length; i++)
            {
                cells[i] = values[i];
                parameters[i] = i == linearsAt ? linears : cells + i;
            }
        }

        void Start(LoadedKernel kernel, int grid) =>
            Driver.Check(Driver.LaunchKernel(kernel.Function, (uint)grid, 1, 1, (uint)kernel.Info.Block, 1, 1, (uint)kernel.Info.SharedBytes, Stream, parameters, null), $"launching {kernel.Info.Name} for {both.Label} (grid {grid})");
    }

    static int Stripes(BoundRankGradients both, KernelInfo gradients) => both.Blocks.Sum(b => Launcher.Blocks(b.Columns, gradients.TileCols));

    /// <summary>Tokens whose partial sums fit into the workspace, in whole steps; 0 when not one step's do.</summary>
    int Slice(BoundRankGradients both, KernelInfo gradients)
    {
        var (rank, stripes) = (both.Blocks[0].Rank, Stripes(both, gradients));
        var left = WorkspaceBytes / sizeof(float) - (long)(stripes + Multiprocessors) * gradients.TileCols * rank;
        return left < 0 ? 0 : (int)Math.Min(left / ((long)stripes * rank) / gradients.TileRows * gradients.TileRows, 1 << 24);
    }
}
