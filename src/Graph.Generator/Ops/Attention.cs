using System;
using System.Collections.Generic;
using System.Globalization;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>
/// What attention computes of a raw dot product s = q·k: score(s, distance, head), traced from the user's lambda with the scale folded in, as an expression of the variables "s",
/// "distance" (q − k in tokens, at least 0 where k is visible) and "head" (the query head's index).
/// Window 0: every earlier token of the document; W: the last W tokens, the query itself included.
/// </summary>
public sealed record ScoreFunction(Expr Value, int Window)
{
    /// <summary>d(score)/ds; distance and head are constants of a pair.</summary>
    public Expr Derivative => Value.Derivative("s");

    /// <summary>An expression of the three variables at one pair, in fp64.</summary>
    public static double At(Expr e, double s, int distance, int head) =>
        e.Evaluate(name => name switch { "s" => s, "distance" => distance, "head" => head,
            _ => throw new InvalidOperationException("attention: the score function has no variable " + name) });

    /// <summary>
    /// True when interval analysis proves |score| ≤ 50 for any s, distance and head: then exp(score) stays within 2^±73, and fp32 sums and bf16 probabilities
    /// need no row maximum.
    /// </summary>
    public bool IsBounded => Value.Bound() is <= 50;

    public string Attributes => "score=" + ExprText.Print(Value) + (Window > 0 ? " window=" + Window.ToString(CultureInfo.InvariantCulture) : "");
}

/// <summary>
/// o[t,n] = Σk p·v[k, n/(N/K)] with p = softmax over visible k of score(q[t,n]·k[k, n/(N/K)], t − k, n): q act[T,N,D], k and v act[T,K,D] → act[T,N,D]. Scores,
/// softmax and sums in fp32; k is visible when it is in t's document, not after t, and t − k &lt; window. Lowering: the tiled attention template with the score
/// as a hole.
/// Source: transformers, modeling_gemma2.py, eager_attention_forward.
/// </summary>
public sealed record Attention(ScoreFunction Score) : Op("attention")
{
    /// <summary>Null when the CUDA kernels have this head dim, else the sentence that says which ones they have.</summary>
    public static string? HeadDimError(int headDim) => headDim is >= 16 and <= 256 && headDim % (headDim <= 96 ? 16 : 32) == 0 ? null
        : "attention: the head dim is " + headDim.ToString(CultureInfo.InvariantCulture) + "; it must be a multiple of 16 up to 96, or of 32 up to 256";

    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 3);
        var (q, k, v) = (inputs[0], inputs[1], inputs[2]);
        if (q.Rank != 3 || k.Rank != 3 || v.Rank != 3) throw Error("q is " + q + ", k is " + k + ", v is " + v + "; each must be [T,N,D] (SplitHeads first)");
        if (!q.Shape[2].Equals(k.Shape[2]) || !k.Shape.Equals(v.Shape))
            throw Error("q is " + q + ", k is " + k + ", v is " + v + "; head dims must match, and k and v have one shape");
        if (q.Shape[1].Size % k.Shape[1].Size != 0) throw Error("q is " + q + " but k is " + k + "; the query heads must be a multiple of the key heads");
        return q;
    }

    public override int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed)
    {
        var (q, k, v) = (y.Inputs[0], y.Inputs[1], y.Inputs[2]);
        var lse = g.Named("lse", new AttentionLse(Score), q, k, v);
        var delta = g.Named("delta", new AttentionDelta(), y.Id, dy);
        var result = new int?[3];
        // dq last: it can start from the dS that dk's kernel has (Templates/score_gradients.cu).
        foreach (var i in new[] { 1, 2, 0 })
            if (needed[i]) result[i] = g.Add(new AttentionGrad(Score, i), q, k, v, dy, lse, delta);
        return result;
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var o = new double[inputs[0].Length];
        var dim = types[0].Shape[2].Size;
        foreach (var row in AttentionLoops.Rows(Score, sizes, types, inputs))
            foreach (var (k, _, p) in row.Pairs)
                for (var d = 0; d < dim; d++) o[row.Query + d] += p * inputs[2][k + d];
        return o;
    }

    public override string Attributes => Score.Attributes;
}

