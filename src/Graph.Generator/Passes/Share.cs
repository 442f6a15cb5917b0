using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>One kernel: its name, what it computes, the tensors of its first launch and the nodes fused there (for its header), and how often it is launched.</summary>
public sealed record Kernel(string Name, KernelBody Body, EquatableArray<View> FirstArguments, EquatableArray<string> Source, int Launches, int Layer)
{
    /// <summary>The kernel of dq that starts from the dS which the kernel of dk and dv kept.</summary>
    public string FromDs => Name + "_from_ds";
}

/// <summary>The kernels of a model, and which one a body is.</summary>
public sealed class SharedKernels(IReadOnlyList<Kernel> kernels, IReadOnlyDictionary<KernelBody, int> index)
{
    public IReadOnlyList<Kernel> All => kernels;

    public Kernel Of(KernelBody body) => kernels[index[Share.Key(body)]];

    public string Name(KernelBody body) => Of(body).Name;
}

/// <summary>
/// 11: 42 layers, a handful of bodies. Bodies that are equal up to the names of their values are one kernel, named by its place in the schedule and what its
/// first launch writes: k03_residual_pre_feedforward_layernorm.
/// </summary>
public static class Share
{
    public static SharedKernels Run(KernelGraph graph)
    {
        var kernels = new List<Kernel>();
        var index = new Dictionary<KernelBody, int>();
        void Visit(KernelBody body, string label, EquatableArray<View> arguments, EquatableArray<string> source, int layer, int launches)
        {
            var key = Key(body);
            if (index.TryGetValue(key, out var known)) kernels[known] = kernels[known] with { Launches = kernels[known].Launches + launches };
            else
            {
                index[key] = kernels.Count;
                var number = kernels.Count.ToString("00", CultureInfo.InvariantCulture);
                kernels.Add(new Kernel("k" + number + "_" + Shorten(label), body, arguments, source, launches, layer));
            }
        }
        void VisitStep(Step step, int launches)
        {
            if (step is KernelStep k) Visit(k.Body, k.Label, k.Arguments, k.Source, k.Layer, launches);
            if (step is LossStep l) Visit(l.Body, "cross_entropy", new[] { l.X, l.Table, l.Loss }, l.Source, l.Layer, launches);
        }
        foreach (var step in graph.Steps) VisitStep(step, 1);
        foreach (var recipe in graph.Recipes)
            foreach (var step in recipe.Steps) VisitStep(step, 0);
        return new SharedKernels(kernels, index);
    }

    /// <summary>The body with its values numbered instead of named: equal keys are equal kernels.</summary>
    internal static KernelBody Key(KernelBody body)
    {
        if (body is not RowBody row) return body;
        var numbers = new Dictionary<string, string>();
        string Number(string name) => numbers.TryGetValue(name, out var known) ? known : numbers[name] = "v" + numbers.Count.ToString(CultureInfo.InvariantCulture);
        Expr Value(Expr e) => e.Renamed(Number);
        return row with
        {
            Outputs = row.Outputs.Select(o => o with { Name = Number(o.Name) }).ToArray(),
            Inputs = row.Inputs.Select(i => i with { Name = Number(i.Name) }).ToArray(),
            Statements = row.Statements.Select(s => s switch
            {
                RowStatement.Let let => new RowStatement.Let(Number(let.Name), Value(let.Value), ""),
                RowStatement.LetRow let => new RowStatement.LetRow(Number(let.Name), Value(let.Value)),
                RowStatement.Reduce reduce => new RowStatement.Reduce(Number(reduce.Name), Value(reduce.Value)),
                RowStatement.Store store => new RowStatement.Store(Number(store.Name)),
                RowStatement.StoreRow store => (RowStatement)new RowStatement.StoreRow(Number(store.Name)),
                _ => throw new InvalidOperationException("share: unknown statement " + s.GetType().Name),
            }).ToArray(),
        };
    }

    // Long chains of fused outputs keep the first and last name.
    static string Shorten(string label) => label.Length <= 64 ? label : label.Substring(0, 40).TrimEnd('_') + "_etc";
}
