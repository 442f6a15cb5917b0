using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Kernels that every model has and no graph names: rows of tokens with a label go to the head and back. A warp moves a row.</summary>
static class LabelRowKernels
{
    const int Rows = 8;

    static readonly (string Name, string Sentence)[] All =
    {
        ("gather_label_rows",
            "Rows of x of tokens that have a label, side by side with their labels: a row is read once and written once, 4 bytes an element, "
            + "so that the head multiplies no row without a label."),
        ("scatter_label_rows",
            "Rows of dx and losses back to the tokens they are of, zeros to those without a label: 4 bytes an element of a row with one, 2 of a row without."),
    };

    public static IEnumerable<EmittedKernel> Kernels(Target target) => All.Select(k => new EmittedKernel(
        new KernelInfo(k.Name, KernelKind.LabelRows, Rows * 32, 0, Rows, 0, 1), new[]
        {
            CudaText.Sentence(k.Sentence) + CudaText.Elem(target) + CudaText.Literals(("ROWS", Rows)), "@prelude.cu", "@label_rows.cu",
        }));
}
