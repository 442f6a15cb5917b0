using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>Kernels that every model has and no graph names: rows of tokens with a label go to the head and back. A warp moves a row.</summary>
static class LabelRowKernels
{
    const int Rows = 8;

    public static IEnumerable<EmittedKernel> Kernels(Target target) => new[] { "gather_label_rows", "scatter_label_rows" }.Select(name => new EmittedKernel(
        new KernelInfo(name, KernelKind.LabelRows, Rows * 32, 0, Rows, 0, 1), new[] { CudaText.Elem(target) + CudaText.Literals(("ROWS", Rows)), "@prelude.cu", "@label_rows.cu" }));
}
