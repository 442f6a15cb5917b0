using System;
using System.IO;
using System.Linq;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>Who may know whom (docs/architecture.md).</summary>
public sealed class DependencyTests
{
    static readonly string Generator = Path.Combine(Project.Root, "src", "Graph.Generator");

    /// <summary>The compiler is plain C# that a test, a tool or another front end can call; only the front end for C# speaks Roslyn.</summary>
    [Fact]
    public void Roslyn_OutsideOfTracingAndTheEntry_IsNotMentioned()
    {
        var files = Directory.GetFiles(Generator, "*.cs", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(Generator, f).Replace('\\', '/'))
            .Where(f => !f.StartsWith("bin/", StringComparison.Ordinal) && !f.StartsWith("obj/", StringComparison.Ordinal)).ToArray();
        bool Mentions(string file) => File.ReadAllText(Path.Combine(Generator, file)).Contains("Microsoft.CodeAnalysis", StringComparison.Ordinal);
        Assert.Contains("Tracing/Interpreter.cs", files.Where(Mentions));
        Assert.DoesNotContain(files, f => !f.StartsWith("Tracing/", StringComparison.Ordinal) && f is not ("GraphGenerator.cs" or "Diagnostics.cs") && Mentions(f));
    }

    [Theory]
    [InlineData(typeof(Dsl.Tensor))]
    [InlineData(typeof(Runtime.CompiledModel))]
    public void DslAndRuntime_ReferenceNothingOfThisRepository(Type type) =>
        Assert.DoesNotContain(type.Assembly.GetReferencedAssemblies(), a => a.Name!.StartsWith("Graph.", StringComparison.Ordinal));

    [Fact]
    public void Generator_References_AreRoslynAndTheFramework() =>
        Assert.All(typeof(Compiler).Assembly.GetReferencedAssemblies().Select(a => a.Name!),
            n => Assert.Contains(n, new[] { "netstandard", "Microsoft.CodeAnalysis", "Microsoft.CodeAnalysis.CSharp", "System.Collections.Immutable" }));
}
