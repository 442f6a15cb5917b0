using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using Graph.Dsl;
using Graph.Generator.Tracing;
using Xunit;

namespace Graph.Generator.Tests.Tracing;

/// <summary>The C# a model may use: every class of LanguageModels.cs, run for real by the recorder, gives the trace that the interpreter reads from its source.</summary>
public sealed class LanguageTests
{
    static readonly Lazy<IReadOnlyDictionary<string, (TracedModel? Model, Microsoft.CodeAnalysis.Diagnostic? Error)>> Interpreted = new(() =>
        Project.Trace(Project.Of(Project.Tree(File.ReadAllText(Path.Combine(Project.Root, "tests", "Graph.Generator.Tests", "Tracing", "LanguageModels.cs")), "LanguageModels.cs")))
            .ToDictionary(t => t.Variant, t => (t.Model, t.Error)));

    static readonly IReadOnlyDictionary<string, Type> Classes = typeof(LanguageTests).Assembly.GetTypes()
        .Where(t => t.Namespace == "Graph.Generator.Tests.Tracing.Language" && t.GetCustomAttribute<GraphModelAttribute>() is not null)
        .ToDictionary(t => t.GetCustomAttribute<GraphModelAttribute>()!.Name);

    public static TheoryData<string> All => new(Classes.Keys);

    [Theory]
    [MemberData(nameof(All))]
    public void Construct_RunAndInterpreted_GivesTheSameTrace(string feature)
    {
        var recorded = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Classes[feature])!);
        var (model, error) = Interpreted.Value[feature];
        Assert.True(model is not null, error?.ToString());
        Assert.Equal(Dsl.TraceText.Print(recorded), Generator.Tracing.TraceText.Print(model!.Nodes));
    }

    [Fact]
    public void LanguageModels_Compiled_HaveNoErrors() =>
        Assert.Empty(Project.Of(Project.Tree(File.ReadAllText(Path.Combine(Project.Root, "tests", "Graph.Generator.Tests", "Tracing", "LanguageModels.cs"))))
            .GetDiagnostics(TestContext.Current.CancellationToken).Where(d => d.Severity == Microsoft.CodeAnalysis.DiagnosticSeverity.Error));
}
