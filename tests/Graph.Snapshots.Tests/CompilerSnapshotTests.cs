using System.Linq;
using System.Text;
using Graph.Generator.Schedules;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Xunit;
using Graph.Tests;

namespace Graph.Snapshots.Tests;

/// <summary>What the compiler makes of Gemma 2, as texts to read: graphs, kernels, schedule and CUDA C of small configurations, and a line per kernel of the real sizes.</summary>
public sealed class CompilerSnapshotTests
{
    public static TheoryData<string> Small => new(Gemma2Size.Small.Select(s => s.Name));
    public static TheoryData<string> All => new(Gemma2Size.Small.Concat(Gemma2Size.Real).Select(s => s.Name));

    /// <summary>The graph as the user wrote it, and as it is fused: with its backward, linears of one input stacked, sums of products merged.</summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void Graph_SmallConfiguration_IsApproved(string variant) =>
        Snapshot.Verify(variant, "graph", string.Concat(Emitted.Stages(variant).Where(s => s.Stage is "01-import" or "09-copies").Select(s => $"== {s.Stage}\n{s.Text}\n")));

    [Theory]
    [MemberData(nameof(Small))]
    public void Schedule_SmallConfiguration_IsApproved(string variant) => Snapshot.Verify(variant, "schedule", Emitted.Model(variant).ScheduleText);

    /// <summary>The model's own lines for sm_90a; a line such as "@gemm.cu" stands for the template of that name.</summary>
    [Theory]
    [MemberData(nameof(Small))]
    public void Cuda_SmallConfiguration_IsApproved(string variant)
    {
        var text = new StringBuilder();
        foreach (var kernel in Emitted.Model(variant).Targets.Single(t => t.Target == "sm_90a").Kernels)
            text.Append("// ======== ").Append(kernel.Info.Name).Append('\n').Append(string.Join("\n", kernel.Parts)).Append("\n\n");
        Snapshot.Verify(variant, "cu", text.ToString());
    }

    [Theory]
    [MemberData(nameof(All))]
    public void Kernels_EveryConfiguration_AreApproved(string variant) =>
        Snapshot.Verify(variant, "kernels", string.Concat(
            from target in Emitted.Model(variant).Targets
            from kernel in target.Kernels
            let i = kernel.Info
            select $"{target.Target,-7} {i.Name,-56} {ScheduleText.Lower(i.Kind),-22} block {i.Block,4}  "
                + $"shared {i.SharedBytes,6}  tile {i.TileRows}x{i.TileCols}  grid y {i.GridY}\n"));

    [Theory]
    [MemberData(nameof(All))]
    public void Compile_SameTraceTwice_GivesTheSameBytes(string variant)
    {
        var again = Graph.Generator.Compiler.Compile(variant, Gemma2Trace.Of(Gemma2Size.Find(variant)), Graph.Generator.Schedules.Target.All);
        Assert.Equal(Emitted.Model(variant), again);
    }

    /// <summary>The runtime's parser reads what the generator's printer wrote, and prints the same bytes.</summary>
    [Theory]
    [MemberData(nameof(All))]
    public void Schedule_ReadByTheRuntime_PrintsTheSame(string variant)
    {
        var text = Emitted.Model(variant).ScheduleText;
        Assert.Equal(text, Graph.Runtime.Schedules.ScheduleText.Print(Graph.Runtime.Schedules.ScheduleText.Parse(text)));
    }

    /// <summary>Layers share kernel bodies: depth adds launches, not kernels. Bodies that differ in the names of their values alone are one.</summary>
    [Fact]
    public void Kernels_NineBillion_AreNoMoreThanThoseOfThreeLayersAndABit() =>
        Assert.InRange(Emitted.Model("9b").Targets.Last.Kernels.Count(k => k.Info.Kind is KernelKind.Row or KernelKind.Rope), 8, 16);
}
