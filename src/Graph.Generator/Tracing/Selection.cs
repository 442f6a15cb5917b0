using System;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;
using Microsoft.CodeAnalysis.Diagnostics;

namespace Graph.Generator.Tracing;

/// <summary>
/// What this build emits, from the MSBuild properties GraphVariants and GraphTargets (eng/NativeExecutable.targets hands
/// them over); empty: all. The target "cpu" is always there, so GraphTargets=cpu means no CUDA C.
/// </summary>
sealed record Selection(EquatableArray<string> Variants, EquatableArray<string> Targets, EquatableArray<string> UnknownTargets)
{
    public static Selection Read(AnalyzerConfigOptions options)
    {
        var targets = Words(options, "GraphEmitTargets");
        return new Selection(Words(options, "GraphEmitVariants"),
            Target.All.Select(t => t.Name).Where(t => targets.Length == 0 || targets.Contains(t)).ToArray(),
            targets.Where(t => t != "cpu" && Target.Find(t) is null).ToArray());
    }

    public bool Has(string variant) => Variants.Count == 0 || Variants.Contains(variant);

    static string[] Words(AnalyzerConfigOptions options, string name) =>
        options.TryGetValue("build_property." + name, out var text) ? text.Split(new[] { ',', ' ' }, StringSplitOptions.RemoveEmptyEntries).Distinct().ToArray() : new string[0];
}
