using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Turns a launch into numbers, wherever its tensors lie. Pure.</summary>
/// <param name="shapes">All tokens, or the window of them that a launch is to see.</param>
/// <param name="logitsRows">Rows of the logits scratch.</param>
/// <param name="pairs">Attended pairs of a micro-batch with a window or none, for attention's cost.</param>
/// <param name="tokenUnit">Null: <see cref="GemmKernel.TokenUnit"/>.</param>
public sealed class LaunchBinder(Shapes shapes, double loraScale, int logitsRows, Func<int?, long> pairs, int? tokenUnit = null)
{
    /// <summary>Adapters are dropped, where the run has dropout: not in an evaluation.</summary>
    public bool Drops { get; init; } = true;

    /// <param name="address">Address of a tensor's first element, wherever a window begins; also asked for the
    /// scratch of <see cref="Lifetimes.ScratchOf"/> and what <see cref="LabelRows"/> names.</param>
    public IEnumerable<BoundLaunch> Bind(Launch launch, Func<string, nint> address) => launch switch
    {
        GemmLaunch g when shapes.Segments(g).Count == 0 => [Zeros(address, g)],
        GemmLaunch g when Drops && AdapterDropout.DroppedSegments(shapes, g) is { Count: > 0 } dropped => Dropped(address, g, dropped),
        GemmLaunch g => AdapterScales.Of(shapes, g, loraScale).Select(part => Gemm(address, g, part)),
        KernelLaunch k => [Kernel(address, k)],
        CrossEntropyLaunch c => CrossEntropy(address, c),
        DequantizeLaunch d => [Dequantize(address, d)],
        _ => throw new ArgumentException($"bind: unknown launch {launch.GetType().Name}."),
    };

    // D's columns from Start to End.
    BoundGemm Gemm(Func<string, nint> address, GemmLaunch g, (int Start, int End, double Scale) part)
    {
        var (d, layout) = (shapes.Resolve(g.D), shapes[g.D.Tensor]);
        var whole = d.Columns == part.End - part.Start;
        d = d with { Column = part.Start, ColumnEnd = part.End };
        var segments = shapes.Segments(g)
            .Select(s => Segment(address, g, d, s.A, whole ? s.B
                : g.Layout == GemmLayout.Nt ? s.B with { Row = part.Start, RowEnd = part.End } : s.B with { Column = part.Start, ColumnEnd = part.End })).ToArray();
        var bytes = segments.Sum(s => s.Bytes) + (g.Accumulate ? 2 : 1) * LaunchCost.BytesOf(shapes, d);
        // A GEMM's scale is a number of the run; only kernels read scalars from the device.
        var scale = (float)(g.Scale.Constant * Math.Pow(part.Scale, g.Scale.LoraScales));
        return new BoundGemm(ScheduleText.Print(g.D), g.Layer, segments.Sum(s => LaunchCost.Gemm(d.Rows, d.Columns, s.Operands)), bytes, g.Layout, layout.Tensor.Type,
            Start(address, d), layout.Pitch, d.Rows, d.Columns, [.. segments.Select(s => s.Operands)], scale, g.Accumulate)
        {
            WholeM = layout.Tensor.Tokens ? layout.Rows : d.Rows,
            Unit = g is not { Layout: GemmLayout.Tn, Accumulate: true } ? int.MaxValue
                : tokenUnit ?? (layout.Tensor.Stack < 0 ? int.MaxValue : GemmKernel.TokenUnit(shapes.Ranks[layout.Tensor.Stack])),
        };
    }

    // What no mask stands before is one product; then come those of each adapter.
    IEnumerable<BoundLaunch> Dropped(Func<string, nint> address, GemmLaunch g, IReadOnlyList<GemmSegment> dropped)
    {
        var rest = g with { Segments = [.. g.Segments.Except(dropped)] };
        var written = g.Accumulate;
        if (shapes.Segments(rest).Count > 0)
        {
            written = true;
            foreach (var part in AdapterScales.Of(shapes, rest, loraScale)) yield return Gemm(address, rest, part);
        }
        foreach (var segment in dropped)
        {
            foreach (var launch in Dropped(address, g, segment, written)) yield return launch;
            written = true;
        }
    }

