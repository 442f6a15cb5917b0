using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.Loader;
using Graph.Generator.Emit;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Runtime;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>
/// Kernels of the cpu target, printed, compiled and run, against the same loop IR in fp64. Widths that are no whole number of vectors are what models of round
/// sizes never show.
/// </summary>
public sealed unsafe class EmitCpuTests
{
    const int Rows = 3;

    static CpuKernelEntry Load(KernelBody body)
    {
        var source = EmitCpu.Run([new Kernel("k", body, default, FusedOps.None, 1, default)]);
        using var image = new MemoryStream();
        var emitted = Project.Of(Project.Tree("public static class Emitted\n{\n" + source + "}\n")).Emit(image, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(emitted.Success, string.Join("\n", emitted.Diagnostics) + source);
        image.Position = 0;
        var kernels = (IReadOnlyDictionary<string, CpuKernelEntry>)new AssemblyLoadContext(null).LoadFromStream(image)
            .GetType("Emitted")!.GetMethod("Kernels")!.Invoke(null, null)!;
        return kernels["k"];
    }

    static float[] Random(int seed, int count) => new Random(seed) is var r ? [.. Enumerable.Range(0, count).Select(_ => (float)(r.NextDouble() * 2 - 1))] : [];

    [Theory]
    [InlineData(1), InlineData(7), InlineData(8), InlineData(37), InlineData(64)]
    public void RowKernel_AnyWidth_IsTheLoopIrInFp64(int columns)
    {
        // Two sums, the second of values that need the first; tanh, exp, negation, division and both kinds of constants.
        var (x, w, p, a, e, sum, r, y) = (Expr.Var("x"), Expr.Var("w"), Expr.Var("p"), Expr.Var("alpha"), Expr.Var("e"), Expr.Var("sum"), Expr.Var("r"), Expr.Var("y"));
        var body = new RowBody(columns,
            new RowOutput[] { new("y", false), new("r", true), new("z", false) },
            new RowInput[] { new("x", RowInputKind.Matrix), new("w", RowInputKind.Vector), new("p", RowInputKind.PerRow),
                new("alpha", RowInputKind.Scalar), new("e", RowInputKind.Gather) },
            new RowStatement[]
            {
                new RowStatement.Reduce("sum", x * x),
                new RowStatement.LetRow("r", Expr.Apply(UnaryKind.Rsqrt, sum * new Expr.Number(1.0 / columns) + new Expr.Number(0.01))),
                new RowStatement.StoreRow("r"),
                new RowStatement.Let("y", Expr.Apply(UnaryKind.Tanh, x * r) * w - e / new Expr.TypedNumber(1.25), ""),
                new RowStatement.Store("y"),
                // 1 past the end of a row, where a vector still has lanes: they must not be summed.
                new RowStatement.Reduce("total", Expr.Apply(UnaryKind.Exp, y * a)),
                new RowStatement.Let("z", -(y + p) / Expr.Var("total"), ""),
                new RowStatement.Store("z"),
            });
        int[] ids = [2, 0, 2];
        float[] X = Random(1, Rows * columns), W = Random(2, columns), P = Random(3, Rows), A = [0.7f], table = Random(4, 3 * columns);
        float[] Y = new float[Rows * columns + 1], R = new float[Rows + 1], Z = new float[Rows * columns + 1];
        fixed (float* px = X, pw = W, pp = P, pa = A, pt = table, py = Y, pr = R, pz = Z)
        fixed (int* pi = ids)
            Load(body).Run([new((nint)py, columns), new((nint)pr, 0), new((nint)pz, columns),
                new((nint)px, columns), new((nint)pw, 0), new((nint)pp, 0), new((nint)pa, 0), new((nint)pi, 0), new((nint)pt, columns)], Rows);

        for (var row = 0; row < Rows; row++)
        {
            double mean = Enumerable.Range(0, columns).Average(c => (double)X[row * columns + c] * X[row * columns + c]), rsqrt = 1 / Math.Sqrt(mean + 0.01);
            var y64 = Enumerable.Range(0, columns).Select(c => Math.Tanh(X[row * columns + c] * rsqrt) * W[c] - table[ids[row] * columns + c] / 1.25).ToArray();
            var total = y64.Sum(v => Math.Exp(v * A[0]));
            Assert.Equal(rsqrt, R[row], 1e-6 * rsqrt);
            for (var c = 0; c < columns; c++)
            {
                Assert.Equal(y64[c], Y[row * columns + c], 1e-6);
                Assert.Equal(-(y64[c] + P[row]) / total, Z[row * columns + c], 1e-6);
            }
        }
        Assert.Equal((0, 0, 0), (Y[^1], R[^1], Z[^1]));
    }

    [Fact]
    public void Attention_ScoreWithDistanceAndHead_IsTheFunction()
    {
        const int T = 21, N = 2, D = 5;
        var score = new ScoreFunction(Expr.Var("s") * new Expr.Number(0.5) - Expr.Var("distance") * new Expr.Number(0.125) * (Expr.Var("head") + Expr.One), 0);
        float[] q = Random(1, T * N * D), k = Random(2, T * D), v = Random(3, T * D), o = new float[T * N * D], lse = new float[T * N];
        var start = new int[T];
        fixed (float* pq = q, pk = k, pv = v, po = o, pl = lse)
        fixed (int* ps = start)
            Load(new AttentionBody(AttentionPart.Forward, score, N, 1, D))
                .Run([new((nint)po, N * D), new((nint)pl, N), new((nint)pq, N * D), new((nint)pk, D), new((nint)pv, D), new((nint)ps, 0)], T);
        for (var t = 0; t < T; t++)
            for (var n = 0; n < N; n++)
            {
                var e = Enumerable.Range(0, t + 1)
                    .Select(j => Math.Exp(0.5 * Enumerable.Range(0, D).Sum(d => (double)q[(t * N + n) * D + d] * k[j * D + d]) - 0.125 * (t - j) * (n + 1))).ToArray();
                Assert.Equal(Math.Log(e.Sum()), lse[t * N + n], 1e-5);
                for (var d = 0; d < D; d++) Assert.Equal(e.Select((p, j) => p * v[j * D + d]).Sum() / e.Sum(), o[(t * N + n) * D + d], 1e-5);
            }
    }
}
