using System;
using System.Buffers;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Threading.Tasks;

namespace Graph.Runtime.Cpu;

/// <summary>
/// Causal attention in fp32 over packed documents: k is visible to q when doc_start[q] ≤ k ≤ q and q − k &lt; window (window 0: no bound).
/// Arguments are in the order of docs/architecture.md.
/// A panel of 2 vectors of tokens (queries, for dk and dv keys) lies in the lanes and meets all tokens that one of them sees, so that softmax works on whole vectors
/// and sums of a token stay in its lane.
/// Threads share pieces of 64 tokens of one head; a panel is one thread's work in order, so the thread count never changes a bit.
/// </summary>
public static unsafe class CpuAttention
{
    const int Piece = 64;

    /// <summary>o = softmax(score(q·k))·v, lse[t,n] natural. Arguments: o, lse, q, k, v, doc_start.</summary>
    public static void Forward<TScore>(ReadOnlySpan<CpuView> args, int rows, int heads, int kvHeads, int headDim, int window) where TScore : IScore
    {
        var a = args.ToArray();
        ForPanels(rows, heads, (head, t, lanes) =>
        {
            int column = head * headDim, kvColumn = head / (heads / kvHeads) * headDim, low = Low(a[5], t, lanes, window), count = t + lanes - low;
            var panel = new Pairs(headDim, count, 1);
            fixed (float* memory = panel.Memory)
            {
                float* q = panel.Tokens(memory, 0), z = panel.Products(memory, 0), most = stackalloc float[CpuTile.Panel];
                Span<double> sums = stackalloc double[CpuTile.Panel];
                CpuTile.Pack(q, a[2].Row(t) + column, 1, a[2].Pitch, lanes, headDim);
                CpuTile.Multiply(z, CpuTile.Panel, a[3].Row(low) + kvColumn, a[3].Pitch, 1, q, CpuTile.Panel, count, CpuTile.Panel, headDim, 1, false);
                for (var lane = 0; lane < CpuTile.Panel; lane += Vector<float>.Count)
                    Softmax<TScore>(z + lane, most + lane, sums[lane..], Reach(a[5], t, lanes, lane, window), t + lane, low, count, head);
                Spread(a[0].Row(t) + column, a[0].Pitch, z, a[4].Row(low) + kvColumn, a[4].Pitch, lanes, count, headDim, false, panel.Edge(memory));
                for (var i = 0; i < lanes; i++)
                {
                    a[1].Row(t + i)[head] = most[i] + (float)Math.Log(sums[i]);
                    CpuVector.Scale(a[0].Row(t + i) + column, (float)(1 / sums[i]), headDim);
                }
            }
            panel.Return();
        });
    }

    // z = exp(score(z) − most) for one vector of queries, 0 where a key is not visible; the largest score and the sum of every lane.
    static void Softmax<TScore>(float* z, float* most, Span<double> sums, Vector<float> reach, int query, int low, int count, float head) where TScore : IScore
    {
        var largest = new Vector<float>(float.NegativeInfinity);
        var distance = Vector<float>.Indices + new Vector<float>(query - low);
        var p = z;
        for (var k = 0; k < count; k++, p += CpuTile.Panel, distance -= Vector<float>.One)
        {
            var value = Vector.ConditionalSelect(Visible(distance, reach), TScore.Value(Vector.Load(p), distance, head), new Vector<float>(float.NegativeInfinity));
            value.Store(p);
            largest = Vector.Max(largest, value);
        }
        // A lane without a token sees nothing: -∞ less -∞ would be NaN.
        var shift = Vector.ConditionalSelect(Vector.Equals(largest, new Vector<float>(float.NegativeInfinity)), Vector<float>.Zero, largest);
        var sum = new VectorSum();
        p = z;
        for (var k = 0; k < count; k++, p += CpuTile.Panel)
        {
            var e = CpuMath.Exp(Vector.Load(p) - shift);
            e.Store(p);
            sum.Add(e);
        }
        largest.Store(most);
        sum.Lanes(sums);
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
        ForPanels(rows, heads, (head, t, lanes) =>
        {
            int column = head * headDim, kvColumn = head / (heads / kvHeads) * headDim, low = Low(a[7], t, lanes, window), count = t + lanes - low;
            var panel = new Pairs(headDim, count, 2);
            fixed (float* memory = panel.Memory)
            {
                float* q = panel.Tokens(memory, 0), d = panel.Tokens(memory, 1), s = panel.Products(memory, 0), dp = panel.Products(memory, 1);
                float* lse = stackalloc float[CpuTile.Panel], delta = stackalloc float[CpuTile.Panel];
                CpuTile.Pack(q, a[1].Row(t) + column, 1, a[1].Pitch, lanes, headDim);
                CpuTile.Pack(d, a[4].Row(t) + column, 1, a[4].Pitch, lanes, headDim);
                CpuTile.Pack(lse, a[5].Row(t) + head, 1, a[5].Pitch, lanes, 1);
                CpuTile.Pack(delta, a[6].Row(t) + head, 1, a[6].Pitch, lanes, 1);
                CpuTile.Multiply(s, CpuTile.Panel, a[2].Row(low) + kvColumn, a[2].Pitch, 1, q, CpuTile.Panel, count, CpuTile.Panel, headDim, 1, false);
                CpuTile.Multiply(dp, CpuTile.Panel, a[3].Row(low) + kvColumn, a[3].Pitch, 1, d, CpuTile.Panel, count, CpuTile.Panel, headDim, 1, false);
                for (var lane = 0; lane < CpuTile.Panel; lane += Vector<float>.Count)
                {
                    var distance = Vector<float>.Indices + new Vector<float>(t + lane - low);
                    var reach = Reach(a[7], t, lanes, lane, window);
                    for (var i = lane; i < count * CpuTile.Panel; i += CpuTile.Panel, distance -= Vector<float>.One)
                        Gradient<TScore>(s + i, dp + i, distance, reach, head, Vector.Load(lse + lane), Vector.Load(delta + lane)).Ds.Store(s + i);
                }
                Spread(a[0].Row(t) + column, a[0].Pitch, s, a[2].Row(low) + kvColumn, a[2].Pitch, lanes, count, headDim, false, panel.Edge(memory));
            }
            panel.Return();
        });
    }

