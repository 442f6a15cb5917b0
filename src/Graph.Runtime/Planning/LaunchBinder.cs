using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Turns a launch into numbers, wherever its tensors lie. Pure.</summary>
/// <param name="logitsRows">Rows of the logits scratch.</param>
/// <param name="pairs">Attended pairs of a micro-batch with a window or none, for attention's cost.</param>
public sealed class LaunchBinder(Shapes shapes, double loraScale, int logitsRows, Func<int?, long> pairs)
{
    /// <param name="address">Address of a tensor's first element; also asked for <see cref="Lifetimes.LogitsScratch"/>.</param>
    public IEnumerable<BoundLaunch> Bind(Launch launch, Func<string, nint> address) => launch switch
    {
        GemmLaunch g => [Gemm(address, g)],
        KernelLaunch k => [Kernel(address, k)],
        CrossEntropyLaunch c => CrossEntropy(address, c),
        _ => throw new ArgumentException($"bind: unknown launch {launch.GetType().Name}."),
    };

    BoundGemm Gemm(Func<string, nint> address, GemmLaunch g)
    {
        Rectangle d = shapes.Resolve(g.D), a = shapes.Resolve(g.A), b = shapes.Resolve(g.B);
        var (m, n, k, matches) = g.Layout switch
        {
            GemmLayout.Nt => (a.Rows, b.Rows, a.Columns, a.Columns == b.Columns),
            GemmLayout.Nn => (a.Rows, b.Columns, a.Columns, a.Columns == b.Rows),
            GemmLayout.Tn => (a.Columns, b.Columns, a.Rows, a.Rows == b.Rows),
            _ => throw new ArgumentException($"bind: unknown layout {g.Layout}."),
        };
        if (!matches || d.Rows != m || d.Columns != n)
            throw new ArgumentException($"bind: {ScheduleText.Print(g)} multiplies {a.Rows}x{a.Columns} and {b.Rows}x{b.Columns} into {d.Rows}x{d.Columns}; the sizes do not fit.");
        var bytes = LaunchCost.BytesOf(shapes, a) + LaunchCost.BytesOf(shapes, b) + (g.Accumulate ? 2 : 1) * LaunchCost.BytesOf(shapes, d);
        return new BoundGemm(ScheduleText.Print(g.D), g.Layer, LaunchCost.Gemm(m, n, k), bytes, g.Layout, shapes[g.D.Tensor].Tensor.Type,
            Start(address, d), shapes[g.D.Tensor].Pitch, Start(address, a), shapes[g.A.Tensor].Pitch, Start(address, b), shapes[g.B.Tensor].Pitch, m, n, k, Alpha(g), g.Accumulate);
    }

    // A GEMM's alpha is a number of the run; only kernels read scalars from the device.
    float Alpha(GemmLaunch g) => g.Scale switch
    {
        null => 1f,
        "lora_scale" => (float)loraScale,
        _ => throw new ArgumentException($"bind: {ScheduleText.Print(g)} is scaled by {g.Scale}; a GEMM can be scaled by lora_scale only."),
    };

    BoundKernel Kernel(Func<string, nint> address, KernelLaunch k)
    {
        var cost = LaunchCost.Of(shapes, k, pairs);
        return new BoundKernel(k.Kernel, k.Layer, cost.Flops, cost.Bytes, k.Kernel, k.Arguments.Select(v => Argument(address, v)).ToArray(), shapes.Tokens);
    }

    IEnumerable<BoundLaunch> CrossEntropy(Func<string, nint> address, CrossEntropyLaunch c)
    {
        Rectangle x = shapes.Resolve(c.X), table = shapes.Resolve(c.Table);
        int hidden = x.Columns, vocabulary = table.Rows, pitch = TensorLayout.LogitsPitch(vocabulary);
        var logits = address(Lifetimes.LogitsScratch);
        var element = TensorLayout.Size(ElementType.Act, shapes.Act);
        for (var row = 0; row < shapes.Tokens; row += logitsRows)
        {
            var rows = Math.Min(logitsRows, shapes.Tokens - row);
            var flops = LaunchCost.Gemm(rows, vocabulary, hidden);
            var bytes = ((long)rows * (hidden + vocabulary) + (long)vocabulary * hidden) * element;
            var (xStart, tableStart) = (Start(address, x with { Row = row }), Start(address, table));
            int xPitch = shapes[c.X.Tensor].Pitch, tablePitch = shapes[c.Table.Tensor].Pitch;
            yield return new BoundGemm("logits", c.Layer, flops, bytes, GemmLayout.Nt, ElementType.Act, logits, pitch, xStart, xPitch, tableStart, tablePitch, rows, vocabulary, hidden, 1f, false);
            BoundArgument[] arguments =
            [
                new(logits, pitch, pitch * element), Argument(address, c.Loss, row), Argument(address, c.Labels, row), Argument(address, new View(c.InverseLabels)),
            ];
            yield return new BoundKernel(c.Kernel, c.Layer, 0, (2L * vocabulary * element + 8) * rows, c.Kernel, arguments, rows);
            if (c.DX is null) continue;
            var dx = shapes.Resolve(c.DX);
            yield return new BoundGemm(ScheduleText.Print(c.DX), c.Layer, flops, bytes, GemmLayout.Nn, shapes[c.DX.Tensor].Tensor.Type,
                Start(address, dx with { Row = row }), shapes[c.DX.Tensor].Pitch, logits, pitch, tableStart, tablePitch, rows, hidden, vocabulary, 1f, false);
        }
    }

    BoundArgument Argument(Func<string, nint> address, View view, int row = 0)
    {
        var layout = shapes[view.Tensor];
        var rectangle = shapes.Resolve(view);
        return new BoundArgument(rectangle.IsEmpty ? 0 : Start(address, rectangle with { Row = rectangle.Row + row }), layout.IsMatrix ? layout.Pitch : 0, (int)layout.BytesPerToken);
    }

    nint Start(Func<string, nint> address, Rectangle r)
    {
        var layout = shapes[r.Tensor];
        return address(r.Tensor) + (nint)(((long)r.Row * layout.Pitch + r.Column) * layout.ElementBytes);
    }
}
