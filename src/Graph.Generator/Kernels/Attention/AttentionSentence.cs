using System;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>What attention's kernels do and why it pays, for their headers.</summary>
static class AttentionSentence
{
    public static string Of(Target target, AttentionBody body)
    {
        var (q, kv, heads) = (2 * body.Heads * body.HeadDim, 2 * body.KvHeads * body.HeadDim, 4 * body.Heads);
        const string again = "scores are computed again tile by tile and stay on the multiprocessor, without atomics; ";
        return body.Part switch
        {
            AttentionPart.Forward => "Scores, softmax and the sum over v of attention, " + Shape(body) + ", in one kernel: scores stay on the multiprocessor, "
                + "so nothing of T x T is stored, only " + Bytes(q + heads) + " of o and log-sum-exp a token.",
            AttentionPart.Delta => "Attention's delta, the sum of do * o over each of " + FusedOps.Count(body.Heads, "head") + " of " + FusedOps.Number(body.HeadDim)
                + ", once for dq, dk and dv, which all subtract it from dP: it reads " + Bytes(2 * q) + " a token and writes " + FusedOps.Number(heads) + ".",
            AttentionPart.Dq => "Gradient of attention to q, " + Shape(body) + ": " + again + Bytes(q) + " of dq a token are written once.",
            AttentionPart.Dkdv => "Gradients of attention to k and v, " + Shape(body) + ", in one kernel: " + again + Bytes(2 * kv) + " of dk and dv a token are written once"
                + (AttentionTiles.DqFromDs(target, body.HeadDim, body.Group) is null ? "."
                    : ", and dS, where there is memory for it, so that dq is one product instead of three."),
            _ => throw new InvalidOperationException("attention: unknown part " + body.Part),
        };
    }

    /// <summary>Of the kernel of dq that reads dS.</summary>
    public static string OfDqFromDs(AttentionBody body) => "Gradient of attention to q, " + Shape(body)
        + ", from the dS that the kernel of dk and dv kept: one product instead of three, for 2 bytes read for each pair of tokens and query head.";

    static string Shape(AttentionBody body) => FusedOps.Count(body.Heads, "query head") + " on " + FusedOps.Count(body.KvHeads, "kv head") + " of "
        + FusedOps.Number(body.HeadDim) + " columns" + (body.Score is { Window: > 0 and var window } ? ", window " + FusedOps.Number(window) : "");

    static string Bytes(int count) => FusedOps.Number(count) + " bytes";
}
