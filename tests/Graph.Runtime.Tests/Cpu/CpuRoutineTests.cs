using System;
using System.Linq;
using Graph.Runtime.Cpu;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public unsafe class CpuRoutineTests
{
    readonly struct Softcap : IScore
    {
        public static float Value(float s) => 5 * MathF.Tanh(s * 0.5f / 5);

        public static void ValueAndDerivative(float s, out float z, out float dz)
        {
            var t = MathF.Tanh(s * 0.5f / 5);
            (z, dz) = (5 * t, (1 - t * t) * 0.5f);
        }
    }

    static float[] Random(int seed, int count) => new Random(seed) is var r ? Enumerable.Range(0, count).Select(_ => (float)(r.NextDouble() * 2 - 1)).ToArray() : [];

    [Theory]
    [InlineData(GemmLayout.Nt, 1, 1, 1), InlineData(GemmLayout.Nt, 65, 129, 257), InlineData(GemmLayout.Nn, 63, 130, 300), InlineData(GemmLayout.Tn, 70, 33, 511)]
    public void Gemm_OddSizes_IsTheProduct(GemmLayout layout, int m, int n, int k)
    {
        float[] a = Random(1, m * k), b = Random(2, n * k), d = Random(3, m * (n + 3)), before = [.. d];
        fixed (float* pa = a, pb = b, pd = d) CpuGemm.Run(layout, pd, n + 3, pa, layout == GemmLayout.Tn ? m : k, pb, layout == GemmLayout.Nt ? k : n, m, n, k, 0.5f, true);
        for (var i = 0; i < m; i++)
            for (var j = 0; j < n; j++)
            {
                double sum = before[i * (n + 3) + j];
                for (var p = 0; p < k; p++) sum += 0.5 * a[layout == GemmLayout.Tn ? p * m + i : i * k + p] * b[layout == GemmLayout.Nt ? j * k + p : p * n + j];
                Assert.Equal(sum, d[i * (n + 3) + j], 2e-4);
            }
        Assert.Equal(before[n], d[n]);
    }

    [Theory]
    [InlineData(0), InlineData(3)]
    public void Attention_DocumentsWindowAndGroups_MatchesFp64AndFiniteDifferences(int window)
    {
        const int T = 12, N = 4, K = 2, D = 8;
        float[] q = Random(1, T * N * D).Select(x => 3 * x).ToArray(), k = Random(2, T * K * D).Select(x => 3 * x).ToArray(), v = Random(3, T * K * D), weight = Random(4, T * N * D);
        int[] start = Enumerable.Range(0, T).Select(t => t < 5 ? 0 : 5).ToArray(), end = Enumerable.Range(0, T).Select(t => t < 5 ? 5 : T).ToArray();
        float[] o = new float[T * N * D], lse = new float[T * N], delta = new float[T * N], dq = new float[T * N * D], dk = new float[T * K * D], dv = new float[T * K * D];
        fixed (float* pq = q, pk = k, pv = v, pw = weight, po = o, pl = lse, pd = delta, pdq = dq, pdk = dk, pdv = dv)
        fixed (int* ps = start, pe = end)
        {
            CpuView O = new((nint)po, N * D), L = new((nint)pl, N), Q = new((nint)pq, N * D), X = new((nint)pk, K * D), V = new((nint)pv, K * D), G = new((nint)pw, N * D), E = new((nint)pd, N);
            CpuView S = new((nint)ps, 0), F = new((nint)pe, 0);
            CpuAttention.Forward<Softcap>([O, L, Q, X, V, S], T, N, K, D, window);
            CpuAttention.Delta([E, O, G], T, N, D);
            CpuAttention.GradQ<Softcap>([new((nint)pdq, N * D), Q, X, V, G, L, E, S], T, N, K, D, window);
            CpuAttention.GradKV<Softcap>([new((nint)pdk, K * D), new((nint)pdv, K * D), Q, X, V, G, L, E, S, F], T, N, K, D, window);
        }
        double[][] inputs = [.. new[] { q, k, v }.Select(x => x.Select(y => (double)y).ToArray())];
        var reference = Output(inputs, start, window);
        for (var i = 0; i < o.Length; i++) Assert.Equal(reference[i], o[i], 1e-5);
        double Loss() => Output(inputs, start, window).Zip(weight, (x, w) => x * w).Sum();
        foreach (var (input, gradient) in inputs.Zip(new[] { dq, dk, dv }))
            for (var i = 0; i < input.Length; i++)
            {
                var saved = input[i];
                input[i] = saved + 1e-5;
                var up = Loss();
                input[i] = saved - 1e-5;
                var slope = (up - Loss()) / 2e-5;
                input[i] = saved;
                Assert.Equal(slope, gradient[i], 2e-5);
            }

        static double[] Output(double[][] x, int[] start, int window)
        {
            var o = new double[T * N * D];
            for (var t = 0; t < T; t++)
                for (var n = 0; n < N; n++)
                {
                    var visible = Enumerable.Range(0, T).Where(j => start[t] <= j && j <= t && (window == 0 || t - j < window)).ToArray();
                    var e = visible.Select(j => Math.Exp(5 * Math.Tanh(Enumerable.Range(0, D).Sum(d => x[0][(t * N + n) * D + d] * x[1][(j * K + n / 2) * D + d]) * 0.5 / 5))).ToArray();
                    for (var d = 0; d < D; d++) o[(t * N + n) * D + d] = visible.Select((j, i) => e[i] / e.Sum() * x[2][(j * K + n / 2) * D + d]).Sum();
                }
            return o;
        }
    }

    [Fact]
    public void CrossEntropy_LabelsAndIgnored_MatchesFiniteDifferences()
    {
        const int T = 3, V = 11;
        float[] logits = Random(5, T * V).Select(x => 8 * x).ToArray(), gradient = [.. logits], loss = new float[T];
        int[] labels = [4, -100, 0];
        var inverse = 0.5f;
        fixed (float* pg = gradient, pl = loss)
        fixed (int* pi = labels) CpuCrossEntropy.Run<Softcap>([new((nint)pg, V), new((nint)pl, 0), new((nint)pi, 0), new((nint)(&inverse), 0)], T, V, true);
        double Loss(int t, int c, double step)
        {
            var z = Enumerable.Range(0, V).Select(j => 5 * Math.Tanh((logits[t * V + j] + (j == c ? step : 0)) * 0.5 / 5)).ToArray();
            return labels[t] < 0 ? 0 : Math.Log(z.Sum(Math.Exp)) - z[labels[t]];
        }
        for (var t = 0; t < T; t++)
        {
            Assert.Equal(Loss(t, 0, 0), loss[t], 1e-5);
            for (var c = 0; c < V; c++) Assert.Equal(0.5 * (Loss(t, c, 1e-5) - Loss(t, c, -1e-5)) / 2e-5, gradient[t * V + c], 1e-5);
        }
    }

    [Fact]
    public void Rope_ThereAndBack_IsTheInputAndPositionOneTurnsByTheFrequency()
    {
        float[] x = Random(6, 2 * 8), start = [.. x];
        int[] positions = [0, 1];
        fixed (float* px = x)
        fixed (int* pp = positions)
        {
            CpuRope.Run([new((nint)px, 8), new((nint)pp, 0)], 2, 2, 4, 10000, false);
            Assert.Equal(start[..8], x[..8]);
            Assert.Equal(start[8] * Math.Cos(1) - start[10] * Math.Sin(1), x[8], 1e-6);
            Assert.Equal(start[9] * Math.Cos(0.01) - start[11] * Math.Sin(0.01), x[9], 1e-6);
            CpuRope.Run([new((nint)px, 8), new((nint)pp, 0)], 2, 2, 4, 10000, true);
        }
        for (var i = 0; i < x.Length; i++) Assert.Equal(start[i], x[i], 1e-6);
    }
}
