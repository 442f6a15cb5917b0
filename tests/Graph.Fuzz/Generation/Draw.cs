using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;

namespace Graph.Fuzz.Generation;

/// <summary>
/// Random choices. System.Random with a seed gives the same numbers on every machine and version. A model takes only some of the rare choices, and these the
/// more often: one with all of them would nearly always show the same few faults (swarm testing, Groce et al. 2012). What is rare says its place in the source.
/// </summary>
/// <param name="variety">Share of rare choices that the model has; null: drawn.</param>
sealed class Draw(int seed, double? variety)
{
    readonly Random random = new(seed);
    readonly double variety = variety ?? new[] { 0, 0.1, 0.1, 0.1, 0.25, 0.25, 0.25, 0.5, 0.5, 1 }[new Random(seed ^ 0x5eed).Next(10)];

    public bool Chance(double p) => random.NextDouble() < p;

    /// <summary>A choice that most models leave out.</summary>
    public bool Rarely(double p, [CallerLineNumber] int line = 0, [CallerMemberName] string member = "") => Has(member, line) && Chance(p);

    public int Next(int end) => random.Next(end);
    public int Between(int first, int last) => random.Next(first, last + 1);
    public T Of<T>(params IReadOnlyList<T> list) => list[random.Next(list.Count)];

    /// <summary>A value near one, of either sign, with few digits.</summary>
    public double Number() => Of(0.25, 0.5, 0.75, 1.25, 1.5, 2) * (Chance(0.25) ? -1 : 1);

    /// <summary>One of these, by weight. The first is what a model without rarities has.</summary>
    public T Weighted<T>((double Weight, T Value) first, (double Weight, T Value)[] rare, [CallerLineNumber] int line = 0, [CallerMemberName] string member = "")
    {
        var list = rare.Where((_, i) => Has(member, line + 1000 * i)).Prepend(first).ToArray();
        var at = random.NextDouble() * list.Sum(c => c.Weight);
        foreach (var (weight, value) in list)
            if ((at -= weight) < 0) return value;
        return first.Value;
    }

    bool Has(string member, int place) => new Random(unchecked(member.Aggregate(seed * 31 + place, (hash, c) => hash * 31 + c))).NextDouble() < variety;
}
