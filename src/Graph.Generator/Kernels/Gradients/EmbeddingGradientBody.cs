using System;
using System.Collections.Generic;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Rows of a gradient added to the rows of a table's gradient that ids name, in the order of the tokens.</summary>
public sealed record EmbeddingGradientBody(int Columns) : KernelBody
{
    public override KernelKind Kind => KernelKind.EmbeddingGradient;

    internal override IEnumerable<Expr> Expressions => Array.Empty<Expr>();

    internal override IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel)
    {
        const int threads = 256;
        yield return new EmittedKernel(new KernelInfo(kernel.Name, Kind, threads, 0, 1, 0, 1), new[]
        {
            CudaText.Header(Sentence, target, kernel) + CudaText.Elem(target) + CudaText.Named(kernel.Name, ("COLUMNS", Columns), ("THREADS", threads)), "@prelude.cu",
            "@embedding_gradient.cu",
        });
    }

    internal override CpuKernel Cpu(Kernel kernel) => new("static (a, rows) => Graph.Runtime.Cpu.CpuGradients.Embedding(a, rows, " + NumberText.Int(Columns) + ")", false, "");

    string Sentence => "Gradient of a table's rows of " + FusedOps.Number(Columns) + " columns that ids chose: a token's " + FusedOps.Number(2 * Columns) + " bytes are read once, "
        + "and the sum of all tokens of an id is added to its row once, in their order and without atomics.";
}
