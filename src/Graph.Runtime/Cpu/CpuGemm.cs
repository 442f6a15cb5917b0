using System;
using System.Buffers;
using System.Threading.Tasks;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cpu;

/// <summary>
/// D[M,N] (=|+=) alpha · op(A) · op(B) in fp32. Threads share tiles of D.
/// For each tile and each piece of k, B's columns are copied into panels; A is read where it lies, except where its columns serve many panels of a Tn product.
/// The order of an element's sum depends on k alone, so neither the thread count nor the cut into tiles changes a bit.
/// An element is summed over a piece of k at a time and each sum is added to D, so a product that accumulates may be cut anywhere between two pieces.
/// </summary>
public static unsafe class CpuGemm
{
    // A piece of B's panel fits in L1 beside rows of A, a tile's A in L2.
    const int Depth = 256, TileElements = 240 * Depth, MostColumns = 256, LeastRows = 48;

    /// <param name="unit">The product is summed in units of so many of k (<see cref="GemmKernel.TokenUnit"/>): a piece ends with each. Below 256, or a multiple of that.</param>
    public static void Run(GemmLayout layout, float* d, int dPitch, float* a, int aPitch, float* b, int bPitch, int m, int n, int k, float alpha, bool accumulate, int unit = Depth)
    {
        if (m == 0 || n == 0) return;
        var (rows, columns) = TileOf(m, n, k, 4 * Environment.ProcessorCount);
        int down = (m + rows - 1) / rows, across = (n + columns - 1) / columns;
        // Lambdas take addresses as integers.
        nint dAddress = (nint)d, aAddress = (nint)a, bAddress = (nint)b;
        void Tile(int tile)
        {
            int i = tile / across * rows, j = tile % across * columns;
            float* da = (float*)dAddress + (long)i * dPitch + j, aa = (float*)aAddress + (layout == GemmLayout.Tn ? i : (long)i * aPitch);
            float* ba = (float*)bAddress + (layout == GemmLayout.Nt ? (long)j * bPitch : j);
            Multiply(layout, da, dPitch, aa, aPitch, ba, bPitch, Math.Min(rows, m - i), Math.Min(columns, n - j), k, alpha, accumulate, Math.Min(Depth, unit));
        }
        if (down * across == 1) Tile(0);
        else Parallel.For(0, down * across, Tile);
    }

    // Enough tiles for all threads: narrow ones first, which copy no panel of B twice.
    static (int Rows, int Columns) TileOf(int m, int n, int k, int tiles)
    {
        int rows = Math.Min(m, TileElements / Math.Clamp(k, 1, Depth) / CpuTile.Strip * CpuTile.Strip), down = (m + rows - 1) / rows;
        var panels = (Math.Min(n, MostColumns) + CpuTile.Panel - 1) / CpuTile.Panel;
        while (panels > 1 && down * (n / (panels * CpuTile.Panel)) < tiles) panels /= 2;
        while (rows > LeastRows && (m + rows - 1) / rows * ((n + CpuTile.Panel * panels - 1) / (CpuTile.Panel * panels)) < tiles)
            rows = Math.Max(LeastRows, rows / 2 / CpuTile.Strip * CpuTile.Strip);
        return (rows, panels * CpuTile.Panel);
    }

    static void Multiply(GemmLayout layout, float* d, int dPitch, float* a, int aPitch, float* b, int bPitch, int rows, int columns, int k, float alpha, bool accumulate, int most)
    {
        var panel = CpuTile.Panel;
        var piece = Math.Min(k, most);
        var width = (columns + panel - 1) / panel * panel;
        // A column of A that is read for few panels is read where it lies.
        var copy = layout == GemmLayout.Tn && width > 2 * panel;
        var buffer = ArrayPool<float>.Shared.Rent((width + (copy ? rows : 0)) * piece);
        fixed (float* packed = buffer)
        {
            float* packedA = packed + width * piece;
            for (var p = 0; p == 0 || p < k; p += most)
            {
                var depth = Math.Min(most, k - p);
                if (layout == GemmLayout.Nt) CpuTile.Pack(packed, b + p, 1, bPitch, columns, depth);
                else CpuTile.Pack(packed, b + (long)p * bPitch, bPitch, 1, columns, depth);
                if (copy)
                    for (var r = 0; r < depth; r++) new ReadOnlySpan<float>(a + (long)(p + r) * aPitch, rows).CopyTo(new Span<float>(packedA + r * rows, rows));
                var (from, row, step) = copy ? ((nint)packedA, 1, rows) : layout == GemmLayout.Tn ? ((nint)(a + (long)p * aPitch), 1, aPitch) : ((nint)(a + p), aPitch, 1);
                for (var j = 0; j < columns; j += panel)
                    CpuTile.Multiply(d + j, dPitch, (float*)from, row, step, packed + j * depth, panel, rows, Math.Min(panel, columns - j), depth, alpha, accumulate || p > 0);
            }
        }
        ArrayPool<float>.Shared.Return(buffer);
    }
}
