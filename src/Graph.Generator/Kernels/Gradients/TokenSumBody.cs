using System;
using System.Collections.Generic;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Sums over tokens, and over heads that share the vector: the gradient of a weight [Columns] that every row is computed with. Added to what is there.</summary>
public sealed record TokenSumBody(int Columns, int Heads) : KernelBody
{
    public override KernelKind Kind => KernelKind.TokenSum;

    internal override IEnumerable<Expr> Expressions => Array.Empty<Expr>();

    internal override IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel)
    {
        // Narrow blocks, so that many multiprocessors have some, and as many threads as a block may have, so that each has enough on its way; a row's 64 bytes are two sectors.
        const int width = 32, lines = 256;
        yield return new EmittedKernel(new KernelInfo(kernel.Name, Kind, lines * width / 8, 0, int.MaxValue, 0, (Columns + width - 1) / width), new[]
        {
            CudaText.Header(Sentence, target, kernel) + CudaText.Elem(target)
                + CudaText.Named(kernel.Name, ("COLUMNS", Columns), ("HEADS", Heads), ("WIDTH", width), ("LINES", lines)),
            "@prelude.cu", "@token_sum.cu",
        });
    }

    internal override CpuKernel Cpu(Kernel kernel) =>
        new("static (a, rows) => Graph.Runtime.Cpu.CpuGradients.TokenSum(a, rows, " + NumberText.Int(Columns) + ", " + NumberText.Int(Heads) + ")", false, "");

    string Sentence => "Sums of " + FusedOps.Number(Columns) + " columns over all tokens" + (Heads > 1 ? " and " + FusedOps.Count(Heads, "head") : "") + ", the gradient of a vector that they share: "
        + FusedOps.Number(2 * Columns * Heads) + " bytes a token, read once and added up in fp32 in a fixed order.";
}
