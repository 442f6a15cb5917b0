using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Schedules;

namespace Graph.Generator.Emit;

/// <summary>15: CUDA C for one target: what each family prints of the model's kernels, and the kernels that every model has.</summary>
public static class EmitCuda
{
    /// <param name="full">All weights are trained: there are no adapters, and no weight is packed.</param>
    public static IReadOnlyList<EmittedKernel> Run(Target target, IReadOnlyList<Kernel> kernels, IReadOnlyList<ProductEpilogue> epilogues, bool full = false) =>
        kernels.SelectMany(k => k.Body.Cuda(target, k).Select(e => InRange(target, WithFunctions(e, k.Body), k)))
            .Concat(epilogues.SelectMany(e => EpilogueText.Kernels(target, e).Select(k => WithFunctions(k, e.Kernel.Body))))
            .Concat(GemmTiles.Kernels(target))
            .Concat(full ? Enumerable.Empty<EmittedKernel>() : RankKernels.Kernels(target))
            .Concat(LabelRowKernels.Kernels(target))
            .Concat(full ? Enumerable.Empty<EmittedKernel>() : DropoutKernels.Kernels(target))
            .Concat(OptimizerKernels.Kernels(target))
            .Concat(full ? Enumerable.Empty<EmittedKernel>() : Nf4Kernels.Kernels(target))
            .ToArray();

    /// <summary>With saturate.cu where activations are fp16 and the kernel makes some. Attention's are averages of values, and a cross entropy has none.</summary>
    static EmittedKernel InRange(Target target, EmittedKernel kernel, Kernel of) => target.HasBf16 || !of.Forward || of.Body is not (RowBody or RopeBody) ? kernel
        : kernel with { Parts = kernel.Parts.SelectMany(p => p == "@prelude.cu" ? new[] { p, "@saturate.cu" } : new[] { p }).ToArray() };

    /// <summary>With functions.cu where the body's expressions, or their derivatives, call what it has.</summary>
    static EmittedKernel WithFunctions(EmittedKernel kernel, KernelBody body) => !body.Expressions.Any(ExprLanguage.NeedsFunctions) ? kernel
        : kernel with { Parts = kernel.Parts.SelectMany(p => p == "@prelude.cu" ? new[] { p, "@functions.cu" } : new[] { p }).ToArray() };
}
