using System.Linq;
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
    [InlineData(128, "d", 0, 256, "o", null), InlineData(128, "d", 256, 512, "o", null), InlineData(128, "other", 0, 512, "o", null), InlineData(128, "d", 0, 512, "d", null), InlineData(32, "d", 0, 512, "o", null)]
    public void Find_Delta_OnlyOfAllThatTheProductMakes(int headDim, string of, int start, int end, string o, int? sums)
    {
        var heads = (end - start) / headDim;
        var product = new GemmLaunch(0, GemmLayout.Nn, new View("d"), new View("a"), new View("b"), null, false);
        View[] arguments = [new View("delta"), new View(o, null, new ExtentRange(start, end)), new View(of, null, new ExtentRange(start, end))];
        Step[] steps = [new GemmStep(0, true, product), new KernelStep(0, true, new AttentionBody(AttentionPart.Delta, null, heads, heads, headDim), "attention_delta", arguments, 1, 0, System.Array.Empty<string>())];
        ScheduleTensor[] tensors = [.. new[] { "d", "a", "b", "o", "other" }.Select(n => new ScheduleTensor(n, TensorKind.Gradient, ElementType.Act, true, [new Extent(512)])), new ScheduleTensor("delta", TensorKind.Gradient, ElementType.F32, true, [new Extent(heads)])];
        var graph = new KernelGraph([], tensors, steps, []);
        var (kernels, name) = Share.Run(graph);
        var found = FindEpilogues.Run(graph, kernels, name).Select(e => (e.Name, e.Form, e.Places)).ToArray();
        Assert.Equal(sums is { } columns ? [("gemm_nn_k00_attention_delta", new EpilogueForm(Sums: columns), new[] { 2 })] : [], found);
    }
}
