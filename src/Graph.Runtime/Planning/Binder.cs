using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>The launch lists of a run, with addresses.</summary>
/// <param name="MicroBatch">Forward, loss, backward into GradA and GradB.</param>
/// <param name="Evaluation">Forward and loss only.</param>
public sealed record BoundSchedule(IReadOnlyList<BoundLaunch> MicroBatch, IReadOnlyList<BoundLaunch> Evaluation);

/// <summary>Turns planned launches into numbers: addresses, pitches, sizes, costs. Pure; with all bases 0 it serves a plan without a device.</summary>
/// <param name="pairs">Attended pairs of a micro-batch with a window or none, for attention's cost; null: documents of <see cref="PlanOptions.LongestDocument"/>.</param>
public sealed class Binder(ExecutionPlan plan, IReadOnlyDictionary<MemoryBlock, nint> bases, Func<int?, long>? pairs = null)
{
    readonly Shapes shapes = plan.Shapes;

    public static BoundSchedule Bind(ExecutionPlan plan, IReadOnlyDictionary<MemoryBlock, nint> bases)
    {
        var binder = new Binder(plan, bases);
        return new BoundSchedule(binder.Bind(plan.MicroBatch), binder.Bind(plan.Evaluation));
    }

    public IReadOnlyList<BoundLaunch> Bind(PlannedProgram program) => program.Launches.SelectMany((launch, at) => Bind(program, launch, at)).ToArray();

    /// <summary>Address of a permanent tensor.</summary>
    public nint Address(string tensor) => Base(plan.Memory.Permanent[tensor]);

    /// <summary>Address of a tensor's first element as launch <paramref name="at"/> of a program sees it.</summary>
    public nint Address(PlannedProgram program, string tensor, int at) =>
        plan.Memory.Permanent.TryGetValue(tensor, out var location) ? Base(location) : Base(new Location(MemoryBlock.Arena, program.OffsetOf(tensor, at)));

    public nint Base(Location location) => bases.GetValueOrDefault(location.Block) + (nint)location.Offset;

    IEnumerable<BoundLaunch> Bind(PlannedProgram program, Launch launch, int at) => launch switch
    {
        GemmLaunch g => [Gemm(program, g, at)],
        KernelLaunch k => [Kernel(program, k, at)],
        CrossEntropyLaunch c => CrossEntropy(program, c, at),
        _ => throw new ArgumentException($"bind: unknown launch {launch.GetType().Name}."),
    };

    BoundGemm Gemm(PlannedProgram program, GemmLaunch g, int at)
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
            Start(program, d, at), shapes[g.D.Tensor].Pitch, Start(program, a, at), shapes[g.A.Tensor].Pitch, Start(program, b, at), shapes[g.B.Tensor].Pitch, m, n, k, Alpha(g), g.Accumulate);
    }

    // A GEMM's alpha is a number of the run; only kernels read scalars from the device.
    float Alpha(GemmLaunch g) => g.Scale switch
    {
        null => 1f,
        "lora_scale" => (float)plan.Options.LoraScale,
        _ => throw new ArgumentException($"bind: {ScheduleText.Print(g)} is scaled by {g.Scale}; a GEMM can be scaled by lora_scale only."),
    };

    BoundKernel Kernel(PlannedProgram program, KernelLaunch k, int at)
    {
        var cost = LaunchCost.Of(shapes, k, pairs ?? (window => LaunchCost.Pairs(shapes.Tokens, plan.Options.LongestDocument ?? shapes.Tokens, window)));
        return new BoundKernel(k.Kernel, k.Layer, cost.Flops, cost.Bytes, k.Kernel, k.Arguments.Select(v => Argument(program, v, at)).ToArray(), shapes.Tokens);
    }

    IEnumerable<BoundLaunch> CrossEntropy(PlannedProgram program, CrossEntropyLaunch c, int at)
    {
        Rectangle x = shapes.Resolve(c.X), table = shapes.Resolve(c.Table);
        int hidden = x.Columns, vocabulary = table.Rows, pitch = TensorLayout.LogitsPitch(vocabulary);
        var logits = Base(new Location(MemoryBlock.Arena, program.OffsetOf(Lifetimes.LogitsScratch, at)));
        var element = TensorLayout.Size(ElementType.Act, shapes.Act);
        for (var row = 0; row < shapes.Tokens; row += plan.LogitsRows)
        {
            var rows = Math.Min(plan.LogitsRows, shapes.Tokens - row);
            var flops = LaunchCost.Gemm(rows, vocabulary, hidden);
            var bytes = ((long)rows * (hidden + vocabulary) + (long)vocabulary * hidden) * element;
            var (xStart, tableStart) = (Start(program, x with { Row = row }, at), Start(program, table, at));
            int xPitch = shapes[c.X.Tensor].Pitch, tablePitch = shapes[c.Table.Tensor].Pitch;
            yield return new BoundGemm("logits", c.Layer, flops, bytes, GemmLayout.Nt, ElementType.Act, logits, pitch, xStart, xPitch, tableStart, tablePitch, rows, vocabulary, hidden, 1f, false);
            BoundArgument[] arguments =
            [
                new(logits, pitch, pitch * element), Argument(program, c.Loss, at, row), Argument(program, c.Labels, at, row), Argument(program, new View(c.InverseLabels), at),
            ];
            yield return new BoundKernel(c.Kernel, c.Layer, 0, (2L * vocabulary * element + 8) * rows, c.Kernel, arguments, rows);
            if (c.DX is null) continue;
            var dx = shapes.Resolve(c.DX);
            yield return new BoundGemm(ScheduleText.Print(c.DX), c.Layer, flops, bytes, GemmLayout.Nn, shapes[c.DX.Tensor].Tensor.Type,
                Start(program, dx with { Row = row }, at), shapes[c.DX.Tensor].Pitch, logits, pitch, tableStart, tablePitch, rows, hidden, vocabulary, 1f, false);
        }
    }

    BoundArgument Argument(PlannedProgram program, View view, int at, int row = 0)
    {
        var layout = shapes[view.Tensor];
        var rectangle = shapes.Resolve(view);
        return new BoundArgument(rectangle.IsEmpty ? 0 : Start(program, rectangle with { Row = rectangle.Row + row }, at), layout.IsMatrix ? layout.Pitch : 0, (int)layout.BytesPerToken);
    }

    nint Start(PlannedProgram program, Rectangle r, int at)
    {
        var layout = shapes[r.Tensor];
        return Address(program, r.Tensor, at) + (nint)(((long)r.Row * layout.Pitch + r.Column) * layout.ElementBytes);
    }
}