    // A product for each adapter, from its dropped x or through its mask.
    IEnumerable<BoundLaunch> Dropped(Func<string, nint> address, GemmLaunch g, GemmSegment dropped, bool written)
    {
        var (d, layout, pitch, scratch) = (shapes.Resolve(g.D), shapes[g.D.Tensor], AdapterDropout.Pitch(shapes, g, dropped), address(AdapterDropout.Scratch));
        Rectangle left = shapes.Resolve(dropped.A), right = shapes.Resolve(dropped.B);
        var stack = g.Layout == GemmLayout.Tn ? layout.Tensor.Stack : shapes[dropped.B.Tensor].Tensor.Stack;
        foreach (var (adapter, number) in shapes.Ranks.Adapters.Select((a, i) => (a, i)).Where(a => a.a.Stack == stack))
        {
            var (first, end) = (adapter.RankStart, adapter.RankStart + adapter.Padded);
            var scale = (float)(g.Scale.Constant * Math.Pow(adapter.Scale ?? loraScale, g.Scale.LoraScales));
            switch (g.Layout)
            {
                case GemmLayout.Nt:
                    yield return Drop(AdapterDropout.Kernel, scratch, pitch, Start(address, left), shapes[left.Tensor].Pitch, left.Columns);
                    yield return Product(d with { Column = first, ColumnEnd = end }, scratch,
                        pitch, Start(address, right with { Row = first, RowEnd = end }), shapes[right.Tensor].Pitch, left.Columns, written);
                    break;
                case GemmLayout.Tn:
                    yield return Drop(AdapterDropout.Kernel, scratch, pitch, Start(address, right), shapes[right.Tensor].Pitch, right.Columns);
                    yield return Product(d with { Row = first, RowEnd = end }, Start(address, left with { Column = first, ColumnEnd = end }), shapes[left.Tensor].Pitch,
                        scratch, pitch, right.Rows, written);
                    break;
                default:
                    yield return new BoundGemm(AdapterDropout.Scratch, g.Layer, LaunchCost.Gemm(d.Rows, d.Columns, adapter.Padded), 0, GemmLayout.Nn, ElementType.Act,
                        scratch, pitch, Start(address, left with { Column = first, ColumnEnd = end }),
                        shapes[left.Tensor].Pitch, Start(address, right with { Row = first, RowEnd = end }), shapes[right.Tensor].Pitch, d.Rows, d.Columns,
                            adapter.Padded, scale, false);
                    yield return Drop(written ? AdapterDropout.AddKernel : AdapterDropout.Kernel, Start(address, d), layout.Pitch, scratch, pitch, d.Columns);
                    written = true;
                    break;
            }

            BoundGemm Product(Rectangle to, nint a, int aPitch, nint b, int bPitch, int k, bool accumulate) =>
                new(ScheduleText.Print(g.D), g.Layer, LaunchCost.Gemm(to.Rows, to.Columns, k), 0, g.Layout, layout.Tensor.Type, Start(address, to), layout.Pitch, a,
                    aPitch, b, bPitch, to.Rows, to.Columns, k, scale, accumulate)
                {
                    Unit = g is { Layout: GemmLayout.Tn, Accumulate: true } ? tokenUnit ?? GemmKernel.TokenUnit(shapes.Ranks[stack]) : int.MaxValue,
                };

            BoundKernel Drop(string kernel, nint to, int toPitch, nint from, int fromPitch, int columns) =>
                new(kernel, g.Layer, 0, (kernel == AdapterDropout.AddKernel ? 3L : 2L) * shapes.Tokens * columns * TensorLayout.Size(ElementType.Act, shapes.Act), kernel,
                    [new(to, toPitch), new(from, fromPitch), new(address(AdapterDropout.Table) + number * Marshal.SizeOf<DroppedAdapter>(), 0),
                        new(address(AdapterDropout.Key), 0)], shapes.Tokens);
        }
    }

