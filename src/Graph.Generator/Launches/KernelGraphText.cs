using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Schedules;

namespace Graph.Generator.Launches;

/// <summary>The stages after the tensor graph as text: launches on placed tensors, shared kernels, fusions. Same graph, same bytes.</summary>
public static class KernelGraphText
{
    /// <summary>A launch a line, recipes after them.</summary>
    public static string Launches(KernelGraph graph)
    {
        var text = new StringBuilder();
        foreach (var (backward, title) in new[] { (false, "forward\n"), (true, "backward\n") })
        {
            text.Append(title);
            foreach (var step in graph.Steps.Where(s => s.Backward == backward)) text.Append("  ").Append(Line(step)).Append('\n');
        }
        foreach (var recipe in graph.Recipes) text.Append("recipe ").Append(recipe.Tensor).Append('\n').Append(string.Concat(recipe.Steps.Select(s => "  " + Line(s) + "\n")));
        return text.ToString();
    }

    /// <summary>What each kernel computes, once, and how many launches share it.</summary>
    public static string Kernels(SharedKernels kernels)
    {
        var text = new StringBuilder();
        foreach (var kernel in kernels.All)
        {
            text.Append(kernel.Name).Append(" : ").Append(ScheduleText.Lower(kernel.Body.Kind)).Append(", launches ").Append(NumberText.Int(kernel.Launches)).Append('\n');
            if (kernel.Body is RowBody row) foreach (var statement in row.Statements) text.Append("  ").Append(Line(statement)).Append('\n');
            else foreach (var value in kernel.Body.Expressions) text.Append("  ").Append(ExprText.Print(value)).Append('\n');
        }
        return text.ToString();
    }

    public static string Fusions(IReadOnlyList<FusedSteps> fused) =>
        string.Concat(fused.Select(f => f.Kernel + "\n  " + Line(f.First) + "\n" + (f.Second is { } second ? "  " + Line(second) + "\n" : "")));

    public static string Line(Step step) => "L" + NumberText.Int(step.Layer) + " " + step switch
    {
        GemmStep g => "gemm " + ScheduleText.Lower(g.Layout) + " " + View(g.D) + (g.Accumulate ? " += "
            : " = ") + string.Join(" + ", g.Segments.Select(s => View(s.A) + " * " + View(s.B)))
            + (g.Scale.IsOne ? "" : " scale=" + g.Scale),
        KernelStep k => ScheduleText.Lower(k.Body.Kind) + " " + k.Label + " out=" + NumberText.Int(k.Outputs) + " inplace=" + NumberText.Int(k.InPlace)
            + string.Concat(k.Arguments.Select(a => " " + View(a))),
        LossStep l => "cross_entropy dx=" + (l.DX is { } dx ? View(dx) : "-") + (l.DTable is { } dtable ? " dtable=" + View(dtable) : "")
            + " loss=" + View(l.Loss) + " x=" + View(l.X) + " table=" + View(l.Table),
        _ => throw new InvalidOperationException("launches: unknown step " + step.GetType().Name),
    };

    static string Line(RowStatement statement) => statement switch
    {
        RowStatement.Let let => let.Name + "[c] = " + ExprText.Print(let.Value),
        RowStatement.LetRow let => let.Name + " = " + ExprText.Print(let.Value),
        RowStatement.Reduce reduce => reduce.Name + " = sum " + ExprText.Print(reduce.Value),
        RowStatement.Store store => "store " + store.Name + "[c]",
        RowStatement.StoreRow store => "store " + store.Name,
        _ => throw new InvalidOperationException("launches: unknown statement " + statement.GetType().Name),
    };

    static string View(View view) => ScheduleText.Print(view);
}
