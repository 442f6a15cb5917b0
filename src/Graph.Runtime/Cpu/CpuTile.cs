using System;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Graph.Runtime.Cpu;

/// <summary>
/// The products of the CPU target: C = or += alpha · A·B of one tile on one thread, C[i,j] at c[i·cPitch + j], A[i,p] at a[i·aRow + p·aDepth], B[p,j] at b[p·bDepth + j].
/// An element is one chain of fused multiply-adds over p, multiplied by alpha and added to C: the same bits wherever it lies in a tile.
/// </summary>
static unsafe class CpuTile
{
    /// <summary>Columns of a panel: two vectors.</summary>
    public static int Panel => 2 * Vector<float>.Count;

    /// <summary>
    /// Rows that a thread multiplies at once: with two vectors of columns twelve sums, which hide the latency of a fused multiply-add and leave registers for A and B.
    /// </summary>
    public const int Strip = 6;

    /// <summary>`rows` rows of one panel. Columns from `columns` on are computed and dropped, so B must be readable there.</summary>
    public static void Multiply(float* c, nint cPitch, float* a, nint aRow, nint aDepth, float* b, nint bDepth, int rows, int columns, int depth, float alpha, bool accumulate)
    {
        float* edge = stackalloc float[Strip * Panel];
        for (var i = 0; i < rows;)
        {
            // 4 + 4 rather than 6 + 2.
            var strip = rows - i is 4 or 8 ? 4 : Strip;
            float* to = c + i * cPitch, from = a + i * aRow;
            if (strip <= rows - i && columns == Panel)
            {
                if (strip == Strip) Six(to, cPitch, from, aRow, aDepth, b, bDepth, depth, alpha, accumulate);
                else Four(to, cPitch, from, aRow, aDepth, b, bDepth, depth, alpha, accumulate);
                i += strip;
                continue;
            }
            var part = Math.Min(strip, rows - i);
            if (accumulate) for (var r = 0; r < part; r++) new ReadOnlySpan<float>(to + r * cPitch, columns).CopyTo(new Span<float>(edge + r * Panel, columns));
            if (part == Strip) Six(edge, Panel, from, aRow, aDepth, b, bDepth, depth, alpha, accumulate);
            else if (part == 4) Four(edge, Panel, from, aRow, aDepth, b, bDepth, depth, alpha, accumulate);
            else for (var r = 0; r < part; r++) One(edge + r * Panel, from + r * aRow, aDepth, b, bDepth, depth, alpha, accumulate);
            for (var r = 0; r < part; r++) new ReadOnlySpan<float>(edge + r * Panel, columns).CopyTo(new Span<float>(to + r * cPitch, columns));
            i += part;
        }
    }

    static void Six(float* c, nint cPitch, float* a, nint aRow, nint aDepth, float* b, nint bDepth, int depth, float alpha, bool accumulate)
    {
        Vector<float> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default;
        Vector<float> s30 = default, s31 = default, s40 = default, s41 = default, s50 = default, s51 = default;
        var width = Vector<float>.Count;
        float* a3 = a + 3 * aRow;
        for (var p = 0; p < depth; p++, a += aDepth, a3 += aDepth, b += bDepth)
        {
            Vector<float> b0 = Vector.Load(b), b1 = Vector.Load(b + width);
            var x = new Vector<float>(*a);
            s00 = Vector.FusedMultiplyAdd(x, b0, s00);
            s01 = Vector.FusedMultiplyAdd(x, b1, s01);
            x = new Vector<float>(a[aRow]);
            s10 = Vector.FusedMultiplyAdd(x, b0, s10);
            s11 = Vector.FusedMultiplyAdd(x, b1, s11);
            x = new Vector<float>(a[2 * aRow]);
            s20 = Vector.FusedMultiplyAdd(x, b0, s20);
            s21 = Vector.FusedMultiplyAdd(x, b1, s21);
            x = new Vector<float>(*a3);
            s30 = Vector.FusedMultiplyAdd(x, b0, s30);
            s31 = Vector.FusedMultiplyAdd(x, b1, s31);
            x = new Vector<float>(a3[aRow]);
            s40 = Vector.FusedMultiplyAdd(x, b0, s40);
            s41 = Vector.FusedMultiplyAdd(x, b1, s41);
            x = new Vector<float>(a3[2 * aRow]);
            s50 = Vector.FusedMultiplyAdd(x, b0, s50);
            s51 = Vector.FusedMultiplyAdd(x, b1, s51);
        }
        Store(c, s00, s01, alpha, accumulate);
        Store(c + cPitch, s10, s11, alpha, accumulate);
        Store(c + 2 * cPitch, s20, s21, alpha, accumulate);
        Store(c + 3 * cPitch, s30, s31, alpha, accumulate);
        Store(c + 4 * cPitch, s40, s41, alpha, accumulate);
        Store(c + 5 * cPitch, s50, s51, alpha, accumulate);
    }

