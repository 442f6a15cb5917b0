using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>One emitted text that has to run. Index: its place in <see cref="All"/>, which parent and child processes compute alike.</summary>
sealed record KernelJob(int Index, string Variant, string Target, KernelSource Source, string Fingerprint)
{
    // A text that several targets share is run as machine code of the newest.
    static readonly string[] Targets = [.. Graph.Runtime.Schedules.Target.All.OrderByDescending(t => t.HasWgmma).ThenByDescending(t => t.HasBf16).Select(t => t.Name)];

    internal ActType Act => new CudaTarget(Target, Target).Act;
    internal string Name => Source.Info.Name;
    internal KernelKind Kind => Source.Info.Kind;

    /// <summary>The product of the logits with its sums, or the cross entropy that starts from them.</summary>
    internal bool IsOfRowSums => Kind == KernelKind.CrossEntropyFromSums || Kind == KernelKind.GemmEpilogue && KernelCases.Head(Variant).Sums?.Product == Name;

    /// <summary>
    /// Its arguments are those of a launch of the schedule, so that the cpu kernel of that launch is its reference (<see cref="KernelCases"/>); others have
    /// checks of their own.
    /// </summary>
    internal bool HasCases => Kind switch
    {
        KernelKind.Row or KernelKind.Rope or KernelKind.CrossEntropy or KernelKind.TokenSum or KernelKind.EmbeddingGradient => true,
        KernelKind.AttentionForward or KernelKind.AttentionDelta or KernelKind.AttentionDkdv
            or KernelKind.AttentionDkdvToDs or KernelKind.AttentionDq or KernelKind.AttentionDqFromDs => true,
        KernelKind.Gemm or KernelKind.GemmTma or KernelKind.GemmEpilogue or KernelKind.CrossEntropyFromSums or KernelKind.RankGradients or KernelKind.RankSum
            or KernelKind.LabelRows or KernelKind.Optimizer or KernelKind.Dequantize or KernelKind.Dropout => false,
        _ => throw new CheckException($"{Name} is of kind {Kind}, which has no check here"),
    };

    /// <summary>Kernels of the same variant and target.</summary>
    internal IEnumerable<KernelSource> Sources(Func<KernelInfo, bool> wanted) => Models.Find(Variant).Kernels(Target).Kernels.Where(k => wanted(k.Info));

    /// <summary>Every distinct text of every variant and target, once: layers, variants and targets share many.</summary>
    internal static IReadOnlyList<KernelJob> All()
    {
        var jobs = new List<KernelJob>();
        var seen = new HashSet<(string, string)>();
        foreach (var variant in Models.Names)
            foreach (var target in Targets.Where(Models.Find(variant).Targets.Contains))
                foreach (var source in Models.Find(variant).Kernels(target).Kernels)
                {
                    // The optimizer's texts hold several functions each, so the name belongs to the identity.
                    var fingerprint = KernelFingerprint.Of(source.Text);
                    if (seen.Add((fingerprint, source.Info.Name))) jobs.Add(new KernelJob(jobs.Count, variant, target, source, fingerprint));
                }
        return jobs;
    }
}
