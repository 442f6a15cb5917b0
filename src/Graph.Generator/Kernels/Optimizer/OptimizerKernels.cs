using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Kernels that every model has and no graph names: gradient norm and clip, AdamW over all adapters, the loss sum. Grids count chunks of the segment table.</summary>
static class OptimizerKernels
{
    // ADAMW_THREADS of adamw.cu: such a block has each of a chunk's elements once.
    const int Threads = 256, AdamWThreads = 512;

    static readonly (string Name, int Threads, int TileRows, string Template)[] All =
    {
        ("gradient_norm_partials", Threads, 1, "@gradient_norm.cu"),
        ("gradient_norm", Threads, int.MaxValue, "@gradient_norm.cu"),
        ("adamw", AdamWThreads, 1, "@adamw.cu"),
        ("cast_adapters", Threads, 1, "@adamw.cu"),
        ("loss_sum", Threads, int.MaxValue, "@loss_sum.cu"),
    };

    public static IEnumerable<EmittedKernel> Kernels(Target target) => All.Select(k => new EmittedKernel(
        new KernelInfo(k.Name, KernelKind.Optimizer, k.Threads, 0, k.TileRows, 0, 1), new[] { CudaText.Elem(target), "@prelude.cu", "@segments.cu", k.Template }));
}
