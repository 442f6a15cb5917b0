using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Schedules;

namespace Graph.Generator.Launches;

/// <summary>
/// Checks the stages after the tensor graph. Launches: arguments lie inside their tensors, operands of a product fit, what is read was written before, column for
/// column, and no launch writes over what it reads unless it works in place. A failure is the pass's fault, never the user's.
/// </summary>
public static class VerifyKernels
{
    /// <exception cref="InvalidOperationException">The graph is not well-formed; the message has the stage and the launch.</exception>
    public static void Launches(KernelGraph graph, string stage)
    {
        var tensors = graph.Tensors.ToDictionary(t => t.Name);
        var written = new Dictionary<string, List<ColumnRange>>();
        foreach (var step in graph.Steps.OrderBy(s => s.Backward).ThenBy(s => s is LossStep))
        {
            var (reads, writes) = (Reads(step).ToArray(), KernelGraph.Writes(step).ToArray());
            foreach (var view in reads.Concat(writes))
            {
                if (!tensors.TryGetValue(view.Tensor, out var tensor)) throw Fault(step, "names " + view.Tensor + ", which is no tensor");
                if (view.Columns is { } columns && (columns.Start < 0 || columns.Start >= columns.End || columns.End > Width(tensor).Fixed))
                    throw Fault(step, "uses columns outside of " + tensor.Name);
            }
            foreach (var view in writes.Where(w => !IsWritable(tensors[w.Tensor].Kind)))
                throw Fault(step, "writes " + view.Tensor + ", a " + ScheduleText.Lower(tensors[view.Tensor].Kind));
            foreach (var view in reads.Where(r => IsWritable(tensors[r.Tensor].Kind) && !IsTrainedGradient(tensors[r.Tensor].Kind)))
                if (!Covers(written, view, Width(tensors[view.Tensor]))) throw Fault(step, "reads " + ScheduleText.Print(view) + " before all of it is written");
            var alone = writes.Skip(step is KernelStep k ? k.InPlace : 0).ToArray();
            if (alone.Any(w => reads.Any(r => Overlap(w, r)))) throw Fault(step, "writes over what it reads");
            if (writes.SelectMany((a, i) => writes.Skip(i + 1).Select(b => (a, b))).Any(p => Overlap(p.a, p.b))) throw Fault(step, "writes one place twice");
            if (step is GemmStep g && !g.Segments.All(s => Fits(g, s, tensors))) throw Fault(step, "has operands that do not fit");
            foreach (var view in writes) (written.TryGetValue(view.Tensor, out var list) ? list
                : written[view.Tensor] = new List<ColumnRange>()).Add(Columns(view, Width(tensors[view.Tensor])));
        }
        foreach (var recipe in graph.Recipes)
            if (!recipe.Steps.SelectMany(KernelGraph.Writes).Any(w => w.Tensor == recipe.Tensor))
                throw new InvalidOperationException(stage + ": the recipe of " + recipe.Tensor + " does not write it");

        InvalidOperationException Fault(Step step, string what) => new(stage + ": " + KernelGraphText.Line(step) + " " + what);
    }

    /// <summary>Each launch has one of the kernels, of its kind and arguments, and no two kernels have one name.</summary>
    public static void Kernels(KernelGraph graph, SharedKernels kernels, string stage)
    {
        if (kernels.All.GroupBy(k => k.Name).FirstOrDefault(g => g.Count() > 1) is { } twice) throw new InvalidOperationException(stage + ": two kernels are called " + twice.Key);
        foreach (var step in graph.Steps.Concat(graph.Recipes.SelectMany(r => r.Steps)))
            if (step is KernelStep launch && kernels.Of(launch.Body) is var kernel
                && (kernel.Body.Kind != launch.Body.Kind || kernel.FirstArguments.Count != launch.Arguments.Count))
                throw new InvalidOperationException(stage + ": " + KernelGraphText.Line(step) + " has a kernel of another kind or number of arguments");
    }

    /// <summary>Launches of a fusion follow each other.</summary>
    public static void Fusions(KernelGraph graph, IReadOnlyList<FusedSteps> fused, string stage)
    {
        var next = graph.Neighbours().ToDictionary(n => (object)n.First, n => n.Second, ReferenceComparer.Instance);
        foreach (var fusion in fused)
            if (fusion.Second is { } second && !(next.TryGetValue(fusion.First, out var after) && ReferenceEquals(after, second)))
                throw new InvalidOperationException(stage + ": " + fusion.Kernel + " stands for launches that do not follow each other");
    }

    static IEnumerable<View> Reads(Step step) => step switch
    {
        GemmStep g => g.Segments.SelectMany(s => new[] { s.A, s.B }),
        KernelStep k => k.Arguments.Skip(k.Outputs),
        LossStep l => new[] { l.X, l.Table },
        _ => throw new InvalidOperationException("launches: unknown step " + step.GetType().Name),
    };

    static bool IsWritable(TensorKind kind) => kind is TensorKind.Activation or TensorKind.Gradient || IsTrainedGradient(kind);

    static bool IsTrainedGradient(TensorKind kind) => kind is TensorKind.GradA or TensorKind.GradB or TensorKind.GradWeight;

    /// <summary>Null rows: T.</summary>
    readonly record struct Area(Extent? Rows, Extent Columns);

    static bool Fits(GemmStep g, GemmSegment segment, Dictionary<string, ScheduleTensor> tensors)
    {
        var (d, a, b) = (Of(g.D), Of(segment.A), Of(segment.B));
        return g.Layout switch
        {
            GemmLayout.Nt => a.Columns == b.Columns && d.Rows == a.Rows && d.Columns == b.Rows,
            GemmLayout.Nn => a.Columns == b.Rows && d.Rows == a.Rows && d.Columns == b.Columns,
            GemmLayout.Tn => a.Rows == b.Rows && d.Rows == a.Columns && d.Columns == b.Columns,
            _ => throw new InvalidOperationException("launches: unknown layout " + g.Layout),
        };

        Area Of(View view)
        {
            var tensor = tensors[view.Tensor];
            var width = view.Columns is { } c ? new Extent(c.End - c.Start) : Width(tensor);
            return new Area(tensor.Tokens ? null : tensor.Dims[0], width);
        }
    }

    static Extent Width(ScheduleTensor tensor) => tensor.Dims.Count == 0 ? new Extent(1) : tensor.Dims[tensor.Dims.Count - 1];

    static ColumnRange Columns(View view, Extent width) => view.Columns ?? new ColumnRange(0, width.Stack >= 0 ? int.MaxValue : width.Fixed);

    static bool Overlap(View a, View b) => a.Tensor == b.Tensor && (a.Columns is not { } x || b.Columns is not { } y || (x.Start < y.End && y.Start < x.End));

    static bool Covers(Dictionary<string, List<ColumnRange>> written, View view, Extent width)
    {
        if (!written.TryGetValue(view.Tensor, out var ranges)) return false;
        var wanted = Columns(view, width);
        var reached = wanted.Start;
        foreach (var range in ranges.OrderBy(r => r.Start))
            if (range.Start <= reached) reached = Math.Max(reached, range.End);
        return reached >= wanted.End;
    }
}
