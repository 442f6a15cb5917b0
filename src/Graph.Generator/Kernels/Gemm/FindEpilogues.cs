using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Launches;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// 12: kernels that directly follow the product whose output they read, once, and for which a tile is enough: pointwise work on matrices, RoPE on whole heads,
/// and attention's delta, a sum over each head of do, which the product before it makes. In Gemma 2 the pointwise ones are GeGLU and its derivative; norms
/// reduce over rows, and what follows a norm's residual sum is no product. The schedule keeps product and kernel as two launches, so a target without such
/// kernels needs to know nothing of them. And a bounded cross entropy's sums of exponentials, for the product of its logits inside its own launch.
/// </summary>
public static class FindEpilogues
{
    public static (IReadOnlyList<ProductEpilogue> Kernels, IReadOnlyList<FusedSteps> Launches) Run(KernelGraph graph, SharedKernels kernels)
    {
        var widths = graph.Tensors.ToDictionary(t => t.Name, t => t.Dims.Count == 0 ? new Extent(0) : t.Dims[t.Dims.Count - 1]);
        var found = new Dictionary<(GemmLayout, string Kernel, EpilogueForm, EquatableArray<int>), ProductEpilogue>();
        var result = new List<FusedSteps>();
        void Add(Step first, Step? second, GemmLayout layout, KernelBody body, EpilogueForm form, params int[] places)
        {
            var kernel = kernels.Of(body);
            var key = (layout, kernel.Name, form, (EquatableArray<int>)places);
            if (!found.TryGetValue(key, out var epilogue))
            {
                // Layers may share a kernel that reads their products in different places: then there is a kernel of both for every form.
                var others = found.Keys.Count(k => k.Item1 == layout && k.Kernel == kernel.Name);
                var name = new GemmForm(layout, false, false, TileShape.Wide).Name + "_" + kernel.Name + (others > 0 ? "_" + (others + 1) : "");
                found[key] = epilogue = new ProductEpilogue(name, layout, kernel, form, places);
            }
            result.Add(new FusedSteps(first, second, epilogue.Name, places, CrossEntropyBody.FromSums(kernel)));
        }
        foreach (var (step, next) in graph.Neighbours())
        {
            if (step is not GemmStep { Accumulate: false, Layout: not GemmLayout.Tn } product || next is not KernelStep row || Columns(product.D, widths) is not { } d) continue;
            void AddNext(EpilogueForm form, params int[] places) => Add(step, next, product.Layout, row.Body, form, places);
            switch (row.Body)
            {
                case RopeBody { Inverse: false } rope when TurnsHeads(product.D, d, row, rope, widths):
                    AddNext(new EpilogueForm(Pair: rope.HeadDim / 128), 0);
                    break;
                case RowBody body when FromProduct(product.D, d, row, body, widths) is { } places:
                    AddNext(places.Length == 2 ? new EpilogueForm(Pair: 2, Halves: true) : new EpilogueForm(), places);
                    break;
                case AttentionBody { Part: AttentionPart.Delta } delta when SumsHeads(product.D, d, row, delta, widths):
                    AddNext(new EpilogueForm(Sums: delta.HeadDim), Do);
                    break;
            }
        }
        foreach (var loss in graph.Steps.OfType<LossStep>().Where(l => l.Body.Bound > 0 && l.DTable is null))
            Add(loss, null, GemmLayout.Nt, loss.Body, new EpilogueForm(Sums: GemmKernel.TileColumns));
        return (found.Values.ToArray(), result);
    }

    /// <summary>The heads are D's first columns, and a tile has both halves of each of its own.</summary>
    static bool TurnsHeads(View view, ColumnRange d, KernelStep row, RopeBody rope, Dictionary<string, Extent> widths) =>
        rope.HeadDim is 128 or 256 && row.Arguments[0].Tensor == view.Tensor
        && Columns(row.Arguments[0], widths) is { } heads && heads.Start == d.Start && heads.End <= d.End && (d.End - d.Start) % GemmKernel.TileColumns == 0;

    // Delta's arguments: delta, o, do.
    const int O = 1, Do = 2;

    /// <summary>do is all of D, and a tile has whole heads of it.</summary>
    static bool SumsHeads(View view, ColumnRange d, KernelStep row, AttentionBody delta, Dictionary<string, Extent> widths) =>
        delta.HeadDim is 128 or 256 && row.Arguments[Do].Tensor == view.Tensor && row.Arguments[O].Tensor != view.Tensor
        && Columns(row.Arguments[Do], widths) == d && d.End - d.Start == delta.Heads * delta.HeadDim;

    /// <summary>Null unless a tile is enough for the kernel and it reads all of D as one input, or its two halves as two.</summary>
    static int[]? FromProduct(View view, ColumnRange d, KernelStep row, RowBody body, Dictionary<string, Extent> widths)
    {
        if (body.Heads > 0 || body.Columns == RowBody.RankColumns) return null;
        if (row.InPlace > 0 || body.Statements.Any(s => s is not (RowStatement.Let or RowStatement.Store))) return null;
        if (body.Inputs.Any(i => i.Kind != RowInputKind.Matrix) || body.Outputs.Any(o => o.PerRow)) return null;
        var inputs = row.Arguments.Select((argument, i) => (Place: i, View: argument)).Skip(row.Outputs).Where(i => i.View.Tensor == view.Tensor)
            .Select(i => (i.Place, Columns: Columns(i.View, widths)!.Value)).OrderBy(i => i.Columns.Start).ToArray();
        var middle = (d.Start + d.End) / 2;
        ColumnRange[][] whole = { new[] { d }, new[] { d with { End = middle }, d with { Start = middle } } };
        var covers = whole.Any(w => w.SequenceEqual(inputs.Select(i => i.Columns))) && body.Columns * inputs.Length == d.End - d.Start;
        return covers ? inputs.Select(i => i.Place).ToArray() : null;
    }

    /// <summary>Null for ranks, whose number the build does not know.</summary>
    static ColumnRange? Columns(View view, Dictionary<string, Extent> widths) =>
        view.Columns ?? (widths[view.Tensor] is { Stack: < 0, Fixed: var width } ? new ColumnRange(0, width) : null);
}