    (GemmOperands Operands, long Bytes) Segment(Func<string, nint> address, GemmLaunch g, Rectangle d, Rectangle a, Rectangle b)
    {
        var (m, n, k, matches) = g.Layout switch
        {
            GemmLayout.Nt => (a.Rows, b.Rows, a.Columns, a.Columns == b.Columns),
            GemmLayout.Nn => (a.Rows, b.Columns, a.Columns, a.Columns == b.Rows),
            GemmLayout.Tn => (a.Columns, b.Columns, a.Rows, a.Rows == b.Rows),
            _ => throw new ArgumentException($"bind: unknown layout {g.Layout}."),
        };
        if (!matches || d.Rows != m || d.Columns != n)
            throw new ArgumentException($"bind: {ScheduleText.Print(g)} multiplies {a.Rows}x{a.Columns} and {b.Rows}x{b.Columns} into {d.Rows}x{d.Columns}; the sizes do not fit.");
        var (of, whole) = (shapes[b.Tensor].Tensor, b.Column == 0 && b.ColumnEnd == shapes[b.Tensor].Columns);
        var blocks = g.Layout == GemmLayout.Nt && of.Kind == TensorKind.AdapterB && whole ? shapes.Blocks(of.Stack) : null;
        return (new GemmOperands(Start(address, a), shapes[a.Tensor].Pitch, Start(address, b), shapes[b.Tensor].Pitch,
            k) { Blocks = blocks }, LaunchCost.BytesOf(shapes, a) + LaunchCost.BytesOf(shapes, b));
    }

    // Every adapter in the product has rank 0.
    BoundZeros Zeros(Func<string, nint> address, GemmLaunch g)
    {
        var (d, layout) = (shapes.Resolve(g.D), shapes[g.D.Tensor]);
        return new BoundZeros(ScheduleText.Print(g.D), g.Layer, Start(address, d), (long)layout.Pitch * layout.ElementBytes, (long)d.Columns * layout.ElementBytes, d.Rows);
    }

    BoundKernel Kernel(Func<string, nint> address, KernelLaunch k)
    {
        var cost = LaunchCost.Of(shapes, k, pairs);
        return new BoundKernel(k.Kernel, k.Layer, cost.Flops, cost.Bytes, k.Kernel, k.Arguments.Select(v => Argument(address, v)).ToArray(), shapes.Tokens);
    }

    BoundKernel Dequantize(Func<string, nint> address, DequantizeLaunch d)
    {
        var packed = shapes.Packed(d.Weight.Tensor) ?? throw new ArgumentException($"bind: {d.Weight.Tensor} has no packed block.");
        BoundArgument[] arguments = [new(Start(address, shapes.Resolve(d.Weight)), 0), new(Start(address, shapes.Resolve(d.Packed)), packed.Parts.Count)];
        return new BoundKernel(Nf4Layout.Kernel, d.Layer, 0, LaunchCost.Of(shapes, d, pairs).Bytes, Nf4Layout.Kernel, arguments, packed.Chunks);
    }

