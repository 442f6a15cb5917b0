using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Where one linear's adapter lies in its group: A [Padded, In] in rows RankStart.. of GradA, B [Out, Padded] in rows OutStart.. and columns RankStart.. of GradB.
/// Rows of A and columns of B from Rank to Padded are zero and stay zero: their gradients are products with zeros.
/// </summary>
/// <param name="Linear">Module name in the checkpoint, for example model.layers.0.self_attn.q_proj.</param>
/// <param name="Rank">The rank asked for.</param>
/// <param name="Padded">The bucket that holds it.</param>
public sealed record AdapterSlot(string Linear, int Group, int In, int Out, int OutStart, int Rank, int Padded, int RankStart);

/// <summary>The ranks of a run: which linears have an adapter, and R of every group (the sum of its linears' padded ranks; 0 without adapters).</summary>
public sealed class RankTable
{
    /// <summary>Padded ranks: multiples of the tensor cores' k, few enough that kernels see few shapes.</summary>
    public static IReadOnlyList<int> Buckets { get; } = [16, 32, 64, 128, 256];

    readonly Dictionary<int, int> rankOfGroup = [];

    RankTable(IReadOnlyList<AdapterSlot> adapters, IEnumerable<LinearGroup> groups)
    {
        Adapters = adapters;
        foreach (var group in groups) rankOfGroup[group.Id] = 0;
        foreach (var slot in adapters) rankOfGroup[slot.Group] += slot.Padded;
    }

    /// <summary>Adapters in the order of the schedule's groups and of the linears in them.</summary>
    public IReadOnlyList<AdapterSlot> Adapters { get; }

    /// <summary>R of a group.</summary>
    public int this[int group] => rankOfGroup[group];

    public int Resolve(Extent extent) => extent.Group < 0 ? extent.Fixed : extent.Fixed + rankOfGroup[extent.Group];

    /// <summary>One rank for every linear whose name is, or ends in a dot and, one of <paramref name="targets"/> (PEFT's rule).</summary>
    /// <exception cref="ArgumentException">A target matches no linear, or the rank is above 256 or below 1.</exception>
    public static RankTable Create(Schedule schedule, int rank, IReadOnlyCollection<string> targets)
    {
        if (rank < 1) throw new ArgumentException($"ranks: rank {rank} is not a rank; use 1 to {Buckets[^1]}.");
        var linears = schedule.Groups.SelectMany(g => g.Linears).Select(l => l.Name).ToArray();
        foreach (var target in targets)
            if (!linears.Any(l => Matches(l, target)))
                throw new ArgumentException($"ranks: no linear of {schedule.Variant} is named '{target}'; the names are {string.Join(", ", linears.Select(LastName).Distinct())}.");
        return Create(schedule, name => targets.Any(t => Matches(name, t)) ? rank : 0);
    }

    /// <summary>A rank per linear; 0 where a linear has no adapter.</summary>
    /// <exception cref="ArgumentException">A rank is above 256 or negative, or the model's code gives the linear no adapter.</exception>
    public static RankTable Create(Schedule schedule, Func<string, int> rankOf)
    {
        var slots = new List<AdapterSlot>();
        var trained = schedule.Tensors.Where(t => t.Kind == TensorKind.GradA).Select(t => t.Group).ToHashSet();
        foreach (var group in schedule.Groups)
        {
            int outStart = 0, rankStart = 0;
            foreach (var linear in group.Linears)
            {
                var rank = rankOf(linear.Name);
                if (rank != 0)
                {
                    if (!trained.Contains(group.Id)) throw new ArgumentException($"ranks: the model {schedule.Variant} traces {linear.Name} without an adapter; leave '{LastName(linear.Name)}' out of the targets.");
                    var slot = new AdapterSlot(linear.Name, group.Id, group.In, linear.Out, outStart, rank, Bucket(linear.Name, rank), rankStart);
                    rankStart += slot.Padded;
                    slots.Add(slot);
                }
                outStart += linear.Out;
            }
        }
        return new RankTable(slots, schedule.Groups);
    }

    static int Bucket(string linear, int rank)
    {
        if (rank < 0 || rank > Buckets[^1]) throw new ArgumentException($"ranks: rank {rank} of {linear} is outside 0 to {Buckets[^1]}.");
        return Buckets.First(b => b >= rank);
    }

    static bool Matches(string linear, string target) =>
        linear == target || (linear.EndsWith(target, StringComparison.Ordinal) && linear[linear.Length - target.Length - 1] == '.');

    static string LastName(string linear) => linear[(linear.LastIndexOf('.') + 1)..];
}
