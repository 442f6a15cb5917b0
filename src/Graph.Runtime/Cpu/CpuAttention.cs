using System;
using System.Buffers;
using System.Threading.Tasks;

namespace Graph.Runtime.Cpu;

/// <summary>
/// Causal attention in fp32 over packed documents, one query row at a time: k is visible to q when doc_start[q] ≤ k ≤ q and q − k &lt; window (window 0: no bound).
/// Arguments are in the order of docs/architecture.md. Threads take (head, 64 rows) pieces; each output row is one thread's sum in order.
/// </summary>
public static unsafe class CpuAttention
{
    const int Piece = 64;

    /// <summary>o = softmax(score(q·k))·v, lse[t,n] natural. Arguments: o, lse, q, k, v, doc_start.</summary>
    public static void Forward<TScore>(ReadOnlySpan<CpuView> args, int rows, int heads, int kvHeads, int headDim, int window) where TScore : IScore
    {
        var a = args.ToArray();
        ForPieces(rows, heads, (head, first, last) =>
        {
            var column = head * headDim;
            var kvColumn = head / (heads / kvHeads) * headDim;
            var buffer = ArrayPool<float>.Shared.Rent(rows);
            fixed (float* z = buffer)
                for (var t = first; t < last; t++)
                {
                    var low = Low(a[5], t, window);
                    var most = float.NegativeInfinity;
                    for (var k = low; k <= t; k++)
                    {
                        z[k - low] = TScore.Value(CpuVector.Dot(a[2].Row(t) + column, a[3].Row(k) + kvColumn, headDim));
                        most = MathF.Max(most, z[k - low]);
                    }
                    double sum = 0;
                    for (var k = low; k <= t; k++) sum += z[k - low] = MathF.Exp(z[k - low] - most);
                    var o = a[0].Row(t) + column;
                    CpuVector.Clear(o, headDim);
                    for (var k = low; k <= t; k++) CpuVector.Add(o, (float)(z[k - low] / sum), a[4].Row(k) + kvColumn, headDim);
                    a[1].Row(t)[head] = most + (float)Math.Log(sum);
                }
            ArrayPool<float>.Shared.Return(buffer);
        });
    }

    /// <summary>delta[t,n] = Σd do·o. Arguments: delta, o, do.</summary>
    public static void Delta(ReadOnlySpan<CpuView> args, int rows, int heads, int headDim)
    {
        for (var t = 0; t < rows; t++)
            for (var head = 0; head < heads; head++) args[0].Row(t)[head] = CpuVector.Dot(args[1].Row(t) + head * headDim, args[2].Row(t) + head * headDim, headDim);
    }

    /// <summary>dq = Σk P·(do·v − delta)·score'·k. Arguments: dq, q, k, v, do, lse, delta, doc_start.</summary>
    public static void GradQ<TScore>(ReadOnlySpan<CpuView> args, int rows, int heads, int kvHeads, int headDim, int window) where TScore : IScore
    {
        var a = args.ToArray();
        ForPieces(rows, heads, (head, first, last) =>
        {
            var column = head * headDim;
            var kvColumn = head / (heads / kvHeads) * headDim;
            for (var t = first; t < last; t++)
            {
                var dq = a[0].Row(t) + column;
                CpuVector.Clear(dq, headDim);
                for (var k = Low(a[7], t, window); k <= t; k++)
                {
                    TScore.ValueAndDerivative(CpuVector.Dot(a[1].Row(t) + column, a[2].Row(k) + kvColumn, headDim), out var z, out var dz);
                    var p = MathF.Exp(z - a[5].Row(t)[head]);
                    var dp = CpuVector.Dot(a[4].Row(t) + column, a[3].Row(k) + kvColumn, headDim);
                    CpuVector.Add(dq, p * (dp - a[6].Row(t)[head]) * dz, a[2].Row(k) + kvColumn, headDim);
                }
            }
        });
    }

    /// <summary>dv = Σq P·do and dk = Σq P·(do·v − delta)·score'·q over the query heads of a kv head. Arguments: dk, dv, q, k, v, do, lse, delta, doc_start, doc_end.</summary>
    public static void GradKV<TScore>(ReadOnlySpan<CpuView> args, int rows, int heads, int kvHeads, int headDim, int window) where TScore : IScore
    {
        var a = args.ToArray();
        var perGroup = heads / kvHeads;
        ForPieces(rows, kvHeads, (kvHead, first, last) =>
        {
            var kvColumn = kvHead * headDim;
            for (var k = first; k < last; k++)
            {
                float* dk = a[0].Row(k) + kvColumn, dv = a[1].Row(k) + kvColumn;
                CpuVector.Clear(dk, headDim);
                CpuVector.Clear(dv, headDim);
                var end = Math.Min(rows, a[9].Ints[k]);
                if (window > 0) end = (int)Math.Min(end, (long)k + window);
                for (var head = kvHead * perGroup; head < (kvHead + 1) * perGroup; head++)
                    for (var t = k; t < end; t++)
                    {
                        var column = head * headDim;
                        TScore.ValueAndDerivative(CpuVector.Dot(a[2].Row(t) + column, a[3].Row(k) + kvColumn, headDim), out var z, out var dz);
                        var p = MathF.Exp(z - a[6].Row(t)[head]);
                        var dp = CpuVector.Dot(a[5].Row(t) + column, a[4].Row(k) + kvColumn, headDim);
                        CpuVector.Add(dv, p, a[5].Row(t) + column, headDim);
                        CpuVector.Add(dk, p * (dp - a[7].Row(t)[head]) * dz, a[2].Row(t) + column, headDim);
                    }
            }
        });
    }

    static int Low(CpuView docStart, int t, int window) => window > 0 ? Math.Max(docStart.Ints[t], t - window + 1) : docStart.Ints[t];

    static void ForPieces(int rows, int heads, Action<int, int, int> body)
    {
        var pieces = (rows + Piece - 1) / Piece;
        Parallel.For(0, pieces * heads, i => body(i / pieces, i % pieces * Piece, Math.Min(rows, (i % pieces + 1) * Piece)));
    }
}
