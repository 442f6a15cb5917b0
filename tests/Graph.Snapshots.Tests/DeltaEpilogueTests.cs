using System.Linq;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.IR;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;
using Xunit;

namespace Graph.Snapshots.Tests;

/// <summary>Attention's delta behind a product of 512 columns, in structures that Gemma 2 has not.</summary>
public sealed class DeltaEpilogueTests
{
    /// <summary>It is an epilogue where do is all that the product makes, o is something else, and a tile has whole heads.</summary>
    [Theory]
    [InlineData(256, "d", 0, 512, "o", 256), InlineData(128, "d", 0, 512, "o", 128)]
    [InlineData(128, "d", 0, 256, "o", null), InlineData(128, "d", 256, 512, "o", null), InlineData(128, "other", 0, 512, "o", null),
     InlineData(128, "d", 0, 512, "d", null), InlineData(32, "d", 0, 512, "o", null)]
    public void Find_Delta_OnlyOfAllThatTheProductMakes(int headDim, string of, int start, int end, string o, int? sums)
    {
        var heads = (end - start) / headDim;
        View[] arguments = [new View("delta"), new View(o, new ColumnRange(start, end)), new View(of, new ColumnRange(start, end))];
        Step[] steps = [new GemmStep(0, true, GemmLayout.Nn, new View("d"), new[] { new GemmSegment(new View("a"), new View("b")) }, ScaleFactor.One, false),
            new KernelStep(0, true, new AttentionBody(AttentionPart.Delta, null, heads, heads, headDim), "attention_delta", arguments, 1, 0, new(() => FusedOps.None))];
        ScheduleTensor[] tensors = [.. new[] { "d", "a", "b", "o", "other" }.Select(n => new ScheduleTensor(n, TensorKind.Gradient, ElementType.Act, true, [new Extent(512)])),
            new ScheduleTensor("delta", TensorKind.Gradient, ElementType.F32, true, [new Extent(heads)])];
        var graph = new KernelGraph([], tensors, steps, []);
        var (found, launches) = FindEpilogues.Run(graph, Share.Run(graph));
        Assert.Equal(sums is { } columns ? [("gemm_nn_k00_attention_delta", new EpilogueForm(Sums: columns), new[] { 2 })] : [], found.Select(e => (e.Name, e.Form, e.Places)));
        Assert.Equal(found.Select(f => (steps[0], (Step?)steps[1], f.Name)), launches.Select(l => (l.First, l.Second, l.Kernel)));
    }
}
