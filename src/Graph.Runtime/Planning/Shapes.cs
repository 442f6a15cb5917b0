using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>What a launch reads and writes. A pure overwrite makes what was there before irrelevant; an in-place output or an accumulating GEMM also reads.</summary>
public readonly record struct Accesses(IReadOnlyList<Rectangle> Reads, IReadOnlyList<Rectangle> Writes);

/// <summary>A schedule whose symbolic sizes are numbers: T tokens, R ranks, and the activation type.</summary>
public sealed class Shapes
{
    readonly Dictionary<string, TensorLayout> layouts;

    public Shapes(Schedule schedule, int tokens, RankTable ranks, ActType act)
    {
        if (tokens < 1) throw new ArgumentException($"shapes: a micro-batch of {tokens} tokens has nothing to train on.");
        Schedule = schedule;
        Tokens = tokens;
        Ranks = ranks;
        Act = act;
        layouts = schedule.Tensors.ToDictionary(t => t.Name, t => TensorLayout.Create(t, tokens, ranks, act));
    }

    public Schedule Schedule { get; }
    public int Tokens { get; }
    public RankTable Ranks { get; }
    public ActType Act { get; }
    public IReadOnlyCollection<TensorLayout> Layouts => layouts.Values;

    /// <exception cref="ArgumentException">The schedule has no tensor of this name.</exception>
    public TensorLayout this[string tensor] =>
        layouts.TryGetValue(tensor, out var layout) ? layout : throw new ArgumentException($"schedule {Schedule.Variant}: no tensor is named '{tensor}'.");

    /// <summary>The tensor of a kind that belongs to a group.</summary>
    public TensorLayout OfGroup(TensorKind kind, int group) => layouts.Values.First(l => l.Tensor.Kind == kind && l.Tensor.Group == group);

    public Rectangle Resolve(View view)
    {
        var layout = this[view.Tensor];
        var (row, rowEnd) = view.Rows is { } r ? (Ranks.Resolve(r.Start), Ranks.Resolve(r.End)) : (0, layout.Rows);
        var (column, columnEnd) = view.Cols is { } c ? (Ranks.Resolve(c.Start), Ranks.Resolve(c.End)) : (0, layout.Columns);
        if (rowEnd > layout.Rows || columnEnd > layout.Columns || row < 0 || column < 0)
            throw new ArgumentException($"schedule {Schedule.Variant}: {ScheduleText.Print(view)} is [{row}:{rowEnd},{column}:{columnEnd}] of a tensor of {layout.Rows} x {layout.Columns}.");
        return new Rectangle(view.Tensor, row, rowEnd, column, columnEnd);
    }

    public Accesses Of(Launch launch)
    {
        switch (launch)
        {
            case GemmLaunch g:
                var product = Resolve(g.D);
                IEnumerable<Rectangle> factors = [Resolve(g.A), Resolve(g.B)];
                return new Accesses((g.Accumulate ? factors.Append(product) : factors).ToArray(), [product]);
            case KernelLaunch k:
                var arguments = k.Arguments.Select(Resolve).ToArray();
                return new Accesses([.. arguments.Take(k.InPlace), .. arguments.Skip(k.Outputs)], arguments[..k.Outputs]);
            case CrossEntropyLaunch c:
                return new Accesses([Resolve(c.X), Resolve(c.Table), Resolve(c.Labels), Resolve(new View(c.InverseLabels))], c.DX is null ? [Resolve(c.Loss)] : [Resolve(c.DX), Resolve(c.Loss)]);
            default:
                throw new ArgumentException($"schedule {Schedule.Variant}: unknown launch {launch.GetType().Name}.");
        }
    }

    /// <summary>Nothing to do: a GEMM with an extent of 0 (an adapter that is not there), or a kernel whose outputs are all empty.</summary>
    public bool IsEmpty(Launch launch) => launch switch
    {
        GemmLaunch g => Resolve(g.D).IsEmpty || Resolve(g.A).IsEmpty || Resolve(g.B).IsEmpty,
        KernelLaunch k => k.Arguments.Take(k.Outputs).All(v => Resolve(v).IsEmpty),
        _ => false,
    };
}
