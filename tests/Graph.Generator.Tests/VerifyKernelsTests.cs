using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.Schedules;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>The checks of the stages after the tensor graph find what a wrong pass would make. The graph that passes is x·Wᵀ with softmax-free work after it.</summary>
public sealed class VerifyKernelsTests
{
    static readonly View X = new("x"), Y = new("y"), W = new("w"), Z = new("z");

    static readonly RowBody Copy = new(16, new[] { new RowOutput("out", false) }, new[] { new RowInput("in", RowInputKind.Matrix) },
        new RowStatement[] { new RowStatement.Let("out", Expr.Var("in"), "copy"), new RowStatement.Store("out") });

    static ScheduleTensor Tensor(string name, TensorKind kind, bool tokens, params int[] dims) =>
        new(name, kind, ElementType.Act, tokens, dims.Select(d => new Extent(d)).ToArray());

    static GemmStep Gemm(View d, View a, View b) => new(0, false, GemmLayout.Nt, d, new[] { new GemmSegment(a, b) }, ScaleFactor.One, false);

    static KernelStep Row(View output, View input) => new(0, false, Copy, "copy", new[] { output, input }, 1, 0, new Lazy<FusedOps>(FusedOps.None));

    static KernelGraph Graph(params Step[] steps) => new([],
        [Tensor("x", TensorKind.Weight, true, 8), Tensor("w", TensorKind.Weight, false, 16, 8),
            Tensor("y", TensorKind.Activation, true, 16), Tensor("z", TensorKind.Activation, true, 16)],
        steps, []);

    static string Fault(KernelGraph graph) => Assert.Throws<InvalidOperationException>(() => VerifyKernels.Launches(graph, "10-launches")).Message;

    [Fact]
    public void Launches_ThatAreRight_Pass() => VerifyKernels.Launches(Graph(Gemm(Y, X, W), Row(Z, Y)), "10-launches");

    [Fact]
    public void Launches_ReadBeforeWritten_IsAFault() => Assert.Contains("before all of it is written", Fault(Graph(Row(Z, Y), Gemm(Y, X, W))));

    [Fact]
    public void Launches_HalfOfATensorWritten_IsAFault() =>
        Assert.Contains("reads y before all of it is written", Fault(Graph(Row(new("y", new ColumnRange(0, 8)), X), Row(Z, Y))));

    [Fact]
    public void Launches_BothHalvesWritten_Pass() =>
        VerifyKernels.Launches(Graph(Row(new("y", new ColumnRange(8, 16)), X), Row(new("y", new ColumnRange(0, 8)), X), Row(Z, Y)), "10-launches");

    [Fact]
    public void Launches_UnknownTensor_IsAFault() => Assert.Contains("names q, which is no tensor", Fault(Graph(Row(new("q"), X))));

    [Fact]
    public void Launches_ColumnsOutside_IsAFault() => Assert.Contains("columns outside of y", Fault(Graph(Row(new("y", new ColumnRange(8, 17)), X))));

    [Fact]
    public void Launches_OperandsThatDoNotFit_IsAFault() => Assert.Contains("operands that do not fit", Fault(Graph(Gemm(Y, X, W), Gemm(Z, Y, W))));

    [Fact]
    public void Launches_WritesAWeight_IsAFault() => Assert.Contains("writes w, a weight", Fault(Graph(Row(W, X))));

    [Fact]
    public void Launches_OverWhatTheyRead_IsAFaultUnlessInPlace()
    {
        Assert.Contains("writes over what it reads", Fault(Graph(Gemm(Y, X, W), Row(Y, Y))));
        VerifyKernels.Launches(Graph(Gemm(Y, X, W), Row(Y, Y) with { InPlace = 1 }), "10-launches");
    }

    [Fact]
    public void Launches_RecipeOfAnotherTensor_IsAFault() =>
        Assert.Contains("the recipe of z does not write it", Fault(Graph(Gemm(Y, X, W)) with { Recipes = [new StepRecipe("z", [Gemm(Y, X, W)])] }));

    [Fact]
    public void Kernels_OfOtherArguments_IsAFault()
    {
        var graph = Graph(Gemm(Y, X, W), Row(Z, Y));
        var kernels = new SharedKernels([new Kernel("k00", Copy, new[] { Z }, FusedOps.None, 1, Array.Empty<int>())], new Dictionary<KernelBody, int> { [Copy.Key()] = 0 });
        Assert.Contains("a kernel of another kind or number of arguments",
            Assert.Throws<InvalidOperationException>(() => VerifyKernels.Kernels(graph, kernels, "11-kernels")).Message);
    }

    [Fact]
    public void Fusions_OfLaunchesApart_IsAFault()
    {
        var (gemm, row) = (Gemm(Y, X, W), Row(Z, Y));
        FusedSteps[] fused = [new FusedSteps(gemm, row, "gemm_nt_copy", new[] { 1 }, "")];
        VerifyKernels.Fusions(Graph(gemm, row), fused, "12-fusions");
        var apart = Graph(gemm, Row(Z, Y), row);
        Assert.Contains("do not follow each other", Assert.Throws<InvalidOperationException>(() => VerifyKernels.Fusions(apart, fused, "12-fusions")).Message);
    }
}
