using System;
using System.Collections.Generic;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Loss and dlogits of rows of logits: z = logit(s), loss = log Σ exp z − z[label], in place.</summary>
public sealed record CrossEntropyBody(Expr Logit, int Vocab) : KernelBody
{
    /// <summary>Proven bound of the logits' magnitude, at most 60, so that sums of their exponentials stay inside fp32; 0: none.</summary>
    public int Bound => Logit.Bound() is { } bound and <= 60 ? (int)Math.Ceiling(bound) : 0;

    public override KernelKind Kind => KernelKind.CrossEntropy;

    internal override IEnumerable<Expr> Expressions => new[] { Logit };

    internal override IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel)
    {
        // Elements of a row that stay in shared memory between the two passes; 1 KB is left for the block's sums.
        const int threads = 1024;
        var cached = Math.Min(Vocab, (target.SharedKilobytes - 1) * 512) / 8 * 8;
        yield return new EmittedKernel(new KernelInfo(kernel.Name, Kind, threads, 2 * cached, 1, 0, 1), new[]
        {
            CudaText.Header(Sentence(cached), target, kernel)
                + CudaText.Elem(target) + CudaText.Named(kernel.Name, ("VOCAB", Vocab), ("THREADS", threads), ("BOUND", Bound), ("CACHED", cached)),
            "@prelude.cu", Functions(log2: false), "@cross_entropy.cu",
        });
    }

    /// <summary>
    /// What is left of a cross entropy when the product has summed the exponentials. 128 bytes a thread and two blocks of 512 a multiprocessor: all of it is in
    /// flight at once.
    /// </summary>
    internal EmittedKernel FromSums(Target target, Kernel kernel)
    {
        const int threads = 512, chunks = 8, minBlocks = 2;
        var (name, parts) = (FromSums(kernel), (Vocab / 8 + threads * chunks - 1) / (threads * chunks));
        return new EmittedKernel(new KernelInfo(name, KernelKind.CrossEntropyFromSums, threads, 0, 1, 0, parts), new[]
        {
            CudaText.Header(SentenceFromSums, target, kernel, name)
                + CudaText.Elem(target) + CudaText.Named(name, ("VOCAB", Vocab), ("THREADS", threads), ("PARTS", parts), ("THREAD_CHUNKS", chunks),
                    ("MIN_BLOCKS", minBlocks), ("SUMS", GemmKernel.RowSums(Vocab))),
            "@prelude.cu", Functions(log2: true, value: false), "@cross_entropy_from_sums.cu",
        });
    }

    string Sentence(int cached) => "Cross entropy of a row of " + FusedOps.Number(Vocab) + " logits and its gradient, which takes the logits' place: a row with a label "
        + "is read once" + (cached == Vocab ? "" : ", " + FusedOps.Number(2 * (Vocab - cached)) + " of its " + FusedOps.Number(2 * Vocab)
            + " bytes a second time, because the rest is what fits shared memory,")
        + " and written once" + (cached < Vocab ? "" : ", " + FusedOps.Number(4 * Vocab) + " bytes") + "; probabilities are not stored.";

    string SentenceFromSums => "What is left of the cross entropy of a row of " + FusedOps.Number(Vocab) + " logits when the product has summed the exponentials: "
        + "each logit is read once and its gradient written in its place, " + FusedOps.Number(4 * Vocab) + " bytes a row, because " + FusedOps.Number(GemmKernel.RowSums(Vocab))
        + " sums a row stand for the pass that would come first.";

    /// <summary>The sums as the epilogue of the logits' GEMM: the templates before gemm_sm90.cu.</summary>
    internal string[] Epilogue() => new[] { Functions(log2: true, derivative: false), "@cross_entropy_epilogue.cu" };

    internal override CpuKernel Cpu(Kernel kernel) =>
        new("static (a, rows) => Graph.Runtime.Cpu.CpuCrossEntropy.Run<" + CpuFunction.Name(kernel) + ">(a, rows, " + NumberText.Int(Vocab) + ", true)",
            true, CpuFunction.Print(kernel.Name, Logit));

    /// <summary>The kernel that is left when the product of the logits makes the sums.</summary>
    public static string FromSums(Kernel kernel) => kernel.Name + "_from_sums";

    /// <summary>The logit function, z in natural units or in those of log2; the derivative is d(logit)/ds in natural units.</summary>
    /// <param name="value">The text needs z alone.</param>
    /// <param name="derivative">The text needs z together with the derivative.</param>
    string Functions(bool log2, bool value = true, bool derivative = true)
    {
        var name = log2 ? "logit_log2" : "logit";
        var z = log2 ? new Expr.Number(1.4426950408889634) * Logit : Logit;
        return "// logit(s) = " + ExprText.Print(Logit) + ", traced from the model" + (log2 ? "; in units of log2.\n" : ".\n")
            + (value ? "__device__ __forceinline__ float " + name + "(float s)\n{\n"
                + ExprSource.Body(new[] { ("return ", z) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n" : "")
            + (derivative ? "__device__ __forceinline__ void " + name + "_and_derivative(float s, float& z, float& dz)\n{\n"
                + ExprSource.Body(new[] { ("z = ", z), ("dz = ", Logit.Derivative("s")) }, ExprLanguage.Cuda, "const float", "    ") + "}\n\n" : "");
    }
}
