using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.Loader;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Runtime;
using Microsoft.CodeAnalysis;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>The emitted C#, compiled and loaded: what a program sees as GraphModels.All.</summary>
public sealed class EmittedModelTests
{
    static GeneratorDriverRunResult Run(out Compilation compilation, params (string, string)[] properties)
    {
        var driver = Project.Driver(properties).RunGeneratorsAndUpdateCompilation(Project.Gemma2(), out compilation, out var diagnostics, TestContext.Current.CancellationToken);
        Assert.Empty(diagnostics);
        return driver.GetRunResult();
    }

    static string[] Files(GeneratorDriverRunResult result) => result.Results[0].GeneratedSources.Select(s => s.HintName).Order(StringComparer.Ordinal).ToArray();

    internal static IReadOnlyList<CompiledModel> Load(Compilation compilation)
    {
        using var image = new MemoryStream();
        var emitted = compilation.Emit(image, cancellationToken: TestContext.Current.CancellationToken);
        Assert.True(emitted.Success, string.Join("\n", emitted.Diagnostics.Where(d => d.Severity >= DiagnosticSeverity.Warning)));
        image.Position = 0;
        // A context of its own, which takes Graph.Runtime from the default one, so that its types are ours.
        var assembly = new AssemblyLoadContext(null).LoadFromStream(image);
        return (IReadOnlyList<CompiledModel>)assembly.GetType("GraphModels")!.GetProperty("All")!.GetValue(null)!;
    }

    [Fact]
    public void Nano_EveryTarget_CarriesWhatTheCompilerMade()
    {
        Run(out var compilation, ("GraphEmitVariants", "nano"));
        var model = Assert.Single(Load(compilation));
        var traced = Project.Trace(Project.Gemma2()).Single(t => t.Variant == "nano").Model!;
        var compiled = Compiler.Compile("nano", traced.Nodes, Graph.Generator.Schedules.Target.All);

        Assert.Equal("nano", model.Name);
        Assert.Equal(compiled.ScheduleText, model.Schedule());
        Assert.Equal(traced.Config.Select(f => f.Key), model.Config().Select(f => f.Key));
        Assert.Equivalent(traced.Config.Select(f => f.Value), model.Config().Select(f => f.Value), strict: true);
        Assert.Equal(["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
            Assert.IsType<string[]>(model.Config().Single(f => f.Key == "layer_types").Value));
        Assert.Equal(Graph.Generator.Schedules.Target.All.Select(t => t.Name), model.Targets);
        foreach (var target in compiled.Targets)
        {
            var kernels = model.Kernels(target.Target);
            Assert.Equal(target.Target, kernels.Target);
            Assert.Equal(target.Kernels.Select(k => k.Info.ToString()), kernels.Kernels.Select(k => k.Info.ToString()));
            Assert.Equal(target.Kernels.Select(k => Generator.Schedules.KernelText.Join(k.Parts, CudaText.Template)), kernels.Kernels.Select(k => k.Text));
        }
        Assert.Equal(compiled.Targets[0].Kernels.Where(k => k.Info.Name.StartsWith('k')).Select(k => k.Info.Name).Order(), model.CpuKernels().Keys.Order());
        Assert.Throws<ArgumentException>(() => model.Kernels("sm_12"));
    }

    [Fact]
    public void Properties_Empty_EmitEveryVariant()
    {
        var result = Run(out _);
        Assert.Equal(["GraphModels.27b-2l.g.cs", "GraphModels.27b.g.cs", "GraphModels.2b-full.g.cs", "GraphModels.2b.g.cs",
            "GraphModels.9b-2l.g.cs", "GraphModels.9b-full.g.cs", "GraphModels.9b.g.cs", "GraphModels.Templates.g.cs", "GraphModels.g.cs",
            "GraphModels.nano-full.g.cs", "GraphModels.nano-no-attn-softcap.g.cs", "GraphModels.nano-no-final-softcap.g.cs", "GraphModels.nano.g.cs"], Files(result));
        // Little text: a variant is its schedule and its own kernel lines; templates are in one file.
        Assert.All(result.Results[0].GeneratedSources, s => Assert.InRange(s.SourceText.Length, 1, 1_000_000));
    }

    [Fact]
    public void Properties_VariantsAndTargets_EmitThese()
    {
        var result = Run(out var compilation, ("GraphEmitVariants", "nano,9b-2l"), ("GraphEmitTargets", "sm_90a,sm_75"));
        Assert.Equal(["GraphModels.9b-2l.g.cs", "GraphModels.Templates.g.cs", "GraphModels.g.cs", "GraphModels.nano.g.cs"], Files(result));
        Assert.All(Load(compilation), m => Assert.Equal(["sm_75", "sm_90a"], m.Targets));
    }

    [Fact]
    public void Properties_CpuOnly_EmitNoCuda()
    {
        var result = Run(out var compilation, ("GraphEmitVariants", "nano"), ("GraphEmitTargets", "cpu"));
        Assert.DoesNotContain("__global__", result.Results[0].GeneratedSources.Single(s => s.HintName == "GraphModels.nano.g.cs").SourceText.ToString());
        Assert.Empty(Assert.Single(Load(compilation)).Targets);
    }

    [Fact]
    public void Project_WithoutModels_GetsNothing() =>
        Assert.Empty(Project.Driver().RunGenerators(Project.Of(Project.Tree("class Other;")), TestContext.Current.CancellationToken).GetRunResult().GeneratedTrees);

    [Fact]
    public void Run_Twice_GivesTheSameBytes() =>
        Assert.Equal(Run(out _, ("GraphEmitTargets", "sm_90a")).GeneratedTrees.Select(t => t.ToString()),
            Run(out _, ("GraphEmitTargets", "sm_90a")).GeneratedTrees.Select(t => t.ToString()));

    /// <summary>An editor may leave implementation sources out; what is left must be whole code.</summary>
    [Fact]
    public void List_WithoutTheOtherSources_Compiles()
    {
        var result = Run(out _, ("GraphEmitVariants", "nano"), ("GraphEmitTargets", "cpu"));
        var list = result.Results[0].GeneratedSources.Single(s => s.HintName == "GraphModels.g.cs").SyntaxTree;
        Assert.Empty(Project.Gemma2().AddSyntaxTrees(list).GetDiagnostics(TestContext.Current.CancellationToken).Where(d => d.Severity >= DiagnosticSeverity.Warning));
    }
}