    // Tokens that have a label are gathered, so that a chunk is full of them; products stop at their count. What has no label gets its zeros when rows go back.
    IEnumerable<BoundLaunch> CrossEntropy(Func<string, nint> address, CrossEntropyLaunch c)
    {
        Rectangle x = shapes.Resolve(c.X), table = shapes.Resolve(c.Table);
        int hidden = x.Columns, vocabulary = table.Rows, pitch = TensorLayout.RowPitch(vocabulary), rowPitch = TensorLayout.RowPitch(hidden);
        var tablePitch = shapes[c.Table.Tensor].Pitch;
        var element = TensorLayout.Size(ElementType.Act, shapes.Act);
        nint logits = address(Lifetimes.LogitsScratch), tableStart = Start(address, table), count = address(LabelRows.Count);
        BoundArgument rowsOf = new(address(LabelRows.X), rowPitch), labelsOf = new(address(LabelRows.Labels), 0), lossesOf = new(address(LabelRows.Losses), 0);
        var moved = 2L * hidden * element + 12;
        RowSums? rowSums = c.Sums is { } kernels ? new RowSums(kernels, address(Lifetimes.SumsScratch), GemmKernel.RowSums(vocabulary)) : null;

        BoundArgument[] gathered =
        [
            rowsOf with { RowBytes = rowPitch * element }, labelsOf with { RowBytes = 4 }, Argument(address, c.X) with { RowBytes = 0 },
                Argument(address, c.Labels) with { RowBytes = 0 }, new(address(LabelRows.Rows), hidden, 4),
        ];
        // A sum over the rows must not see what rows without a token hold.
        if (c.DTable is not null) yield return new BoundFill("rows with a label = 0", rowsOf.Address, 0, (long)shapes.Tokens * rowPitch * element);
        yield return new BoundKernel(LabelRows.Gather, c.Layer, 0, moved * shapes.Tokens, LabelRows.Gather, gathered, shapes.Tokens);
        for (var row = 0; row < shapes.Tokens; row += logitsRows)
        {
            var rows = Math.Min(logitsRows, shapes.Tokens - row);
            var flops = LaunchCost.Gemm(rows, vocabulary, hidden);
            var bytes = ((long)rows * (hidden + vocabulary) + (long)vocabulary * hidden) * element;
            var chunk = rowsOf.Address + (nint)((long)row * rowPitch * element);
            var limit = new RowLimit(count, row);
            yield return new BoundGemm("logits", c.Layer, flops, bytes, GemmLayout.Nt, ElementType.Act, logits, pitch, chunk, rowPitch, tableStart, tablePitch, rows,
                vocabulary, hidden, 1f, false)
            {
                Limit = limit, Sums = rowSums,
            };
            BoundArgument[] arguments =
            [
                new(logits, pitch, pitch * element), new(lossesOf.Address + 4 * row, 0, 4), new(labelsOf.Address + 4 * row, 0, 4), Argument(address, Shapes.View(c.InverseLabels)),
            ];
            yield return new BoundKernel(c.Kernel, c.Layer, 0, (2L * vocabulary * element + 8) * rows, c.Kernel, arguments, rows) { Sums = rowSums };
            if (c.DTable is { } dtable)
            {
                var (d, adds) = (shapes.Resolve(dtable), row > 0 || !c.WritesTable);
                yield return new BoundGemm(ScheduleText.Print(dtable), c.Layer, flops, bytes + (adds ? 2 : 1) * LaunchCost.BytesOf(shapes, d), GemmLayout.Tn, ElementType.F32,
                    Start(address, d), shapes[d.Tensor].Pitch, logits, pitch, chunk, rowPitch, vocabulary, hidden, rows, 1f, adds);
            }
            // x of the chunk is not needed any more, so dX takes its place.
            if (c.DX is not null)
                yield return new BoundGemm(ScheduleText.Print(c.DX), c.Layer, flops, bytes, GemmLayout.Nn, ElementType.Act, chunk, rowPitch, logits, pitch, tableStart,
                    tablePitch, rows, hidden, vocabulary, 1f, false) { Limit = limit };
        }
        // Without dX its address is 0; a pitch it has all the same, because parameters go by position.
        BoundArgument[] scattered =
        [
            c.DX is null ? new(0, rowPitch) : Argument(address, c.DX), Argument(address, c.Loss), rowsOf, lossesOf, new(address(LabelRows.Places), hidden, 4),
        ];
        yield return new BoundKernel(LabelRows.Scatter, c.Layer, 0, (c.DX is null ? 12 : moved) * shapes.Tokens, LabelRows.Scatter, scattered, shapes.Tokens);
    }

    BoundArgument Argument(Func<string, nint> address, View view)
    {
        var layout = shapes[view.Tensor];
        var rectangle = shapes.Resolve(view);
        return new BoundArgument(rectangle.IsEmpty ? 0 : Start(address, rectangle), layout.IsMatrix ? layout.Pitch : 0, (int)layout.BytesPerToken);
    }

    nint Start(Func<string, nint> address, Rectangle r)
    {
        var layout = shapes[r.Tensor];
        return address(r.Tensor) + (nint)(((long)r.Row * layout.Pitch + r.Column) * layout.ElementBytes);
    }
}
