using System;
using System.Collections.Generic;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

public enum AttentionPart { Forward, Delta, Dq, Dkdv }

/// <summary>One of attention's kernels. Score: null for delta, which has none.</summary>
public sealed record AttentionBody(AttentionPart Part, ScoreFunction? Score, int Heads, int KvHeads, int HeadDim) : KernelBody
{
    public override KernelKind Kind => Part switch
    {
        AttentionPart.Forward => KernelKind.AttentionForward,
        AttentionPart.Delta => KernelKind.AttentionDelta,
        AttentionPart.Dq => KernelKind.AttentionDq,
        AttentionPart.Dkdv => KernelKind.AttentionDkdv,
        _ => throw new InvalidOperationException("attention: unknown part " + Part),
    };

    /// <summary>A product over all attended pairs and the query heads' width costs 2·pairs·N·D: s and o; s, dP and dq; s, dP, dk and dv.</summary>
    public override AttentionFacts Attention => new(Heads, KvHeads, HeadDim, Score is { Window: > 0 and var window } ? window : null, Part switch
    {
        AttentionPart.Forward => 2,
        AttentionPart.Delta => 0,
        AttentionPart.Dq => 3,
        AttentionPart.Dkdv => 4,
        _ => throw new InvalidOperationException("attention: unknown part " + Part),
    });

    /// <summary>Query heads per kv head.</summary>
    internal int Group => Heads / KvHeads;

    internal override IEnumerable<Expr> Expressions => Score is { } score ? new[] { score.Value } : Array.Empty<Expr>();

    internal override IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel) => AttentionText.Kernels(target, kernel, this);

    internal override CpuKernel Cpu(Kernel kernel)
    {
        string Call(string method, params int[] numbers) =>
            "static (a, rows) => Graph.Runtime.Cpu.CpuAttention." + method + "(a, rows" + string.Concat(Array.ConvertAll(numbers, n => ", " + NumberText.Int(n))) + ")";
        if (Score is null) return new CpuKernel(Call("Delta", Heads, HeadDim), true, "");
        var name = Part switch
        {
            AttentionPart.Forward => "Forward",
            AttentionPart.Dq => "GradQ",
            AttentionPart.Dkdv => "GradKV",
            _ => throw new InvalidOperationException("attention: " + Part + " has no score"),
        };
        return new CpuKernel(Call(name + "<" + CpuFunction.Name(kernel) + ">", Heads, KvHeads, HeadDim, Score.Window), false, CpuFunction.Print(kernel.Name, Score.Value));
    }

    /// <summary>The kernel of dq that starts from the dS which the kernel of dk and dv kept.</summary>
    public static string FromDs(Kernel dq) => dq.Name + "_from_ds";
}
