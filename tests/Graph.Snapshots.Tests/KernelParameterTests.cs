using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.RegularExpressions;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Graph.Tests;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>
/// A kernel's parameters are cells that the launcher fills by position, and the driver reads what the function's signature says:
/// a pitch too many or too few moves everything behind it, silently.
/// So the parameter list of every emitted text is compared with what a session packs for it.
/// </summary>
public sealed class KernelParameterTests
{
    // The kernel of dk and dv has further parameters where it can keep dS.
    const string ToDs = " to dS";

    public static TheoryData<string> All => new(Gemma2Size.All.Select(s => s.Name).Concat(Emitted.Functions.Keys));

    [Theory]
    [MemberData(nameof(All))]
    public void Parameters_EveryKernelOfEveryTarget_AreWhatTheLauncherPacks(string variant)
    {
        var packed = Packed(variant);
        var wrong = new List<string>();
        foreach (var kernel in Emitted.Kernels(variant))
        {
            // D, A and B with their pitches (or maps of both segments' A and B and of D), then m, n, k and alpha, with maps the second k and the row limit too,
            // in the launcher's order.
            string[] lists = (KernelKind)(int)kernel.Info.Kind switch
            {
                KernelKind.GemmTma => ["map map map map map int int int int float pointer int"],
                KernelKind.GemmEpilogue => ["map map map map map int int int int float pointer int int Epilogue"],
                KernelKind.Gemm => ["pointer int pointer int pointer int int int int float"
                    + (kernel.Info.Gemm is { Layout: Generator.Schedules.GemmLayout.Tn, Accumulate: true } ? " int" : "")],
                KernelKind.RankSum => ["pointer int pointer int pointer pointer Linears int int int int int int float"],
                KernelKind.RankGradients => ["pointer pointer pointer int pointer int pointer int Linears int int int int"],
                _ when kernel.Info.Name == KernelArguments.AddUnitsKernel =>
                    [Cells(KernelArguments.AddUnits(
                        new BoundGemm("", 0, 0, 0, Runtime.Schedules.GemmLayout.Tn, ElementType.F32, 0, 64, 0, 8, 0, 8, 8, 64, 8, 1, true), 0, 1).Arguments)],
                KernelKind.AttentionDkdvToDs => packed.TryGetValue(kernel.Info.Name + ToDs, out var found) ? [.. found] : [],
                _ => packed.TryGetValue(kernel.Info.Name, out var found) ? [.. found] : [],
            };
            var declared = Declared(kernel);
            if (lists.Length == 0) wrong.Add($"{kernel.Target} {kernel.Info.Name} is launched by no session");
            wrong.AddRange(lists.Where(l => l != declared).Select(l => $"{kernel.Target} {kernel.Info.Name} declares ({declared}) but is given ({l})"));
        }
        Assert.Empty(wrong);
    }

    /// <summary>
    /// By kernel, every parameter list that a session packs: with adapters everywhere, on one linear and on none (whose views are empty),
    /// and with every recipe in the backward, linears in NF4 and dropout.
    /// </summary>
    static Dictionary<string, HashSet<string>> Packed(string variant)
    {
        var packed = new Dictionary<string, HashSet<string>>();
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var dkdv = schedule.Backward.OfType<KernelLaunch>().Where(l => l.Kind == KernelKind.AttentionDkdv).Select(l => l.Kernel).ToHashSet();
        foreach (var recompute in new[] { false, true })
            foreach (var rankOf in new Func<string, int>[] { _ => 8, name => name.EndsWith(".q_proj", StringComparison.Ordinal) ? 8 : 0, _ => 0 })
                foreach (var launch in RecordedLaunches.Of(variant, recompute, rankOf,
                    recompute ? WeightFormat.Nf4 : WeightFormat.Act, recompute ? new DropoutOptions(0.1, 0) : null).OfType<BoundKernel>())
                {
                    Add(launch.Kernel, launch.Arguments);
                    foreach (var keeps in launch.ScoreGradients is null ? [false] : new[] { true, false })
                        if (dkdv.Contains(launch.Kernel)) Add(launch.Kernel + ToDs, KernelArguments.Of(launch, KernelKind.AttentionDkdvToDs, keeps));
                    if (launch.ScoreGradients is { Starts: true } kept) Add(kept.DqFromDs, KernelArguments.Of(launch, KernelKind.AttentionDqFromDs, true));
                    if (launch.Sums is { } sums) Add(sums.Kernels.Kernel, KernelArguments.Of(launch, KernelKind.CrossEntropyFromSums, false));
                }
        // The recipe of a tensor that no backward reads is emitted, but no plan can choose it: only its tensors can say what it would be given.
        var shapes = new Shapes(schedule, 96, RankTable.Create(schedule, _ => 8), ActType.Bf16);
        foreach (var launch in schedule.Recipes.SelectMany(r => r.Launches).OfType<KernelLaunch>().Where(l => !packed.ContainsKey(l.Kernel)))
            packed[launch.Kernel] = [string.Join(' ', launch.Arguments.SelectMany(a => shapes[a.Tensor].IsMatrix ? new[] { "pointer", "int" } : ["pointer"]).Append("int"))];
        return packed;

        void Add(string kernel, IEnumerable<BoundArgument> arguments)
        {
            if (!packed.TryGetValue(kernel, out var lists)) packed[kernel] = lists = [];
            lists.Add(Cells(arguments));
        }
    }

    static string Cells(IEnumerable<BoundArgument> arguments) => string.Join(' ', arguments.SelectMany(a => a.Pitch != 0 ? new[] { "pointer", "int" } : ["pointer"]).Append("int"));

    /// <summary>Types of the parameters, in order: pointer, int, float, map (128 bytes by value).</summary>
    static string Declared(EmittedText kernel)
    {
        // Templates say KERNEL_NAME, and the kernel's own lines define it.
        var name = kernel.Text.Contains("#define KERNEL_NAME " + kernel.Info.Name + "\n", StringComparison.Ordinal) ? "KERNEL_NAME" : kernel.Info.Name;
        var match = Regex.Match(kernel.Text, @"__global__[^;{]*?\b" + Regex.Escape(name) + @"\s*\(([^)]*)\)");
        Assert.True(match.Success, $"{kernel.Target} {kernel.Info.Name}: its text has no __global__ function of that name");
        // The product's template has parameters that only an epilogue needs.
        var parameters = Regex.Replace(match.Groups[1].Value, @"#if (\w+)\n(.*?)#endif\n",
            m => kernel.Text.Contains($"#define {m.Groups[1].Value} 0\n", StringComparison.Ordinal) ? "" : m.Groups[2].Value, RegexOptions.Singleline);
        return string.Join(' ', parameters.Split(',').Select(p => p.Contains('*') ? "pointer"
            : p.Contains("__grid_constant__ tensor_map", StringComparison.Ordinal) ? "map"
            : Regex.Match(p, @"^\s*(?:const\s+)?(?:__grid_constant__\s+)?(\w+)").Groups[1].Value));
    }
}
