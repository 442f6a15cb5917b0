using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// Kernels that every model has and no graph names: gradient norm and clip, AdamW over all adapters, sums of gradients and losses. Grids count chunks of the segment table.
/// </summary>
static class OptimizerKernels
{
    // ADAMW_THREADS of adamw.cu, ADAMW_8BIT_THREADS of adamw_8bit.cu: such a block has each of a chunk's elements once.
    const int Threads = 256, AdamWThreads = 512;

    static readonly (string Name, int Threads, int TileRows, string[] Templates, string Sentence)[] All =
    {
        ("gradient_norm_partials", Threads, 1, new[] { "@gradient_norm.cu" },
            "Sums of squares of all adapters' gradients, one for each 4,096 elements, in one launch: a gradient is read once, 4 bytes an element."),
        ("gradient_norm", Threads, int.MaxValue, new[] { "@gradient_norm.cu" },
            "Norm of all gradients and the factor that clips them, from one sum for each 4,096 elements: one block adds the sums up in order, "
            + "so the bits are the same every time and the host waits for none."),
        ("adamw", AdamWThreads, 1, new[] { "@adamw.cu" }, "Clipping + AdamW + rounding of the copy that products read, all adapters in one launch: 30 bytes an element "
            + "(p, m and v read and written, the gradient read, in fp32; the copy written), and the clipped gradient stays in registers."),
        ("adamw_8bit", AdamWThreads, 1, new[] { "@adamw.cu", "@adamw_8bit.cu" }, "Clipping + AdamW with 8-bit moments + rounding of the copy that products read, "
            + "all adapters in one launch: "
            + "18 bytes an element (p read and written and the gradient read in fp32; the codes of m and v read and written; the copy written)."),
        ("cast_adapters", Threads, 1, new[] { "@adamw.cu" }, "Rounded copies of all adapters for the products that read them, "
            + "in one launch: 6 bytes an element, 4 read and 2 written."),
        ("add_units", Threads, Threads, new[] { "@add_units.cu" },
            "A gradient and its sums over units of tokens, added up in order: 8 bytes an element and 4 for each unit, "
                + "so that launches on parts of the tokens give the bits of one."),
        ("scale_gradients", 32, int.MaxValue, new[] { "@loss_scale.cu" }, "The loss scale of fp16 on its way to dlogits: "
            + "it changes on the device, where the next step has begun before the host sees the one before."),
        ("loss_sum", Threads, int.MaxValue, new[] { "@loss_sum.cu" },
            "A micro-batch's losses, scaled and added to the step's: 4 bytes a token, in a fixed order, so that cutting the rows at multiples of 256 changes no bit."),
    };

    public static IEnumerable<EmittedKernel> Kernels(Target target) => All.Select(k => new EmittedKernel(
        new KernelInfo(k.Name, KernelKind.Optimizer, k.Threads, 0, k.TileRows, 0, 1),
        new[] { CudaText.Sentence(k.Sentence) + CudaText.Elem(target), "@prelude.cu", "@segments.cu" }.Concat(k.Templates).ToArray()));
}
