using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Kernels that every model with adapters has and no graph names: dropout of an adapter's input, and of the gradient that comes back. A warp has a row.</summary>
static class DropoutKernels
{
    const int Rows = 8;

    static readonly (string Name, string Sentence)[] All =
    {
        ("adapter_dropout", "Dropout of an adapter's input: 4 bytes an element, read once and written once, "
            + "with a mask that is computed from counters where it is needed and never stored."),
        ("adapter_dropout_add", "The gradient of an adapter's input through its dropout, added to the rest of it: 6 bytes an element, "
            + "with the mask of the forward computed again."),
    };

    public static IEnumerable<EmittedKernel> Kernels(Target target) => All.Select(k => new EmittedKernel(
        new KernelInfo(k.Name, KernelKind.Dropout, Rows * 32, 0, Rows, 0, 1), new[]
        {
            CudaText.Sentence(k.Sentence) + CudaText.Elem(target) + CudaText.Literals(("ROWS", Rows)), "@prelude.cu", "@adapter_dropout.cu",
        }));
}
