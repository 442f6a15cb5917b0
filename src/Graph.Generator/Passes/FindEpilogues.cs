using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>A row kernel whose work can be done on a product's tiles. Paired: it reads D's left and right half side by side (gate and up), so a tile holds both; else D itself.</summary>
/// <param name="FromProduct">The kernel's inputs that are D, from left to right.</param>
public sealed record ProductEpilogue(string Name, GemmLayout Layout, Kernel Row, bool Paired, EquatableArray<string> FromProduct);

/// <summary>
/// Row kernels that directly follow the product whose whole output they read, once: pointwise work on matrices alone, because a tile does not hold a row. In Gemma 2 these are GeGLU and its derivative;
/// norms reduce over rows, and what follows a norm's residual sum is no product. The schedule keeps product and kernel as two launches, so a target without such kernels needs to know nothing of them.
/// </summary>
public static class FindEpilogues
{
    /// <summary>Boxes of 16 KB of what is read beside the product share a stage of 48 KB (Templates/gemm_sm90.cu).</summary>
    const int MostBeside = 3;

    public static IReadOnlyList<ProductEpilogue> Run(KernelGraph graph, IReadOnlyList<Kernel> kernels, Func<Step, Launch> name)
    {
        var widths = graph.Tensors.ToDictionary(t => t.Name, t => t.Dims.Count == 0 ? new Extent(0) : t.Dims[t.Dims.Count - 1]);
        var found = new Dictionary<string, ProductEpilogue>();
        foreach (var (step, next) in graph.Steps.Zip(graph.Steps.Skip(1), (a, b) => (a, b)))
        {
            if (step is not GemmStep { Launch: { Accumulate: false, Layout: not GemmLayout.Tn } product } || next is not KernelStep { Body: RowBody body } row) continue;
            if (body.Statements.Any(s => s is not (RowStatement.Let or RowStatement.Store)) || body.Inputs.Any(i => i.Kind != RowInputKind.Matrix) || body.Outputs.Any(o => o.PerRow) || row.InPlace > 0) continue;
            if (FromProduct(product.D, row, body, widths) is not { } inputs || body.Inputs.Count - inputs.Count > MostBeside) continue;
            var kernel = kernels.First(k => k.Name == ((KernelLaunch)name(row)).Kernel);
            var fused = GemmKernel.WithEpilogue(product.Layout, kernel.Name);
            found[fused] = new ProductEpilogue(fused, product.Layout, kernel, inputs.Count == 2, inputs.ToArray());
        }
        return found.Values.ToArray();
    }

    /// <summary>Null unless the kernel reads all of D as one input, or its two halves as two.</summary>
    static IReadOnlyList<string>? FromProduct(View d, KernelStep row, RowBody body, Dictionary<string, Extent> widths)
    {
        (Extent Start, Extent End) Columns(View v) => v.Cols is { } c ? (c.Start, c.End) : (0, widths[v.Tensor]);
        var (start, end) = Columns(d);
        if (start.Group >= 0 || end.Group >= 0) return null;
        var inputs = body.Inputs.Zip(row.Arguments.Skip(row.Outputs), (input, view) => (input.Name, view)).Where(i => i.view.Tensor == d.Tensor)
            .Select(i => (i.Name, Columns: Columns(i.view))).OrderBy(i => i.Columns.Start.Fixed).ToArray();
        var middle = new Extent((start.Fixed + end.Fixed) / 2);
        (Extent, Extent)[][] whole = { new[] { (start, end) }, new[] { (start, middle), (middle, end) } };
        var covers = whole.Any(w => w.SequenceEqual(inputs.Select(i => i.Columns))) && body.Columns * inputs.Length == end.Fixed - start.Fixed;
        return covers ? inputs.Select(i => i.Name).ToArray() : null;
    }
}
