using System.Collections.Generic;
using Graph.Generator.Schedules;

namespace Graph.Generator.Cuda;

/// <summary>Kernels that every model has and no graph names: rows of tokens with a label go to the head and back. A warp moves a row.</summary>
public static class LabelRowKernels
{
    const int Rows = 8;

    public static readonly IReadOnlyList<(KernelInfo Info, string Template)> All = new[]
    {
        (new KernelInfo("gather_label_rows", KernelKind.LabelRows, Rows * 32, 0, Rows, 0, 1), "label_rows.cu"),
        (new KernelInfo("scatter_label_rows", KernelKind.LabelRows, Rows * 32, 0, Rows, 0, 1), "label_rows.cu"),
    };
}
