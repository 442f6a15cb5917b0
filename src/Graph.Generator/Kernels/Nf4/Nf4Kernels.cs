using System.Collections.Generic;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// The kernel that makes a weight's elements from its NF4 codes. Every model has it and no graph names
/// it: planning launches it where a weight is stored so. A block makes a chunk.
/// </summary>
static class Nf4Kernels
{
    const int Threads = 256;

    const string Sentence = "Elements of a weight from its NF4 codes, all tensors of a stack in one launch: 0.52 bytes an element read "
        + "(a code, and an absmax of 8 bits for each 64) and 2 written, "
        + "so the weight is stored in a quarter of the memory and products read it as if it had never been packed.";

    public static IEnumerable<EmittedKernel> Kernels(Target target) => new[]
    {
        new EmittedKernel(new KernelInfo("dequantize_nf4", KernelKind.Dequantize, Threads, 0, 1, 0, 1), new[]
        {
            CudaText.Sentence(Sentence) + CudaText.Elem(target) + CudaText.Literals(("THREADS", Threads)), "@prelude.cu", "@nf4.cu",
        }),
    };
}
