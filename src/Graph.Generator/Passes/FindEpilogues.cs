using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// What an epilogue gets of a tile of 128 x 256 (Templates/gemm_sm90.cu): panels of 64 columns alone (Pair 0), or each with the one Pair panels further on; Halves: a tile is 128 columns of D's left and right
/// half each; Sums: the columns of D that it adds up to one number of a row; 0: it makes no sums.
/// </summary>
public sealed record EpilogueForm(int Pair = 0, bool Halves = false, int Sums = 0);

/// <summary>A kernel whose work can be done on the tiles of the product before it, or a part of its work: a cross entropy's sums.</summary>
/// <param name="Places">The kernel's arguments that are D, from left to right (<see cref="KernelLaunch.Epilogue"/>); none for a cross entropy, whose launch makes its product itself.</param>
public sealed record ProductEpilogue(string Name, GemmLayout Layout, Kernel Kernel, EpilogueForm Form, EquatableArray<int> Places);

/// <summary>
/// Kernels that directly follow the product whose output they read, once, and for which a tile is enough: pointwise work on matrices, RoPE on whole heads, and attention's delta, a sum over each head of do,
/// which the product before it makes. In Gemma 2 the pointwise ones are GeGLU and its derivative; norms reduce over rows, and what follows a norm's residual sum is no product. The schedule keeps
/// product and kernel as two launches, so a target without such kernels needs to know nothing of them. And a bounded cross entropy's sums of exponentials, for the product of its logits inside its own launch.
/// </summary>
public static class FindEpilogues
{
    public static IReadOnlyList<ProductEpilogue> Run(KernelGraph graph, IReadOnlyList<Kernel> kernels, Func<Step, Launch> name)
    {
        var widths = graph.Tensors.ToDictionary(t => t.Name, t => t.Dims.Count == 0 ? new Extent(0) : t.Dims[t.Dims.Count - 1]);
        var found = new Dictionary<string, ProductEpilogue>();
        void Add(GemmLayout layout, string kernel, EpilogueForm form, int[] places)
        {
            // Layers may share a kernel that reads their products in different places: the first one's form is emitted and marked, and binding runs a launch of another form apart.
            if (found.Values.Any(e => e.Kernel.Name == kernel && !e.Places.SequenceEqual(places))) return;
            var fused = GemmKernel.WithEpilogue(layout, kernel);
            found[fused] = new ProductEpilogue(fused, layout, kernels.First(k => k.Name == kernel), form, places);
        }
        foreach (var (step, next) in graph.Steps.Zip(graph.Steps.Skip(1), (a, b) => (a, b)))
        {
            if (step is not GemmStep { Launch: { Accumulate: false, Layout: not GemmLayout.Tn } product } || next is not KernelStep row) continue;
            var kernel = ((KernelLaunch)name(row)).Kernel;
            if (row.Body is RopeBody { Inverse: false } rope && TurnsHeads(product.D, row, rope, widths)) Add(product.Layout, kernel, new EpilogueForm(Pair: rope.HeadDim / 128), new[] { 0 });
            if (row.Body is RowBody body && FromProduct(product.D, row, body, widths) is { } places) Add(product.Layout, kernel, places.Length == 2 ? new EpilogueForm(Pair: 2, Halves: true) : new EpilogueForm(), places);
            if (row.Body is AttentionBody { Part: AttentionPart.Delta } delta && SumsHeads(product.D, row, delta, widths)) Add(product.Layout, kernel, new EpilogueForm(Sums: delta.HeadDim), new[] { Do });
        }
        foreach (var loss in graph.Steps.OfType<LossStep>().Where(l => l.Body.Bound > 0)) Add(GemmLayout.Nt, ((CrossEntropyLaunch)name(loss)).Kernel, new EpilogueForm(Sums: GemmKernel.TileColumns), Array.Empty<int>());
        return found.Values.ToArray();
    }

    /// <summary>The heads are D's first columns, and a tile has both halves of each of its own.</summary>
    static bool TurnsHeads(View d, KernelStep row, RopeBody rope, Dictionary<string, Extent> widths)
    {
        var (start, end) = Columns(d, widths);
        var heads = Columns(row.Arguments[0], widths);
        return rope.HeadDim is 128 or 256 && row.Arguments[0].Tensor == d.Tensor && start.Group < 0 && end.Group < 0 && heads.Start.Equals(start) && heads.End.Fixed <= end.Fixed && (end.Fixed - start.Fixed) % GemmKernel.TileColumns == 0;
    }

    // Delta's arguments: delta, o, do.
    const int O = 1, Do = 2;

    /// <summary>do is all of D, and a tile has whole heads of it.</summary>
    static bool SumsHeads(View d, KernelStep row, AttentionBody delta, Dictionary<string, Extent> widths)
    {
        var (start, end) = Columns(d, widths);
        return delta.HeadDim is 128 or 256 && row.Arguments[Do].Tensor == d.Tensor && row.Arguments[O].Tensor != d.Tensor && Columns(row.Arguments[Do], widths).Equals((start, end))
            && end.Group < 0 && end.Fixed - start.Fixed == delta.Heads * delta.HeadDim;
    }

    /// <summary>Null unless a tile is enough for the kernel and it reads all of D as one input, or its two halves as two.</summary>
    static int[]? FromProduct(View d, KernelStep row, RowBody body, Dictionary<string, Extent> widths)
    {
        if (body.Heads > 0 || body.Columns == RowBody.RankColumns) return null;
        if (body.Statements.Any(s => s is not (RowStatement.Let or RowStatement.Store)) || body.Inputs.Any(i => i.Kind != RowInputKind.Matrix) || body.Outputs.Any(o => o.PerRow) || row.InPlace > 0) return null;
        var (start, end) = Columns(d, widths);
        if (start.Group >= 0 || end.Group >= 0) return null;
        var inputs = row.Arguments.Select((view, i) => (Place: i, View: view)).Skip(row.Outputs).Where(i => i.View.Tensor == d.Tensor)
            .Select(i => (i.Place, Columns: Columns(i.View, widths))).OrderBy(i => i.Columns.Start.Fixed).ToArray();
        var middle = new Extent((start.Fixed + end.Fixed) / 2);
        (Extent, Extent)[][] whole = { new[] { (start, end) }, new[] { (start, middle), (middle, end) } };
        var covers = whole.Any(w => w.SequenceEqual(inputs.Select(i => i.Columns))) && body.Columns * inputs.Length == end.Fixed - start.Fixed;
        return covers ? inputs.Select(i => i.Place).ToArray() : null;
    }

    static (Extent Start, Extent End) Columns(View view, Dictionary<string, Extent> widths) => view.Cols is { } c ? (c.Start, c.End) : (0, widths[view.Tensor]);
}