    static void Four(float* c, nint cPitch, float* a, nint aRow, nint aDepth, float* b, nint bDepth, int depth, float alpha, bool accumulate)
    {
        Vector<float> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default, s30 = default, s31 = default;
        var width = Vector<float>.Count;
        float* a2 = a + 2 * aRow;
        for (var p = 0; p < depth; p++, a += aDepth, a2 += aDepth, b += bDepth)
        {
            Vector<float> b0 = Vector.Load(b), b1 = Vector.Load(b + width);
            var x = new Vector<float>(*a);
            s00 = Vector.FusedMultiplyAdd(x, b0, s00);
            s01 = Vector.FusedMultiplyAdd(x, b1, s01);
            x = new Vector<float>(a[aRow]);
            s10 = Vector.FusedMultiplyAdd(x, b0, s10);
            s11 = Vector.FusedMultiplyAdd(x, b1, s11);
            x = new Vector<float>(*a2);
            s20 = Vector.FusedMultiplyAdd(x, b0, s20);
            s21 = Vector.FusedMultiplyAdd(x, b1, s21);
            x = new Vector<float>(a2[aRow]);
            s30 = Vector.FusedMultiplyAdd(x, b0, s30);
            s31 = Vector.FusedMultiplyAdd(x, b1, s31);
        }
        Store(c, s00, s01, alpha, accumulate);
        Store(c + cPitch, s10, s11, alpha, accumulate);
        Store(c + 2 * cPitch, s20, s21, alpha, accumulate);
        Store(c + 3 * cPitch, s30, s31, alpha, accumulate);
    }

    static void One(float* c, float* a, nint aDepth, float* b, nint bDepth, int depth, float alpha, bool accumulate)
    {
        Vector<float> s0 = default, s1 = default;
        for (var p = 0; p < depth; p++, a += aDepth, b += bDepth)
        {
            var x = new Vector<float>(*a);
            s0 = Vector.FusedMultiplyAdd(x, Vector.Load(b), s0);
            s1 = Vector.FusedMultiplyAdd(x, Vector.Load(b + Vector<float>.Count), s1);
        }
        Store(c, s0, s1, alpha, accumulate);
    }

    static void Store(float* c, Vector<float> s0, Vector<float> s1, float alpha, bool accumulate)
    {
        var scale = new Vector<float>(alpha);
        (s0, s1) = (scale * s0, scale * s1);
        if (accumulate) (s0, s1) = (Vector.Load(c) + s0, Vector.Load(c + Vector<float>.Count) + s1);
        s0.Store(c);
        s1.Store(c + Vector<float>.Count);
    }

    /// <summary>B's columns as panels, one after the other, each k-major and filled up with zeros: B[p,j] at b[p·depthStep + j·columnStep].</summary>
    public static void Pack(float* to, float* b, nint depthStep, nint columnStep, int columns, int depth)
    {
        var width = Panel;
        for (var j0 = 0; j0 < columns; j0 += width, b += width * columnStep)
        {
            var part = Math.Min(width, columns - j0);
            if (part == width && columnStep == 1)
                for (var p = 0; p < depth; p++, to += width)
                {
                    Vector.Load(b + p * depthStep).Store(to);
                    Vector.Load(b + p * depthStep + Vector<float>.Count).Store(to + Vector<float>.Count);
                }
            else
            {
                if (part < width) new Span<float>(to, width * depth).Clear();
                var p = 0;
                if (Sse.IsSupported && depthStep == 1 && part == width)
                    for (; p <= depth - 4; p += 4, to += 4 * width)
                        for (var j = 0; j < width; j += 4) Transpose(to + j, width, b + j * columnStep + p, columnStep);
                for (; p < depth; p++, to += width)
                {
                    var from = b + p * depthStep;
                    for (var j = 0; j < part; j++, from += columnStep) to[j] = *from;
                }
            }
        }
    }

    // Four by four; twice as fast as element by element.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Transpose(float* to, nint toPitch, float* from, nint fromPitch)
    {
        Vector128<float> a = Vector128.Load(from), b = Vector128.Load(from + fromPitch), c = Vector128.Load(from + 2 * fromPitch), d = Vector128.Load(from + 3 * fromPitch);
        Vector128<float> ab = Sse.UnpackLow(a, b), cd = Sse.UnpackLow(c, d), abHigh = Sse.UnpackHigh(a, b), cdHigh = Sse.UnpackHigh(c, d);
        Sse.MoveLowToHigh(ab, cd).Store(to);
        Sse.MoveHighToLow(cd, ab).Store(to + toPitch);
        Sse.MoveLowToHigh(abHigh, cdHigh).Store(to + 2 * toPitch);
        Sse.MoveHighToLow(cdHigh, abHigh).Store(to + 3 * toPitch);
    }
}
