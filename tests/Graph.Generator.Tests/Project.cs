using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Generator.Tracing;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Text;

namespace Graph.Generator.Tests;

/// <summary>A model project in memory, and what the generator makes of it.</summary>
static class Project
{
    static readonly CSharpParseOptions ParseOptions = new(LanguageVersion.CSharp14);

    // What a model project references: the framework, the DSL and the runtime; not this test's own assembly, which holds the same models.
    static readonly MetadataReference[] References = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
        .Where(p => Path.GetFileNameWithoutExtension(p) is var name
            && (name.StartsWith("System", StringComparison.Ordinal) || name is "netstandard" or "mscorlib" or "Graph.Dsl" or "Graph.Runtime"))
        .Select(p => (MetadataReference)MetadataReference.CreateFromFile(p)).ToArray();

    public static string Root { get; } = Find(AppContext.BaseDirectory);

    static string Find(string folder) =>
        File.Exists(Path.Combine(folder, "Compiler.sln")) ? folder
        : Find(Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("tests: no Compiler.sln above " + AppContext.BaseDirectory));

    public static SyntaxTree Tree(string source, string path = "Model.cs") => CSharpSyntaxTree.ParseText(SourceText.From(source, System.Text.Encoding.UTF8), ParseOptions, path);

    public static CSharpCompilation Of(params SyntaxTree[] trees) =>
        CSharpCompilation.Create("model", trees, References,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable));

    /// <summary>models/Gemma2 without its Program, whose command line needs what the generator emits.</summary>
    public static CSharpCompilation Gemma2() => Of(Directory.GetFiles(Path.Combine(Root, "models", "Gemma2"), "*.cs").Where(f => Path.GetFileName(f) != "Program.cs")
        .OrderBy(f => f, StringComparer.Ordinal).Select(f => Tree(File.ReadAllText(f), Path.GetFileName(f))).ToArray());

    /// <summary>A driver that notes which steps ran; properties are MSBuild's, as the generator sees them.</summary>
    public static GeneratorDriver Driver(params (string Name, string Value)[] properties) =>
        CSharpGeneratorDriver.Create([new GraphGenerator().AsSourceGenerator()], parseOptions: ParseOptions,
            optionsProvider: new Options(properties.ToDictionary(p => "build_property." + p.Name, p => p.Value)),
            driverOptions: new GeneratorDriverOptions(IncrementalGeneratorOutputKind.None, trackIncrementalGeneratorSteps: true));

    /// <summary>The trace of every variant, without compiling any.</summary>
    public static IReadOnlyList<(string Variant, TracedModel? Model, Diagnostic? Error)> Trace(CSharpCompilation compilation) =>
        (from tree in compilation.SyntaxTrees
         let model = compilation.GetSemanticModel(tree)
         from declaration in tree.GetRoot().DescendantNodes().OfType<Microsoft.CodeAnalysis.CSharp.Syntax.ClassDeclarationSyntax>()
         let type = (INamedTypeSymbol)model.GetDeclaredSymbol(declaration)!
         let attribute = type.GetAttributes().FirstOrDefault(a => a.AttributeClass?.Name == "GraphModelAttribute")
         where attribute is not null
         let traced = Tracer.Trace(type, attribute, compilation, default)
         select (traced.Variant, traced.Model, traced.Faults.Count > 0 ? traced.Faults[0].ToDiagnostic() : null)).ToArray();

    sealed class Options(Dictionary<string, string> values) : AnalyzerConfigOptionsProvider
    {
        public override AnalyzerConfigOptions GlobalOptions { get; } = new Global(values);
        public override AnalyzerConfigOptions GetOptions(SyntaxTree tree) => GlobalOptions;
        public override AnalyzerConfigOptions GetOptions(AdditionalText text) => GlobalOptions;

        sealed class Global(Dictionary<string, string> values) : AnalyzerConfigOptions
        {
            public override bool TryGetValue(string key, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out string? value) => values.TryGetValue(key, out value);
        }
    }
}
