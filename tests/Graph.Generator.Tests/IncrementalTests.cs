using System.Collections;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>What an edit runs again: the text of a trace decides, not the code it was read from.</summary>
public sealed class IncrementalTests
{
    // The nano variants and no CUDA C: the pipeline is the same and the compiler quick.
    static readonly (string, string)[] Properties = [("GraphEmitVariants", "nano,nano-no-attn-softcap"), ("GraphEmitTargets", "cpu")];

    CSharpCompilation _compilation = Project.Gemma2().AddSyntaxTrees(Project.Tree("class Other { int x = 0; }", "Other.cs"));
    GeneratorDriver _driver = Project.Driver(Properties);

    public IncrementalTests() => _driver = _driver.RunGenerators(_compilation, TestContext.Current.CancellationToken);

    /// <summary>Replaces text in one file and runs the generator again.</summary>
    void Edit(string file, string old, string changed)
    {
        var tree = _compilation.SyntaxTrees.Single(t => t.FilePath == file);
        Assert.Contains(old, tree.ToString());
        _compilation = _compilation.ReplaceSyntaxTree(tree, Project.Tree(tree.ToString().Replace(old, changed), file));
        _driver = _driver.RunGenerators(_compilation, TestContext.Current.CancellationToken);
    }

    IncrementalStepRunReason[] Reasons(string step) => _driver.GetRunResult().Results[0].TrackedSteps[step].SelectMany(s => s.Outputs).Select(o => o.Reason).ToArray();
    IncrementalStepRunReason[] OutputReasons() =>
        _driver.GetRunResult().Results[0].TrackedOutputSteps.SelectMany(s => s.Value).SelectMany(s => s.Outputs).Select(o => o.Reason).ToArray();

    static void AllAre(IEnumerable<IncrementalStepRunReason> reasons, params IncrementalStepRunReason[] allowed)
    {
        Assert.NotEmpty(reasons);
        Assert.All(reasons, r => Assert.Contains(r, allowed));
    }

    void NothingIsCompiledAgain()
    {
        AllAre(Reasons(GraphGenerator.ModelStep), IncrementalStepRunReason.Unchanged, IncrementalStepRunReason.Cached);
        AllAre(Reasons(GraphGenerator.CompileStep), IncrementalStepRunReason.Cached);
        AllAre(Reasons(GraphGenerator.ListStep), IncrementalStepRunReason.Cached, IncrementalStepRunReason.Unchanged);
    }

    [Fact]
    public void FirstRun_AllSteps_AreNew() => AllAre(Reasons(GraphGenerator.CompileStep), IncrementalStepRunReason.New);

    [Fact]
    public void Edit_InAnotherFile_CompilesNothing()
    {
        Edit("Other.cs", "x = 0", "x = 1");
        NothingIsCompiledAgain();
    }

    [Fact]
    public void Comment_InTheModel_CompilesNothing()
    {
        Edit("Gemma2.cs", "Tensor Norm(", "// the paper's equation 1\n    Tensor Norm(");
        NothingIsCompiledAgain();
    }

    [Fact]
    public void Refactoring_ThatLeavesTheTrace_CompilesNothing()
    {
        Edit("Gemma2.cs", "Tanh(x * (1 / c)) * c : x", "Tanh(x * Inverse(c)) * c : x;\n    static double Inverse(double x) => 1 / x");
        NothingIsCompiledAgain();
    }

    [Fact]
    public void Constant_ThatTheTraceHolds_CompilesAgain()
    {
        Edit("Gemma2Config.cs", "Eps { get; init; } = 1e-6", "Eps { get; init; } = 1e-5");
        AllAre(Reasons(GraphGenerator.CompileStep), IncrementalStepRunReason.Modified);
        Assert.Contains(IncrementalStepRunReason.Modified, OutputReasons());
    }

    [Fact]
    public void ConfigField_ThatNoOpReads_CompilesAgain()
    {
        // It is part of what is emitted: a checkpoint's config.json is compared with it.
        Edit("Gemma2.cs", "new(\"tie_word_embeddings\", true)", "new(\"tie_word_embeddings\", false)");
        AllAre(Reasons(GraphGenerator.CompileStep), IncrementalStepRunReason.Modified);
    }

    [Fact]
    public void Change_OfOneVariant_CompilesThatOneOnly()
    {
        Edit("Variants.cs", "AttnSoftcap = null", "AttnSoftcap = 20");
        Assert.Equal([IncrementalStepRunReason.Modified, IncrementalStepRunReason.Cached], Reasons(GraphGenerator.CompileStep).Order());
    }

    [Fact]
    public void Variant_Added_LeavesTheOthers()
    {
        _driver = Project.Driver(("GraphEmitVariants", "nano,nano-no-attn-softcap,nano-short"), ("GraphEmitTargets", "cpu"))
            .RunGenerators(_compilation, TestContext.Current.CancellationToken);
        var file = Project.Tree("namespace Gemma2; [Graph.Dsl.GraphModel(\"nano-short\")] public sealed class Short() : Gemma2Model(Gemma2Config.Nano with { Window = 8 });",
            "Short.cs");
        _compilation = _compilation.AddSyntaxTrees(file);
        _driver = _driver.RunGenerators(_compilation, TestContext.Current.CancellationToken);
        Assert.Equal([IncrementalStepRunReason.Cached, IncrementalStepRunReason.Cached, IncrementalStepRunReason.New], Reasons(GraphGenerator.CompileStep));
        AllAre(Reasons(GraphGenerator.ListStep), IncrementalStepRunReason.Modified);
    }

    [Fact]
    public void Error_AndItsRepair_GiveTheSourcesBack()
    {
        string[] Sources() => _driver.GetRunResult().GeneratedTrees.Select(t => t.ToString()).ToArray();
        var before = Sources();
        Edit("Gemma2.cs", "Project(MergeHeads(o),", "Project(o,");
        Assert.NotEmpty(_driver.GetRunResult().Diagnostics);
        Edit("Gemma2.cs", "Project(o,", "Project(MergeHeads(o),");
        Assert.Empty(_driver.GetRunResult().Diagnostics);
        Assert.Equal(before, Sources());
    }

    /// <summary>A symbol in the pipeline would keep every old compilation of an editor session alive.</summary>
    [Fact]
    public void Models_InThePipeline_HoldNoSymbolsAndNoSyntax()
    {
        var seen = new HashSet<object>(ReferenceEqualityComparer.Instance);
        void Walk(object? value, string path)
        {
            if (value is null or string || value.GetType().IsPrimitive || value.GetType().IsEnum || !seen.Add(value)) return;
            Assert.False(value is ISymbol or SyntaxNode or SyntaxTree or Compilation or Location or SemanticModel or IOperation, path + " holds a " + value.GetType().Name);
            if (value is IEnumerable items and not string) foreach (var item in items) Walk(item, path + "[]");
            for (var type = value.GetType(); type is not null && type.Assembly == typeof(Compiler).Assembly; type = type.BaseType)
                foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                    Walk(field.GetValue(value), path + "." + field.Name);
        }
        foreach (var step in new[] { GraphGenerator.ModelStep, GraphGenerator.CompileStep, GraphGenerator.ListStep, GraphGenerator.SelectionStep })
            foreach (var output in _driver.GetRunResult().Results[0].TrackedSteps[step].SelectMany(s => s.Outputs)) Walk(output.Value, step);
        Assert.True(seen.Count > 1000, "the walk saw only " + seen.Count + " objects");
    }
}
