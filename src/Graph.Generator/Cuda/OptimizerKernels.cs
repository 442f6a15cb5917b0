using System.Collections.Generic;
using Graph.Generator.Schedules;

namespace Graph.Generator.Cuda;

/// <summary>Kernels that every model has and no graph names: gradient norm and clip, AdamW over all adapters, the loss sum. Grids count chunks of the segment table.</summary>
public static class OptimizerKernels
{
    // ADAMW_THREADS of adamw.cu: such a block has each of a chunk's elements once.
    const int Threads = 256, AdamWThreads = 512;

    public static readonly IReadOnlyList<(KernelInfo Info, string Template)> All = new[]
    {
        (new KernelInfo("gradient_norm_partials", KernelKind.Optimizer, Threads, 0, 1, 0, 1), "gradient_norm.cu"),
        (new KernelInfo("gradient_norm", KernelKind.Optimizer, Threads, 0, int.MaxValue, 0, 1), "gradient_norm.cu"),
        (new KernelInfo("adamw", KernelKind.Optimizer, AdamWThreads, 0, 1, 0, 1), "adamw.cu"),
        (new KernelInfo("cast_adapters", KernelKind.Optimizer, Threads, 0, 1, 0, 1), "adamw.cu"),
        (new KernelInfo("loss_sum", KernelKind.Optimizer, Threads, 0, int.MaxValue, 0, 1), "loss_sum.cu"),
    };
}