    /// <summary>dv = Σq P·do and dk = Σq P·(do·v − delta)·score'·q over the query heads of a kv head. Arguments: dk, dv, q, k, v, do, lse, delta, doc_start, doc_end.</summary>
    public static void GradKV<TScore>(ReadOnlySpan<CpuView> args, int rows, int heads, int kvHeads, int headDim, int window) where TScore : IScore
    {
        var a = args.ToArray();
        var perGroup = heads / kvHeads;
        ForPanels(rows, kvHeads, (kvHead, t, lanes) =>
        {
            int kvColumn = kvHead * headDim, end = End(a[9], t, lanes, window, rows), count = end - t;
            var panel = new Pairs(headDim, count, 2);
            fixed (float* memory = panel.Memory)
            {
                float* k = panel.Tokens(memory, 0), v = panel.Tokens(memory, 1), s = panel.Products(memory, 0), dp = panel.Products(memory, 1);
                CpuTile.Pack(k, a[3].Row(t) + kvColumn, 1, a[3].Pitch, lanes, headDim);
                CpuTile.Pack(v, a[4].Row(t) + kvColumn, 1, a[4].Pitch, lanes, headDim);
                for (var head = kvHead * perGroup; head < (kvHead + 1) * perGroup; head++)
                {
                    var column = head * headDim;
                    CpuTile.Multiply(s, CpuTile.Panel, a[2].Row(t) + column, a[2].Pitch, 1, k, CpuTile.Panel, count, CpuTile.Panel, headDim, 1, false);
                    CpuTile.Multiply(dp, CpuTile.Panel, a[5].Row(t) + column, a[5].Pitch, 1, v, CpuTile.Panel, count, CpuTile.Panel, headDim, 1, false);
                    for (var lane = 0; lane < CpuTile.Panel; lane += Vector<float>.Count)
                    {
                        // Query t against keys t + lane, t + lane + 1, …
                        var distance = -Vector<float>.Indices - new Vector<float>(lane);
                        var reach = ReachOfKeys(a[9], t, lanes, lane, window, rows);
                        for (var q = 0; q < count; q++, distance += Vector<float>.One)
                        {
                            float* ps = s + q * CpuTile.Panel + lane, pd = dp + q * CpuTile.Panel + lane;
                            var (p, ds) = Gradient<TScore>(ps, pd, distance, reach, head, new Vector<float>(a[6].Row(t + q)[head]), new Vector<float>(a[7].Row(t + q)[head]));
                            p.Store(ps);
                            ds.Store(pd);
                        }
                    }
                    var more = head > kvHead * perGroup;
                    Spread(a[0].Row(t) + kvColumn, a[0].Pitch, dp, a[2].Row(t) + column, a[2].Pitch, lanes, count, headDim, more, panel.Edge(memory));
                    Spread(a[1].Row(t) + kvColumn, a[1].Pitch, s, a[5].Row(t) + column, a[5].Pitch, lanes, count, headDim, more, panel.Edge(memory));
                }
            }
            panel.Return();
        });
    }

