using System;
using System.Collections.Concurrent;
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
    readonly Dictionary<(int, int), Fusion> fusions;
    readonly Dictionary<string, WeightStorage> materialized;
    readonly Dictionary<string, Nf4Layout> packed = [];
    readonly ConcurrentDictionary<Launch, Accesses> accesses;
    readonly HashSet<string> streamed = [];

    /// <param name="storage">Of weights that are not resident; null: every one is.</param>
    /// <exception cref="ArgumentException">No tokens, or a weight that must be resident is to be stored in another way.</exception>
    public Shapes(Schedule schedule, int tokens, RankTable ranks, ActType act, IReadOnlyDictionary<string, WeightStorage>? storage = null)
    {
        if (tokens < 1) throw new ArgumentException($"shapes: a micro-batch of {tokens} tokens has nothing to train on.");
        Schedule = schedule;
        Tokens = tokens;
        Ranks = ranks;
        Act = act;
        accesses = new(ReferenceEqualityComparer.Instance);
        layouts = schedule.Tensors.ToDictionary(t => t.Name, t => TensorLayout.Create(t, tokens, ranks, act));
        fusions = schedule.Fusions.ToDictionary(f => (f.First, f.Second));
        WeightStorages.Check(schedule, storage ?? WeightStorages.Resident);
        materialized = (storage ?? WeightStorages.Resident).Where(s => !s.Value.IsResident).ToDictionary();
        foreach (var (name, chosen) in materialized)
        {
            if (!chosen.IsPacked)
            {
                streamed.Add(name);
                continue;
            }
            var weight = layouts[name].Tensor;
            var block = Nf4Layout.Create(weight, chosen.Format);
            packed[name] = block;
            var tensor = block.Tensor(weight);
            layouts.Add(tensor.Name, TensorLayout.Create(tensor, tokens, ranks, act));
            if (chosen.Place == WeightPlace.Host) streamed.Add(tensor.Name);
        }
    }

    Shapes(Shapes all, int firstToken, int tokens)
    {
        (Schedule, Ranks, Act, layouts, fusions) = (all.Schedule, all.Ranks, all.Act, all.layouts, all.fusions);
        (materialized, packed, streamed, DropsAdapters) = (all.materialized, all.packed, all.streamed, all.DropsAdapters);
        (FirstToken, Tokens, accesses) = (firstToken, tokens, new(ReferenceEqualityComparer.Instance));
    }

    // What launches read and write does not depend on where it rests.
    Shapes(Shapes other, IReadOnlyDictionary<string, WeightStorage> storage)
    {
        (Schedule, Ranks, Act, layouts, fusions) = (other.Schedule, other.Ranks, other.Act, other.layouts, other.fusions);
        (packed, accesses, DropsAdapters, FirstToken, Tokens) = (other.packed, other.accesses, other.DropsAdapters, other.FirstToken, other.Tokens);
        materialized = storage.Where(s => !s.Value.IsResident).ToDictionary();
        streamed = [.. materialized.Where(m => m.Value.Place == WeightPlace.Host).Select(m => m.Value.IsPacked ? Nf4Layout.NameOf(m.Key) : m.Key)];
    }

    public static Shapes Of(Schedule schedule, PlanOptions options) =>
        new(schedule, options.Tokens, options.Ranks, options.Act, options.Storage) { DropsAdapters = options.Dropout is { Probability: > 0 } && options.Ranks.Adapters.Count > 0 };

    /// <summary>The same tensors in the same formats, of which others rest on the host.</summary>
    /// <exception cref="ArgumentException">A weight has another format.</exception>
    public Shapes Placed(IReadOnlyDictionary<string, WeightStorage> storage)
    {
        foreach (var name in packed.Keys.Where(name => !storage.ContainsKey(name))) throw new ArgumentException($"shapes: {name} is packed here; say where its block rests.");
        foreach (var (name, chosen) in storage)
            if (chosen.IsPacked != packed.ContainsKey(name) || (chosen.IsPacked && materialized[name].Format != chosen.Format))
                throw new ArgumentException($"shapes: {name} is stored in another format; make shapes of their own for it.");
        return new Shapes(this, storage);
    }

    /// <summary>The same tensors, of which launches see <paramref name="tokens"/> tokens from <paramref name="firstToken"/> on.</summary>
    public Shapes Window(int firstToken, int tokens) => new(this, firstToken, tokens);

    public Schedule Schedule { get; }

    /// <summary>The first token that launches see: 0 but in a window.</summary>
    public int FirstToken { get; }

    /// <summary>How many tokens launches see: T but in a window.</summary>
    public int Tokens { get; }

    public RankTable Ranks { get; }
    public ActType Act { get; }

    /// <summary>Every tensor of the schedule, then the packed blocks of weights that have one.</summary>
    public IReadOnlyCollection<TensorLayout> Layouts => layouts.Values;

    /// <summary>Adapters have dropout in training (<see cref="AdapterDropout"/>).</summary>
    public bool DropsAdapters { get; private init; }

    /// <summary>What the host stages with every micro-batch beside the schedule's inputs, in this order.</summary>
    public IEnumerable<(string Name, int Count)> Staged =>
        DropsAdapters ? LabelRows.Inputs(Tokens).Append((AdapterDropout.Key, AdapterDropout.KeyCount)) : LabelRows.Inputs(Tokens);

    /// <summary>Some weight is not resident.</summary>
    public bool Materializes => materialized.Count > 0;

    /// <summary>The tensor is a weight that is in the arena only while it is read.</summary>
    public bool IsMaterialized(string tensor) => materialized.ContainsKey(tensor);

    /// <summary>What is stored of a weight, its elements or its packed block, rests in host memory, and copies bring it.</summary>
    public IReadOnlySet<string> Streamed => streamed;

    /// <summary>The packed block of a weight; null: its elements are stored as they are.</summary>
    public Nf4Layout? Packed(string weight) => packed.GetValueOrDefault(weight);

    /// <summary>Activations, gradients, materialized weights and what copies bring of them share the arena; everything else stays where it is for the whole run.</summary>
    public bool IsInArena(ScheduleTensor tensor) => tensor.Kind is TensorKind.Activation or TensorKind.Gradient || IsMaterialized(tensor.Name) || streamed.Contains(tensor.Name);

    /// <exception cref="ArgumentException">The schedule has no tensor of this name.</exception>
    public TensorLayout this[string tensor] =>
        layouts.TryGetValue(tensor, out var layout) ? layout : throw new ArgumentException($"schedule {Schedule.Variant}: no tensor is named '{tensor}'.");

    /// <summary>0 for what has no row per token, and for scratch, which is no tensor of the schedule.</summary>
    public long BytesPerToken(string tensor) => layouts.TryGetValue(tensor, out var layout) ? layout.BytesPerToken : 0;

    /// <summary>The tensor of a kind that belongs to a stack of adapters.</summary>
    public TensorLayout OfStack(TensorKind kind, int stack) => layouts.Values.First(l => l.Tensor.Kind == kind && l.Tensor.Stack == stack);

    public Rectangle Resolve(View view)
    {
        var layout = this[view.Tensor];
        var (column, columnEnd) = view.Columns is { } c ? (c.Start, c.End) : (0, layout.Columns);
        if (columnEnd > layout.Columns || column < 0)
            throw new ArgumentException($"schedule {Schedule.Variant}: {ScheduleText.Print(view)} is columns {column} to {columnEnd} "
                + $"of a tensor of {layout.Rows} x {layout.Columns}.");
        return layout.Tensor.Tokens ? new Rectangle(view.Tensor, FirstToken, FirstToken + Tokens, column, columnEnd)
            : new Rectangle(view.Tensor, 0, layout.Rows, column, columnEnd);
    }

    public Accesses Of(Launch launch) => accesses.GetOrAdd(launch, Find);

    Accesses Find(Launch launch)
    {
        switch (launch)
        {
            case GemmLaunch g:
                var product = Resolve(g.D);
                var factors = Segments(g).SelectMany(s => new[] { s.A, s.B });
                return new Accesses((g.Accumulate ? factors.Append(product) : factors).ToArray(), [product]);
            case KernelLaunch k:
                var arguments = k.Arguments.Select(Resolve).ToArray();
                return new Accesses([.. arguments.Take(k.InPlace), .. arguments.Skip(k.Outputs)], arguments[..k.Outputs]);
            case CrossEntropyLaunch c:
                var added = c.DTable is { } dtable ? new[] { Resolve(dtable) } : [];
                return new Accesses([Resolve(c.X), Resolve(c.Table), Resolve(c.Labels), Resolve(View(c.InverseLabels)),
                    .. c.WritesTable ? [] : added], [.. c.DX is null ? [] : new[] { Resolve(c.DX) }, Resolve(c.Loss), .. added]);
            case DequantizeLaunch d:
                return new Accesses([Resolve(d.Packed)], [Resolve(d.Weight)]);
            // The arena's side: a source must stay until its copy has ended; a destination is written from the start on, and there after the wait.
            case TransferStart { Lane: Lane.ToDevice } s:
                return new Accesses([], [Resolve(new View(s.Tensor))]);
            case TransferStart s:
                return new Accesses([Resolve(new View(s.Tensor))], []);
            case TransferWait w:
                return new Accesses([Resolve(new View(w.Start.Tensor))], []);
            default:
                throw new ArgumentException($"schedule {Schedule.Variant}: unknown launch {launch.GetType().Name}.");
        }
    }

    /// <summary>Where the adapters that take part lie in their stack's B.</summary>
    public IReadOnlyList<RankBlock> Blocks(int stack) => [.. Ranks.Adapters.Where(a => a.Stack == stack).Select(a => new RankBlock(a.OutStart, a.Out, a.RankStart, a.Padded))];

    /// <summary>The tensor of a scalar.</summary>
    public static View View(StepScalar scalar) => new(ScheduleText.Lower(scalar));

    /// <summary>The k-segments of a GEMM that are there: an adapter of rank 0 is not.</summary>
    public IReadOnlyList<(Rectangle A, Rectangle B)> Segments(GemmLaunch gemm) =>
        gemm.Segments.Select(s => (A: Resolve(s.A), B: Resolve(s.B))).Where(s => !s.A.IsEmpty && !s.B.IsEmpty).ToArray();

    /// <summary>
    /// What the launches before and at <paramref name="at"/> may be as one; null: nothing. Zeros in place of a product that is not there are a launch by
    /// themselves.
    /// </summary>
    public Fusion? FusionAt(IReadOnlyList<Launch> launches, int at) =>
        at > 0 && at < launches.Count && fusions.TryGetValue((launches[at - 1].Id, launches[at].Id), out var fusion)
            && !(launches[at - 1] is GemmLaunch g && Segments(g).Count == 0)
            // What is dropped stands between the product and the kernel that reads it.
            && !(fusion is EpilogueFusion && launches[at - 1] is GemmLaunch product && AdapterDropout.DroppedSegments(this, product).Count > 0)
            // Of adapters with several scales, G is several products.
            && !(fusion is RankGradientsFusion && launches[at] is GemmLaunch b && !AdapterScales.IsOne(Ranks, this[b.D.Tensor].Tensor.Stack)) ? fusion : null;

    /// <summary>
    /// Nothing to do: a GEMM whose D is empty, or that adds products of ranks that are not there, or a kernel whose outputs are all empty. A GEMM that adds
    /// nothing up still writes zeros.
    /// </summary>
    public bool IsEmpty(Launch launch) => launch switch
    {
        GemmLaunch g => Resolve(g.D).IsEmpty || (g.Accumulate && Segments(g).Count == 0),
        KernelLaunch k => k.Arguments.Take(k.Outputs).All(v => Resolve(v).IsEmpty),
        _ => false,
    };
}