/// <summary>lse[t,n] = log2 Σ over visible k of 2^(score·log2 e), f32[T,N]: what the backward needs to rebuild probabilities. Written by the forward kernel.</summary>
public sealed record AttentionLse(ScoreFunction Score) : Op("attention_lse")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        var q = new Attention(Score).Infer(inputs);
        return TensorType.F32(q.Shape[0], q.Shape[1]);
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (heads, dim) = (types[0].Shape[1].Size, types[0].Shape[2].Size);
        var lse = new double[sizes.Tokens * heads];
        foreach (var row in AttentionLoops.Rows(Score, sizes, types, inputs)) lse[row.Query / dim] = row.LogSum / Math.Log(2);
        return lse;
    }

    public override string Attributes => Score.Attributes;
}

/// <summary>delta[t,n] = Σd do[t,n,d]·o[t,n,d] in fp32: f32[T,N].</summary>
public sealed record AttentionDelta() : Op("attention_delta")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 2);
        return TensorType.F32(inputs[0].Shape[0], inputs[0].Shape[1]);
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var dim = types[0].Shape[2].Size;
        var delta = new double[inputs[0].Length / dim];
        for (var i = 0; i < inputs[0].Length; i++) delta[i / dim] += inputs[0][i] * inputs[1][i];
        return delta;
    }
}

/// <summary>
/// Gradient of q (0), k (1) or v (2): inputs q, k, v, do, lse, delta. With p = 2^(score·log2 e − lse): dv =
/// pᵀ·do, ds = p·(do·vᵀ − delta)·score′, dq = ds·k, dk = dsᵀ·q. fp32 accumulation.
/// </summary>
public sealed record AttentionGrad(ScoreFunction Score, int Of) : Op("attention_grad_" + "qkv"[Of])
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs)
    {
        Expect(inputs, 6);
        return inputs[Of];
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (qs, ks, vs, dos) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        var dim = types[0].Shape[2].Size;
        var result = new double[inputs[Of].Length];
        var slope = Score.Derivative;
        foreach (var row in AttentionLoops.Rows(Score, sizes, types, inputs))
            foreach (var (k, distance, p) in row.Pairs)
            {
                var q = row.Query;
                double s = 0, dp = 0;
                for (var d = 0; d < dim; d++)
                {
                    s += qs[q + d] * ks[k + d];
                    dp += dos[q + d] * vs[k + d];
                }
                var ds = p * (dp - inputs[5][q / dim]) * ScoreFunction.At(slope, s, distance, row.Head);
                for (var d = 0; d < dim; d++)
                {
                    if (Of == 0) result[q + d] += ds * ks[k + d];
                    else if (Of == 1) result[k + d] += ds * qs[q + d];
                    else result[k + d] += p * dos[q + d];
                }
            }
        return result;
    }

    public override string Attributes => Score.Attributes;
}

/// <summary>One query of one head: its offset, its visible keys' offsets, distances and probabilities, and the log of their exponential sum.</summary>
sealed record AttentionRow(int Query, int Head, (int Key, int Distance, double P)[] Pairs, double LogSum);

static class AttentionLoops
{
    /// <summary>Softmax in plain fp64 loops, one row per token and head.</summary>
    public static IEnumerable<AttentionRow> Rows(ScoreFunction score, ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs)
    {
        var (heads, kvHeads, dim) = (types[0].Shape[1].Size, types[1].Shape[1].Size, types[0].Shape[2].Size);
        for (var t = 0; t < sizes.Tokens; t++)
        {
            var first = Math.Max(sizes.DocStart[t], score.Window > 0 ? t - score.Window + 1 : 0);
            for (var n = 0; n < heads; n++)
            {
                var q = (t * heads + n) * dim;
                var pairs = new (int Key, int Distance, double P)[t - first + 1];
                double max = double.NegativeInfinity, sum = 0;
                for (var j = 0; j < pairs.Length; j++)
                {
                    var key = ((first + j) * kvHeads + n / (heads / kvHeads)) * dim;
                    double s = 0;
                    for (var d = 0; d < dim; d++) s += inputs[0][q + d] * inputs[1][key + d];
                    pairs[j] = (key, t - first - j, ScoreFunction.At(score.Value, s, t - first - j, n));
                    max = Math.Max(max, pairs[j].P);
                }
                for (var j = 0; j < pairs.Length; j++) sum += pairs[j].P = Math.Exp(pairs[j].P - max);
                for (var j = 0; j < pairs.Length; j++) pairs[j].P /= sum;
                yield return new AttentionRow(q, n, pairs, max + Math.Log(sum));
            }
        }
    }
}
