using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Where one adapter lies in its stack: A [Padded, In] in rows RankStart.. of the stack's A, B [Out, Padded] in rows OutStart.. and columns RankStart.. of its
/// B; their gradients likewise.
/// Rows of A and columns of B from Rank to Padded are zero and stay zero.
/// </summary>
/// <param name="Linear">The adapter's name, for example model.layers.0.self_attn.q_proj.</param>
/// <param name="Rank">The rank asked for.</param>
/// <param name="Padded">The bucket that holds it.</param>
/// <param name="Scale">What multiplies (x·Aᵀ)·Bᵀ; null: the run's lora_scale.</param>
public sealed record AdapterSlot(string Linear, int Stack, int In, int Out, int OutStart, int Rank, int Padded, int RankStart, double? Scale = null);

/// <summary>The ranks of a run: which adapters take part, and R of every stack (the sum of its adapters' padded ranks; 0 where none does).</summary>
public sealed class RankTable
{
    /// <summary>Padded ranks: multiples of the tensor cores' k, few enough that kernels see few shapes.</summary>
    public static IReadOnlyList<int> Buckets { get; } = [16, 32, 64, 128, 256];

    readonly Dictionary<int, int> rankOfStack = [];

    RankTable(IReadOnlyList<AdapterSlot> adapters, IEnumerable<AdapterSet> sets)
    {
        Adapters = adapters;
        foreach (var set in sets) rankOfStack[set.Id] = 0;
        foreach (var slot in adapters) rankOfStack[slot.Stack] += slot.Padded;
    }

    /// <summary>In the order of the schedule's stacks and of the adapters in them.</summary>
    public IReadOnlyList<AdapterSlot> Adapters { get; }

    /// <summary>R of a stack.</summary>
    public int this[int stack] => rankOfStack[stack];

    public int Resolve(Extent extent) => extent.Stack < 0 ? extent.Fixed : rankOfStack[extent.Stack];

    /// <summary>One rank for every adapter whose name is, or ends in a dot and, one of <paramref name="targets"/> (PEFT's rule).</summary>
    /// <exception cref="ArgumentException">A target matches no adapter, or the rank is above 256 or below 1.</exception>
    public static RankTable Create(Schedule schedule, int rank, IReadOnlyCollection<string> targets)
    {
        if (rank < 1) throw new ArgumentException($"ranks: rank {rank} is not a rank; use 1 to {Buckets[^1]}.");
        var adapters = schedule.Adapters.SelectMany(s => s.Adapters).Select(a => a.Name).ToArray();
        foreach (var target in targets)
            if (!adapters.Any(a => Matches(a, target))) throw new ArgumentException(NoAdapter(schedule, target, adapters));
        return Create(schedule, name => targets.Any(t => Matches(name, t)) ? rank : 0);
    }

    /// <summary>A rank per adapter; 0: it takes no part.</summary>
    /// <param name="scaleOf">An adapter's own scale; null: all have the run's.</param>
    /// <exception cref="ArgumentException">A rank is above 256 or negative, or scales differ where the model reads them as one.</exception>
    public static RankTable Create(Schedule schedule, Func<string, int> rankOf, Func<string, double>? scaleOf = null)
    {
        var slots = new List<AdapterSlot>();
        foreach (var set in schedule.Adapters)
        {
            var rankStart = 0;
            foreach (var adapter in set.Adapters)
            {
                if (rankOf(adapter.Name) is not (not 0 and var rank)) continue;
                var slot = new AdapterSlot(adapter.Name, set.Id, set.In, adapter.Out, adapter.OutStart, rank, Bucket(adapter.Name, rank),
                    rankStart, scaleOf?.Invoke(adapter.Name));
                rankStart += slot.Padded;
                slots.Add(slot);
            }
        }
        if (schedule.SharedScale && slots.FirstOrDefault(s => s.Scale != slots[0].Scale) is { } other)
            throw new ArgumentException(FormattableString.Invariant($"ranks: {schedule.Variant} reads LoraScale elsewhere ")
                + FormattableString.Invariant($"than on its own adapter's product, so all adapters must have one scale, ")
                + FormattableString.Invariant($"but {slots[0].Linear} has {slots[0].Scale} ")
                + FormattableString.Invariant($"and {other.Linear} {other.Scale}; give them the same alpha and rank."));
        return new RankTable(slots, schedule.Adapters);
    }

    static string NoAdapter(Schedule schedule, string target, IReadOnlyList<string> adapters)
    {
        var names = string.Join(", ", adapters.Select(LastName).Distinct());
        var frozen = schedule.Tensors.Where(t => t.Kind == TensorKind.Weight).SelectMany(t => t.Stored())
            .Any(s => s.Name.EndsWith(".weight", StringComparison.Ordinal) && Matches(s.Name[..^7], target));
        return frozen ? $"ranks: the model {schedule.Variant} traces '{target}' without an adapter; leave it out of the targets, which can be {names}."
            : $"ranks: no linear of {schedule.Variant} is named '{target}'; the names are {names}.";
    }

    static int Bucket(string adapter, int rank)
    {
        if (rank < 0 || rank > Buckets[^1]) throw new ArgumentException($"ranks: rank {rank} of {adapter} is outside 0 to {Buckets[^1]}.");
        return Buckets.First(b => b >= rank);
    }

    static bool Matches(string adapter, string target) =>
        adapter == target || (adapter.EndsWith(target, StringComparison.Ordinal) && adapter[adapter.Length - target.Length - 1] == '.');

    static string LastName(string adapter) => adapter[(adapter.LastIndexOf('.') + 1)..];
}
