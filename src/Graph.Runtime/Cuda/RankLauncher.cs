using System;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>
/// G and dB from one read of dY (rank_gradients.cu, rank_sum.cu). Partial sums lie in a workspace that nothing else uses at the same time; a batch whose sums do not fit is cut
/// into slices of whole units of tokens, which add to dB in order.
/// How a unit is cut depends on the GPU and on T, not on the tokens of a launch, so neither slices nor token tiles change a bit.
/// </summary>
/// <param name="Multiprocessors">Of the GPU: T tokens are about as many blocks of rank_gradients. The order of the sums, hence the bits, depend on it.</param>
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
            if (blocks[i].Rank != rank || blocks[i].RankStart != i * rank || blocks[i].Start % 8 != 0 || blocks[i].Columns % 8 != 0
                || (i > 0 && blocks[i].Start < blocks[i - 1].Start + blocks[i - 1].Columns)) return false;
        var (gs, ds) = (g.Operands, d.Operands);
        return (gs.A | gs.B | g.D | d.D | ds.B) % 16 == 0 && (gs.APitch | gs.BPitch | g.DPitch | ds.BPitch) % 8 == 0 && d.DPitch % 4 == 0 && d.Accumulate && d.Alpha == 1
            && (d.Unit == int.MaxValue || d.Unit % RankKernel.TokenUnit == 0) && Plan(both, kernels.Gradients.Info) is not null;
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
            var units = Launcher.Blocks(rows, RankKernel.TokenUnit);
            long gSums = Workspace, sums = Workspace + (long)plan.Stripes * rows * rank * sizeof(float);
            Pack([sums, gSums, gs.A + (long)row * gs.APitch * 2, gs.APitch, ds.B + (long)row * ds.BPitch * 2, ds.BPitch, gs.B, gs.BPitch,
                0, plan.Tiles, plan.Width, plan.Slots, rows], 8);
            Start(gradients, units * plan.Slots, false);

            var gBlocks = both.Blocks.Count * Launcher.Blocks(rows * (rank / 4), sum.Info.Block);
            var parts = units >= 4 ? 4 : units >= 2 ? 2 : 1;
            Pack([d.D, d.DPitch, g.D + (long)row * g.DPitch * 2, g.DPitch, sums, gSums, 0, plan.Tiles, plan.Width, plan.Slots, gBlocks, parts,
                rows, BitConverter.SingleToInt32Bits(g.Alpha)], 6);
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
                : Driver.LaunchKernel(kernel.Function, (uint)grid, 1, 1, (uint)info.Block, 1, 1, (uint)info.SharedBytes, Stream, parameters, null),
                $"launching {info.Name} for {both.Label} (grid {grid})");
        }
    }

    // Tile columns, how many of them make a stripe, stripes, blocks of a unit, and the tokens of a slice.
    readonly record struct Cut(int Tiles, int Width, int Stripes, int Slots, int Rows);

    /// <summary>
    /// The widths are tried for the fewest slices, then for the fewest bytes of partial sums: wide stripes have fewer sums of G, narrow ones smaller sums of dB.
    /// Slices of T tokens have as many units each, and a unit as many blocks as make a slice fill the GPU. Null: not one unit's sums fit.
    /// </summary>
    Cut? Plan(BoundRankGradients both, KernelInfo gradients)
    {
        var rank = both.Blocks[0].Rank;
        var units = Launcher.Blocks(both.G.WholeM, RankKernel.TokenUnit);
        return Enumerable.Range(1, RankKernel.Width(rank)).SelectMany(width =>
        {
            var tiles = both.Blocks.Sum(b => Launcher.Blocks(b.Columns, gradients.TileCols));
            var stripes = both.Blocks.Sum(b => Launcher.Blocks(Launcher.Blocks(b.Columns, gradients.TileCols), width));
            return Enumerable.Range(1, units).Select(slices => (Slices: slices, PerSlice: Launcher.Blocks(units, slices)))
                .Select(s => (s.Slices, s.PerSlice, Slots: Slots(s.PerSlice)))
                .Where(s => Sums(width, stripes, s.Slots) * rank * sizeof(float) * s.PerSlice <= WorkspaceBytes).Take(1)
                .Select(s => (s.Slices, Sums: Sums(width, stripes, s.Slots), Cut: new Cut(tiles, width, stripes, s.Slots, s.PerSlice * RankKernel.TokenUnit)));
        }).OrderBy(c => c.Slices).ThenBy(c => c.Sums).Select(c => (Cut?)c.Cut).FirstOrDefault();

        // A few units fill an eighth of the GPU each, so that a tile of a large T is not one or two blocks.
        int Slots(int perSlice) => Math.Max(1, Math.Max(Multiprocessors / 8, Multiprocessors / perSlice));

        // Floats of a unit's sums for each rank: of G, and of dB.
        long Sums(int width, int stripes, int slots) => (long)stripes * RankKernel.TokenUnit + (long)(stripes + slots) * width * gradients.TileCols;
    }
}