    // P = exp(score − lse) and dS = P · (dP − delta) · score', 0 where the pair is not visible.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static (Vector<float> P, Vector<float> Ds) Gradient<TScore>(float* s, float* dp, Vector<float> distance, Vector<float> reach, float head, Vector<float> lse,
        Vector<float> delta)
        where TScore : IScore
    {
        TScore.ValueAndDerivative(Vector.Load(s), distance, head, out var z, out var dz);
        var visible = Visible(distance, reach);
        var p = CpuMath.Exp(z - lse);
        return (Vector.ConditionalSelect(visible, p, Vector<float>.Zero), Vector.ConditionalSelect(visible, p * (Vector.Load(dp) - delta) * dz, Vector<float>.Zero));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector<float> Visible(Vector<float> distance, Vector<float> reach) =>
        Vector.AsVectorSingle(Vector.GreaterThanOrEqual(distance, Vector<float>.Zero) & Vector.LessThanOrEqual(distance, reach));

    // C[lane, :] = or += Σ S[i, lane] · X[i, :] over `count` tokens.
    static void Spread(float* c, nint cPitch, float* s, float* x, nint xPitch, int lanes, int count, int headDim, bool accumulate, float* edge)
    {
        for (var d = 0; d < headDim; d += CpuTile.Panel)
        {
            var (columns, b, pitch) = (Math.Min(CpuTile.Panel, headDim - d), (nint)(x + d), xPitch);
            if (columns < CpuTile.Panel)
            {
                // Part of a panel: what lies behind the head may not be memory of ours.
                CpuTile.Pack(edge, x + d, xPitch, 1, columns, count);
                (b, pitch) = ((nint)edge, CpuTile.Panel);
            }
            CpuTile.Multiply(c + d, cPitch, s, 1, CpuTile.Panel, (float*)b, pitch, lanes, columns, count, 1, accumulate);
        }
    }

    // The first key that a query sees, and that any of a panel's queries sees.
    static int Low(CpuView docStart, int t, int window) => window > 0 ? Math.Max(docStart.Ints[t], t - window + 1) : docStart.Ints[t];

    static int Low(CpuView docStart, int t, int lanes, int window)
    {
        var low = t;
        for (var i = 0; i < lanes; i++) low = Math.Min(low, Low(docStart, t + i, window));
        return low;
    }

    // One past the last query that sees a key, and that sees any of a panel's keys.
    static int End(CpuView docEnd, int t, int window, int rows) => window > 0 ? (int)Math.Min(Math.Min(rows, docEnd.Ints[t]), (long)t + window) : Math.Min(rows, docEnd.Ints[t]);

    static int End(CpuView docEnd, int t, int lanes, int window, int rows)
    {
        var end = t;
        for (var i = 0; i < lanes; i++) end = Math.Max(end, End(docEnd, t + i, window, rows));
        return end;
    }

    // The largest distance at which each lane's query still sees a key; -1 where there is no token.
    static Vector<float> Reach(CpuView docStart, int t, int lanes, int lane, int window)
    {
        var reach = stackalloc float[Vector<float>.Count];
        for (var i = 0; i < Vector<float>.Count; i++) reach[i] = lane + i < lanes ? t + lane + i - Low(docStart, t + lane + i, window) : -1;
        return Vector.Load(reach);
    }

    static Vector<float> ReachOfKeys(CpuView docEnd, int t, int lanes, int lane, int window, int rows)
    {
        var reach = stackalloc float[Vector<float>.Count];
        for (var i = 0; i < Vector<float>.Count; i++) reach[i] = lane + i < lanes ? End(docEnd, t + lane + i, window, rows) - 1 - (t + lane + i) : -1;
        return Vector.Load(reach);
    }

    static void ForPanels(int rows, int heads, Action<int, int, int> body)
    {
        var pieces = (rows + Piece - 1) / Piece;
        Parallel.For(0, pieces * heads, i =>
        {
            var last = Math.Min(rows, (i % pieces + 1) * Piece);
            for (var t = i % pieces * Piece; t < last; t += CpuTile.Panel) body(i / pieces, t, Math.Min(CpuTile.Panel, last - t));
        });
    }

    // Scratch of a panel: its tokens' rows head-dim-major, products with `count` tokens, and room for a part of a panel of head dims.
    readonly struct Pairs(int headDim, int count, int tensors)
    {
        public float[] Memory { get; } = ArrayPool<float>.Shared.Rent(tensors * (headDim + count) * CpuTile.Panel + (headDim % CpuTile.Panel == 0 ? 0 : count * CpuTile.Panel));
        public float* Tokens(float* memory, int i) => memory + i * headDim * CpuTile.Panel;
        public float* Products(float* memory, int i) => memory + (tensors * headDim + i * count) * CpuTile.Panel;
        public float* Edge(float* memory) => memory + tensors * (headDim + count) * CpuTile.Panel;
        public void Return() => ArrayPool<float>.Shared.Return(Memory);
    }
}
