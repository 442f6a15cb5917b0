using System;
using System.Linq;
using System.Numerics;
using Graph.Runtime.Cpu;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public unsafe class CpuRoutineTests
{
    /// <summary>5 tanh(s / 10) − 0.1 · distance · (head + 1): a soft cap, and ALiBi with a slope per head.</summary>
    readonly struct Softcap : IScore
    {
        public static Vector<float> Value(Vector<float> s, Vector<float> distance, float head) => 5 * CpuMath.Tanh(s * 0.1f) - distance * (0.1f * (head + 1));

        public static void ValueAndDerivative(Vector<float> s, Vector<float> distance, float head, out Vector<float> z, out Vector<float> dz)
        {
            var t = CpuMath.Tanh(s * 0.1f);
            (z, dz) = (5 * t - distance * (0.1f * (head + 1)), (Vector<float>.One - t * t) * 0.5f);
        }
    }

    static float[] Random(int seed, int count) => new Random(seed) is var r ? Enumerable.Range(0, count).Select(_ => (float)(r.NextDouble() * 2 - 1)).ToArray() : [];

    [Theory]
    [InlineData(GemmLayout.Nt, 1, 1, 1), InlineData(GemmLayout.Nt, 65, 129, 257), InlineData(GemmLayout.Nt, 250, 16, 40)]
    [InlineData(GemmLayout.Nn, 63, 130, 300), InlineData(GemmLayout.Nn, 10, 300, 70)]
    [InlineData(GemmLayout.Tn, 70, 33, 511), InlineData(GemmLayout.Tn, 5, 17, 513)]
    public void Gemm_OddSizesAndPitches_IsTheProduct(GemmLayout layout, int m, int n, int k)
    {
        int aPitch = (layout == GemmLayout.Tn ? m : k) + 5, bPitch = (layout == GemmLayout.Nt ? k : n) + 2,
            aRows = layout == GemmLayout.Tn ? k : m, bRows = layout == GemmLayout.Nt ? n : k;
        float[] a = Padded(1, aRows, aPitch - 5, aPitch), b = Padded(2, bRows, bPitch - 2, bPitch), d = Random(3, m * (n + 3)), before = [.. d];
        fixed (float* pa = a, pb = b, pd = d) CpuGemm.Run(layout, pd, n + 3, pa, aPitch, pb, bPitch, m, n, k, 0.5f, true);
        for (var i = 0; i < m; i++)
            for (var j = 0; j < n + 3; j++)
            {
                double sum = before[i * (n + 3) + j];
                for (var p = 0; p < k && j < n; p++)
                    sum += 0.5 * a[layout == GemmLayout.Tn ? p * aPitch + i : i * aPitch + p] * b[layout == GemmLayout.Nt ? j * bPitch + p : p * bPitch + j];
                Assert.Equal(sum, d[i * (n + 3) + j], j < n ? 2e-5 : 0);
            }
    }

    // What a product does not own is NaN.
    static float[] Padded(int seed, int rows, int columns, int pitch)
    {
        var values = Random(seed, rows * columns);
        return [.. Enumerable.Range(0, rows * pitch).Select(i => i % pitch < columns ? values[i / pitch * columns + i % pitch] : float.NaN)];
    }

    [Theory]
    [InlineData(GemmLayout.Nt, false), InlineData(GemmLayout.Nn, true), InlineData(GemmLayout.Tn, true)]
    public void Gemm_InPieces_HasTheBitsOfTheWhole(GemmLayout layout, bool accumulate)
    {
        // An element's sum must not depend on where a tile, a strip or a panel begins: that is what makes the result independent of the number of cores.
        const int M = 500, N = 90, K = 600;
        float[] a = Random(1, M * K), b = Random(2, N * K), whole = Random(3, M * N), pieces = [.. whole];
        int aPitch = layout == GemmLayout.Tn ? M : K, bPitch = layout == GemmLayout.Nt ? K : N;
        fixed (float* pa = a, pb = b, pw = whole, pp = pieces)
        {
            CpuGemm.Run(layout, pw, N, pa, aPitch, pb, bPitch, M, N, K, 0.3f, accumulate);
            foreach (var (row, rows) in new[] { (0, 1), (1, 17), (18, 5), (23, 8), (31, M - 31) })
                foreach (var (column, columns) in new[] { (0, 3), (3, 40), (43, 47) })
                    CpuGemm.Run(layout, pp + row * N + column, N, pa + (layout == GemmLayout.Tn ? row : row * K), aPitch,
                        pb + (layout == GemmLayout.Nt ? column * K : column), bPitch, rows, columns, K, 0.3f, accumulate);
        }
        Assert.Equal(whole, pieces);
    }

    [Theory]
    [InlineData(0, 8), InlineData(3, 8), InlineData(0, 16), InlineData(7, 20)]
    public void Attention_DocumentsWindowAndGroups_MatchesFp64AndFiniteDifferences(int window, int D)
    {
        const int T = 20, N = 4, K = 2;
        float[] q = Random(1, T * N * D).Select(x => 3 * x).ToArray(), k = Random(2, T * K * D).Select(x => 3 * x).ToArray(),
            v = Random(3, T * K * D), weight = Random(4, T * N * D);
        int[] start = [.. Enumerable.Range(0, T).Select(t => t < 3 ? 0 : 3)];
        var (o, lse, gradients) = Attention(q, k, v, weight, start, N, K, D, window);
        double[][] inputs = [.. new[] { q, k, v }.Select(x => x.Select(y => (double)y).ToArray())];
        var (reference, sums) = Output(inputs, start, window, D);
        for (var i = 0; i < o.Length; i++) Assert.Equal(reference[i], o[i], 1e-5);
        for (var i = 0; i < lse.Length; i++) Assert.Equal(Math.Log(sums[i]), lse[i], 1e-5);
        double Loss() => Output(inputs, start, window, D).O.Zip(weight, (x, w) => x * w).Sum();
        foreach (var (input, gradient) in inputs.Zip(gradients))
            for (var i = 0; i < input.Length; i += D == 8 ? 1 : 7)
            {
                var saved = input[i];
                input[i] = saved + 1e-5;
                var up = Loss();
                input[i] = saved - 1e-5;
                var slope = (up - Loss()) / 2e-5;
                input[i] = saved;
                Assert.Equal(slope, gradient[i], 2e-5);
            }

        static (double[] O, double[] Sums) Output(double[][] x, int[] start, int window, int D)
        {
            double[] o = new double[T * N * D], sums = new double[T * N];
            for (var t = 0; t < T; t++)
                for (var n = 0; n < N; n++)
                    for (var j = window > 0 ? Math.Max(start[t], t - window + 1) : start[t]; j <= t; j++)
                    {
                        double s = 0;
                        for (var d = 0; d < D; d++) s += x[0][(t * N + n) * D + d] * x[1][(j * K + n / 2) * D + d];
                        var e = Math.Exp(5 * Math.Tanh(s * 0.1) - 0.1 * (t - j) * (n + 1));
                        sums[t * N + n] += e;
                        for (var d = 0; d < D; d++) o[(t * N + n) * D + d] += e * x[2][(j * K + n / 2) * D + d];
                    }
            return ([.. o.Select((x, i) => x / sums[i / D])], sums);
        }
    }

    [Theory]
    [InlineData(0, 32, 2), InlineData(21, 48, 1), InlineData(64, 8, 4)]
    public void Attention_PackedDocuments_HaveTheBitsOfEachAlone(int window, int D, int K)
    {
        const int T = 190, N = 4;
        int[] lengths = [1, 70, 2, 16, 101];
        float[] q = Random(1, T * N * D), k = Random(2, T * K * D), v = Random(3, T * K * D), weight = Random(4, T * N * D);
        var firsts = lengths.Select((_, i) => lengths.Take(i).Sum()).ToArray();
        var (o, lse, gradients) = Attention(q, k, v, weight, [.. lengths.SelectMany((l, i) => Enumerable.Repeat(firsts[i], l))], N, K, D, window);
        foreach (var (first, length) in firsts.Zip(lengths))
        {
            float[] Part(float[] x) => x[(x.Length / T * first)..(x.Length / T * (first + length))];
            var (alone, aloneLse, aloneGradients) = Attention(Part(q), Part(k), Part(v), Part(weight), new int[length], N, K, D, window);
            Assert.Equal(alone, Part(o));
            Assert.Equal(aloneLse, Part(lse));
            Assert.All(aloneGradients.Zip(gradients), g => Assert.Equal(g.First, Part(g.Second)));
        }
    }

    static (float[] O, float[] Lse, float[][] Gradients) Attention(float[] q, float[] k, float[] v, float[] weight, int[] start, int N, int K, int D, int window)
    {
        var T = start.Length;
        int[] end = [.. start.Select(s => Enumerable.Range(0, T).Last(t => start[t] == s) + 1)];
        float[] o = Nan(q.Length), lse = Nan(T * N), delta = Nan(T * N), dq = Nan(q.Length), dk = Nan(k.Length), dv = Nan(v.Length);
        fixed (float* pq = q, pk = k, pv = v, pw = weight, po = o, pl = lse, pd = delta, pdq = dq, pdk = dk, pdv = dv)
        fixed (int* ps = start, pe = end)
        {
            CpuView O = new((nint)po, N * D), L = new((nint)pl, N), Q = new((nint)pq, N * D), X = new((nint)pk, K * D),
                V = new((nint)pv, K * D), G = new((nint)pw, N * D), E = new((nint)pd, N);
            CpuView S = new((nint)ps, 0), F = new((nint)pe, 0);
            CpuAttention.Forward<Softcap>([O, L, Q, X, V, S], T, N, K, D, window);
            CpuAttention.Delta([E, O, G], T, N, D);
            CpuAttention.GradQ<Softcap>([new((nint)pdq, N * D), Q, X, V, G, L, E, S], T, N, K, D, window);
            CpuAttention.GradKV<Softcap>([new((nint)pdk, K * D), new((nint)pdv, K * D), Q, X, V, G, L, E, S, F], T, N, K, D, window);
        }
        return (o, lse, [dq, dk, dv]);
    }

    static float[] Nan(int count) => [.. Enumerable.Repeat(float.NaN, count)];

    [Theory]
    [InlineData(1), InlineData(11), InlineData(64)]
    public void CrossEntropy_LabelsAndIgnored_MatchesFiniteDifferences(int V)
    {
        const int T = 3;
        float[] logits = Random(5, T * V).Select(x => 8 * x).ToArray(), gradient = [.. logits, 7], loss = new float[T], forward = [.. logits], only = new float[T];
        int[] labels = [V / 2, -100, 0];
        var inverse = 0.5f;
        fixed (float* pg = gradient, pl = loss, pf = forward, po = only)
        fixed (int* pi = labels)
        {
            CpuCrossEntropy.Run<Softcap>([new((nint)pg, V), new((nint)pl, 0), new((nint)pi, 0), new((nint)(&inverse), 0)], T, V, true);
            CpuCrossEntropy.Run<Softcap>([new((nint)pf, V), new((nint)po, 0), new((nint)pi, 0), new((nint)(&inverse), 0)], T, V, false);
        }
        double Loss(int t, int c, double step)
        {
            var z = Enumerable.Range(0, V).Select(j => 5 * Math.Tanh((logits[t * V + j] + (j == c ? step : 0)) * 0.1)).ToArray();
            return labels[t] < 0 ? 0 : Math.Log(z.Sum(Math.Exp)) - z[labels[t]];
        }
        for (var t = 0; t < T; t++)
        {
            Assert.Equal(Loss(t, 0, 0), loss[t], 1e-5);
            for (var c = 0; c < V; c++) Assert.Equal(0.5 * (Loss(t, c, 1e-5) - Loss(t, c, -1e-5)) / 2e-5, gradient[t * V + c], 1e-5);
        }
        Assert.Equal(7, gradient[^1]);
        Assert.Equal(loss, only);
        Assert.Equal(logits, forward);
    }

    [Fact]
    public void Rope_HeadsOfAnOddHalf_AreTurnedOneByOne()
    {
        // Two heads of 22: eleven pairs each, no whole number of vectors.
        const int T = 3, N = 2, D = 22;
        float[] x = Random(7, T * N * D), start = [.. x];
        int[] positions = [5, 0, 40];
        // Sines and cosines are multiplied by 1.25.
        float[] table = [.. Enumerable.Range(0, D / 2).Select(i => (float)Math.Pow(100, -2.0 * i / D)), 1.25f];
        fixed (float* px = x, pt = table)
        fixed (int* pp = positions) CpuRope.Run([new((nint)px, N * D), new((nint)pp, 0), new((nint)pt, 0)], T, N, D, false);
        for (var i = 0; i < x.Length; i++)
        {
            int d = i % D, other = d < D / 2 ? i + D / 2 : i - D / 2;
            var angle = positions[i / (N * D)] * Math.Pow(100, -2.0 * (d % (D / 2)) / D);
            Assert.Equal(1.25 * (start[i] * Math.Cos(angle) + (d < D / 2 ? -1 : 1) * start[other] * Math.Sin(angle)), x[i], 1e-5);
        }
    }

    [Fact]
    public void Rope_ThereAndBack_IsTheInputAndPositionOneTurnsByTheFrequency()
    {
        float[] x = Random(6, 2 * 8), start = [.. x];
        int[] positions = [0, 1];
        float[] table = [1, 0.01f, 1];
        fixed (float* px = x, pt = table)
        fixed (int* pp = positions)
        {
            CpuRope.Run([new((nint)px, 8), new((nint)pp, 0), new((nint)pt, 0)], 2, 2, 4, false);
            Assert.Equal(start[..8], x[..8]);
            Assert.Equal(start[8] * Math.Cos(1) - start[10] * Math.Sin(1), x[8], 1e-6);
            Assert.Equal(start[9] * Math.Cos(0.01) - start[11] * Math.Sin(0.01), x[9], 1e-6);
            CpuRope.Run([new((nint)px, 8), new((nint)pp, 0), new((nint)pt, 0)], 2, 2, 4, true);
        }
        for (var i = 0; i < x.Length; i++) Assert.Equal(start[i], x[i], 1e-6);
    }
}
