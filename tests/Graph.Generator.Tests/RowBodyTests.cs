using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Generator.Schedules;
using Graph.Runtime;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>Row kernels on [T,R]: from a graph to a body, its CUDA C, and its C# compiled and run.</summary>
public sealed unsafe class RowBodyTests
{
    const int Pitch = 24, Rows = 5;
    static readonly AdapterSet Q = new(0, 8, 8, [new StackedAdapter("q", 8, 0)]);

    /// <summary>y = tanh(x·Aᵀ) · s · silu(x·Aᵀ), read by a product with B.</summary>
    static RowBody Ranks()
    {
        var g = new GraphBuilder();
        var x = g.Add(new X());
        var low = g.Named("low", new MatMul(GemmLayout.Nt), x, g.Add(new AdapterStack(Q, true)));
        var scaled = g.Mul(g.Mul(g.Unary(UnaryKind.Tanh, low), g.Add(new RunScalar(StepScalar.LoraScale))), new Silu().Expand(g, [low])!.Value);
        g.Rename(scaled, "narrow");
        var high = g.Add(new MatMul(GemmLayout.Nt), scaled, g.Add(new AdapterStack(Q, false)));
        var graph = g.Build([high], g.Count);
        var map = new ClusterMap(graph);
        return BuildRowBody.Run(graph, map, Assert.Single(map.Clusters).Outputs).Body;
    }

    /// <summary>act[T,8] that a product makes.</summary>
    sealed record X() : Leaf("x", TensorType.Act(Dim.T, 8));

    [Fact]
    public void Body_OfRanks_HasTheColumnsOfItsFirstMatrix()
    {
        var body = Ranks();
        Assert.Equal((RowBody.RankColumns, 0), (body.Columns, body.Heads));
        Assert.Equal([RowInputKind.Matrix, RowInputKind.Scalar], body.Inputs.Select(i => i.Kind));
        var kernel = EmitCuda.Run(Graph.Generator.Schedules.Target.Named("sm_80"), [new Kernel("k00_narrow", body, default, FusedOps.None, 1, default)], []).First();
        Assert.Equal(["@prelude.cu", "@functions.cu"], kernel.Parts.Where(p => p.StartsWith('@')));
        Assert.Contains("const int chunks = narrow_pitch / 8;", kernel.Parts.Last, StringComparison.Ordinal);
        Assert.Contains("it moves 4 bytes a token and column", kernel.Parts[0], StringComparison.Ordinal);
    }

    [Fact]
    public void CSharp_OfRanks_WorksOnEveryColumnOfThePitch()
    {
        var source = "public static class Kernel\n{\n" + EmitCpu.Run([new Kernel("k00_narrow", Ranks(), default, FusedOps.None, 1, default)]) + "}\n";
        using var image = new System.IO.MemoryStream();
        var emitted = Project.Of(Project.Tree(source)).Emit(image, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(emitted.Success, string.Join("\n", emitted.Diagnostics));
        image.Position = 0;
        var kernels = (IReadOnlyDictionary<string, CpuKernelEntry>)new System.Runtime.Loader.AssemblyLoadContext(null).LoadFromStream(image)
            .GetType("Kernel")!.GetMethod("Kernels")!.Invoke(null, null)!;

        var random = new Random(1);
        var low = Enumerable.Range(0, Rows * Pitch).Select(_ => (float)(random.NextDouble() * 6 - 3)).ToArray();
        var narrow = new float[Rows * Pitch + 1];
        narrow[^1] = 7;
        var scale = 0.5f;
        fixed (float* x = low, y = narrow)
            kernels["k00_narrow"].Run([new CpuView((nint)y, Pitch), new CpuView((nint)x, Pitch), new CpuView((nint)(&scale), 0)], Rows);
        for (var i = 0; i < low.Length; i++) Assert.Equal(Math.Tanh(low[i]) * 0.5 * low[i] / (1 + Math.Exp(-low[i])), narrow[i], 1e-6);
        Assert.Equal(7, narrow[^1]);
    }

    [Theory]
    [InlineData(-400f)]
    [InlineData(400f)]
    [InlineData(float.NaN)]
    public void Sigmoid_FarOut_IsFiniteWithItsSlope(float x)
    {
        var y = Runtime.Cpu.CpuMath.Sigmoid(new(x))[0];
        Assert.Equal(float.IsNaN(x) ? float.NaN : x > 0 ? 1 : 0, y);
        Assert.Equal(float.IsNaN(x) ? float.NaN : 0, y * (1 - y));
        Assert.Equal(float.IsNaN(x) ? float.NaN : Math.Max(x, 0), Runtime.Cpu.CpuMath.Relu(new(x))[0]);
    }

    [Fact]
    public void Erf_EveryMagnitude_IsThatOfTheReference()
    {
        foreach (var x in Enumerable.Range(-1200, 2401).Select(i => i / 200f).Append(1e-20f).Append(1e30f).Append(float.NegativeInfinity))
            Assert.InRange(Math.Abs(Runtime.Cpu.CpuMath.Erf(new(x))[0] - ErrorFunction.Of(x)), 0, 4e-7 * Math.Abs(ErrorFunction.Of(x)));
    }

    /// <summary>A kind that a switch does not know throws, so that a new one is never taken for another.</summary>
    [Fact]
    public void Kind_WithoutAnArm_Throws()
    {
        var (unary, binary) = (new Expr.Un((UnaryKind)99, Expr.Var("x")), new Expr.Bin((BinaryKind)99, Expr.Var("x"), Expr.Var("y")));
        foreach (var e in new Expr[] { unary, binary })
        {
            Assert.Throws<InvalidOperationException>(() => e.Evaluate(_ => 1));
            Assert.Throws<InvalidOperationException>(() => e.Derivative("x"));
            Assert.Throws<InvalidOperationException>(() => e.Bound());
            foreach (var language in new[] { ExprLanguage.Cuda, ExprLanguage.CSharp })
                Assert.Throws<InvalidOperationException>(() => ExprSource.Print(e, language, v => v));
        }
        Assert.Throws<InvalidOperationException>(() => ExprText.Print(binary));
        foreach (UnaryKind kind in Enum.GetValues<UnaryKind>())
        {
            var e = new Expr.Un(kind, Expr.Var("x"));
            Assert.True(double.IsFinite(e.Evaluate(_ => 0.5)) && double.IsFinite(e.Derivative("x").Evaluate(_ => 0.5)));
            Assert.True(e.Bound() is null or >= 0);
            Assert.Equal(ExprLanguage.NeedsFunctions(e), ExprLanguage.NeedsFunctions(new Expr.Bin(BinaryKind.Add, e, e)));
            Assert.NotEmpty(ExprSource.Print(e, ExprLanguage.Cuda, v => v) + ExprSource.Print(e, ExprLanguage.CSharp, v => v));
        }
    }
}
