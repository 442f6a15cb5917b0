using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Finetune.Adapters;

/// <summary>The adapter of one linear: A [Rank, In] and B [Out, Rank], fp32, row-major. Linear is the schedule's name, for example model.layers.0.self_attn.q_proj.</summary>
public sealed record AdapterModule(string Linear, int Rank, float[] A, float[] B)
{
    /// <summary>Null: the adapter's.</summary>
    public double? Alpha { get; init; }
}

/// <summary>A LoRA adapter as PEFT stores it: y += scale · (x·Aᵀ)·Bᵀ with scale α/r, or α/√r with <paramref name="RsLora"/>.</summary>
/// <param name="Rank">Of modules, unless they have their own.</param>
/// <param name="Alpha">Of modules, unless they have their own.</param>
/// <param name="Targets">Module names that have adapters: last parts such as q_proj, or whole names.</param>
/// <param name="Layers">The decoder layers with adapters, or null for all.</param>
/// <param name="Dropout">Of its inputs, in training; what it computes is without.</param>
public sealed record AdapterFile(int Rank, double Alpha, bool RsLora, IReadOnlyList<string> Targets,
    IReadOnlyList<AdapterModule> Modules, IReadOnlyList<int>? Layers = null, double Dropout = 0)
{
    /// <summary>Of modules without rank and alpha of their own.</summary>
    public double Scale => ScaleOf(Alpha, Rank, RsLora);

    /// <summary>What multiplies (x·Aᵀ)·Bᵀ.</summary>
    public static double ScaleOf(double alpha, int rank, bool rsLora) => rank == 0 ? 0 : alpha / (rsLora ? Math.Sqrt(rank) : rank);

    /// <summary>SHA-256 of its values.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var module in Modules)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{module.Linear} {module.Rank} ")));
            foreach (var values in new[] { module.A, module.B }) hash.AppendData(MemoryMarshal.AsBytes(values.AsSpan()));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Rank of a linear, 0 where it has no adapter: what <c>RankTable.Create</c> asks.</summary>
    public int RankOf(string linear) => Modules.FirstOrDefault(m => m.Linear == linear)?.Rank ?? 0;
}

/// <summary>Values of some linears that differ from the rest, by names as PEFT's rank_pattern and alpha_pattern have them: no linear is meant by two of them.</summary>
static class ModulePatterns
{
    /// <summary>By last names where all adapted linears of a name have one value, else by whole names.</summary>
    public static IReadOnlyList<(string Name, T Value)> Of<T>(IReadOnlyList<AdapterModule> modules, Func<AdapterModule, T> value, Func<T, bool> differs) =>
    [
        .. modules.GroupBy(m => LinearNames.Last(m.Linear)).SelectMany(g => g.Select(value).Distinct().Count() == 1
            ? new[] { (Name: g.Key, Value: value(g.First())) } : g.Select(m => (Name: m.Linear, Value: value(m)))).Where(p => differs(p.Value)),
    ];
}
