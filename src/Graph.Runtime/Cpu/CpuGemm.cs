using System;
using System.Buffers;
using System.Numerics;
using System.Threading.Tasks;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cpu;

/// <summary>
/// D[M,N] (=|+=) alpha · op(A) · op(B) in fp32. D is cut into fixed tiles that threads share; inside a tile k runs in order, so the thread count never changes a bit.
/// </summary>
public static unsafe class CpuGemm
{
    const int TileM = 64, TileN = 128, TileK = 256, MicroM = 4;
    static int MicroN => 2 * Vector<float>.Count;

    public static void Run(GemmLayout layout, float* d, int dPitch, float* a, int aPitch, float* b, int bPitch, int m, int n, int k, float alpha, bool accumulate)
    {
        int across = (n + TileN - 1) / TileN, down = (m + TileM - 1) / TileM;
        // Lambdas take addresses as integers.
        nint dAddress = (nint)d, aAddress = (nint)a, bAddress = (nint)b;
        Parallel.For(0, across * down, tile =>
            Tile(layout, (float*)dAddress, dPitch, (float*)aAddress, aPitch, (float*)bAddress, bPitch, m, n, k, alpha, accumulate, tile / across * TileM, tile % across * TileN));
    }

    static void Tile(GemmLayout layout, float* d, int dPitch, float* a, int aPitch, float* b, int bPitch, int m, int n, int k, float alpha, bool accumulate, int row, int column)
    {
        int rows = Math.Min(TileM, m - row), columns = Math.Min(TileN, n - column);
        var buffer = ArrayPool<float>.Shared.Rent(TileM * TileN + TileM * TileK + TileK * TileN);
        fixed (float* sums = buffer)
        {
            float* packedA = sums + TileM * TileN, packedB = packedA + TileM * TileK;
            CpuVector.Clear(sums, TileM * TileN);
            for (var k0 = 0; k0 < k; k0 += TileK)
            {
                var depth = Math.Min(TileK, k - k0);
                PackA(packedA, layout == GemmLayout.Tn ? a + (long)k0 * aPitch + row : a + (long)row * aPitch + k0, layout == GemmLayout.Tn ? 1 : aPitch, layout == GemmLayout.Tn ? aPitch : 1, rows, depth);
                PackB(packedB, layout == GemmLayout.Nt ? b + (long)column * bPitch + k0 : b + (long)k0 * bPitch + column, layout == GemmLayout.Nt ? bPitch : 1, layout == GemmLayout.Nt ? 1 : bPitch, columns, depth);
                for (var j = 0; j < columns; j += MicroN)
                    for (var i = 0; i < rows; i += MicroM)
                        Micro(sums + i * TileN + j, packedA + i * depth, packedB + j * depth, depth);
            }
            for (var i = 0; i < rows; i++)
            {
                float* to = d + (long)(row + i) * dPitch + column, from = sums + i * TileN;
                if (accumulate) for (var j = 0; j < columns; j++) to[j] += alpha * from[j];
                else for (var j = 0; j < columns; j++) to[j] = alpha * from[j];
            }
        }
        ArrayPool<float>.Shared.Return(buffer);
    }

    // Panels of MicroM rows (MicroN columns), k-major, padded with zeros.
    static void PackA(float* to, float* a, int rowStep, int depthStep, int rows, int depth)
    {
        for (var i0 = 0; i0 < rows; i0 += MicroM)
            for (var p = 0; p < depth; p++)
                for (var i = i0; i < i0 + MicroM; i++) *to++ = i < rows ? a[(long)i * rowStep + (long)p * depthStep] : 0;
    }

    static void PackB(float* to, float* b, int columnStep, int depthStep, int columns, int depth)
    {
        var width = MicroN;
        for (var j0 = 0; j0 < columns; j0 += width)
            for (var p = 0; p < depth; p++)
                for (var j = j0; j < j0 + width; j++) *to++ = j < columns ? b[(long)j * columnStep + (long)p * depthStep] : 0;
    }

    static void Micro(float* sums, float* a, float* b, int depth)
    {
        var width = Vector<float>.Count;
        float* r0 = sums, r1 = sums + TileN, r2 = sums + 2 * TileN, r3 = sums + 3 * TileN;
        Vector<float> s00 = Vector.Load(r0), s01 = Vector.Load(r0 + width), s10 = Vector.Load(r1), s11 = Vector.Load(r1 + width);
        Vector<float> s20 = Vector.Load(r2), s21 = Vector.Load(r2 + width), s30 = Vector.Load(r3), s31 = Vector.Load(r3 + width);
        for (var p = 0; p < depth; p++, a += MicroM, b += 2 * width)
        {
            Vector<float> b0 = Vector.Load(b), b1 = Vector.Load(b + width);
            var x = new Vector<float>(a[0]);
            s00 = Vector.FusedMultiplyAdd(x, b0, s00);
            s01 = Vector.FusedMultiplyAdd(x, b1, s01);
            x = new Vector<float>(a[1]);
            s10 = Vector.FusedMultiplyAdd(x, b0, s10);
            s11 = Vector.FusedMultiplyAdd(x, b1, s11);
            x = new Vector<float>(a[2]);
            s20 = Vector.FusedMultiplyAdd(x, b0, s20);
            s21 = Vector.FusedMultiplyAdd(x, b1, s21);
            x = new Vector<float>(a[3]);
            s30 = Vector.FusedMultiplyAdd(x, b0, s30);
            s31 = Vector.FusedMultiplyAdd(x, b1, s31);
        }
        s00.Store(r0); s01.Store(r0 + width); s10.Store(r1); s11.Store(r1 + width);
        s20.Store(r2); s21.Store(r2 + width); s30.Store(r3); s31.Store(r3 + width);
    }
}
