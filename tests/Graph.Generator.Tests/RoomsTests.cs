using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>
/// The order of folders inside each assembly, by the compiler's own symbols: a folder uses types of folders before it, never of one after it, so there are no
/// circles and a reader can go from left to right.
/// </summary>
public sealed class RoomsTests
{
    const string Schedules = "../Graph.Runtime/Schedules", Dsl = "../Graph.Dsl";

    /// <summary>Folders in order; "." is the project's own.</summary>
    static readonly IReadOnlyDictionary<string, string[]> Orders = new Dictionary<string, string[]>
    {
        ["Graph.Dsl"] = ["."],
        ["Graph.Generator"] =
        [
            Dsl, Schedules, "IR", "Ops", "Kernels", "Kernels/Common", "Kernels/Row", "Kernels/Rope", "Kernels/Attention", "Kernels/Loss",
            "Kernels/Gradients", "Kernels/Dropout", "Kernels/Rank", "Kernels/Optimizer", "Kernels/Nf4", "Launches", "Kernels/Gemm",
            "Passes", "Tracing", "Emit", ".",
        ],
        ["Graph.Runtime"] = ["Schedules", ".", "Devices", "Optimizers", "Quantization", "Planning", "Cpu", "Cuda", "Execution"],
        ["Graph.Finetune"] = ["Common", "Checkpoints", "Adapters", "Tokenization", "Data", "Training", "Runs", "Reports", "Commands", "."],
    };

    public static TheoryData<string> Assemblies => new(Orders.Keys);

    [Theory]
    [MemberData(nameof(Assemblies))]
    public void Folders_OfAnAssembly_UseThoseBeforeThem(string assembly)
    {
        var order = Orders[assembly];
        var uses = Uses(assembly);
        Assert.Empty(uses.SelectMany(u => new[] { u.From, u.To }).Select(f => f.Folder).Distinct().Except(order));
        Assert.Empty(uses.Where(u => Array.IndexOf(order, u.To.Folder) > Array.IndexOf(order, u.From.Folder)).Select(u => $"{u.From.Path} uses {u.To.Path}"));
    }

    /// <summary>The rule finds a circle where there is one.</summary>
    [Fact]
    public void Uses_OfThisRepository_AreFound() =>
        Assert.Contains(Uses("Graph.Generator"), u => u.From.Path == "Passes/Differentiate.cs" && u.To.Path == "IR/GraphBuilder.cs");

    readonly record struct Source(string Path, string Folder);

    static readonly ConcurrentDictionary<string, IReadOnlyCollection<(Source From, Source To)>> Known = new();

    static IReadOnlyCollection<(Source From, Source To)> Uses(string assembly) => Known.GetOrAdd(assembly, Find);

    static IReadOnlyCollection<(Source From, Source To)> Find(string assembly)
    {
        var root = Path.Combine(Project.Root, "src", assembly);
        var options = new CSharpParseOptions(LanguageVersion.Preview, preprocessorSymbols: assembly == "Graph.Generator" ? ["GRAPH_GENERATOR"] : []);
        var trees = Files(root, assembly).Select(f => CSharpSyntaxTree.ParseText(File.ReadAllText(f), options, f)).ToArray();
        // Assemblies of packages are read beside this test and beside the project; where one is missing, symbols of its types are, and they are of no folder here.
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Where(f => Path.GetFileNameWithoutExtension(f) != assembly)
            .Select(f => MetadataReference.CreateFromFile(f));
        var compilation = CSharpCompilation.Create(assembly, trees, references,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable));
        var uses = new HashSet<(Source, Source)>();
        foreach (var tree in trees)
        {
            var model = compilation.GetSemanticModel(tree);
            foreach (var name in tree.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>())
            {
                var symbol = model.GetSymbolInfo(name).Symbol ?? model.GetTypeInfo(name).Type;
                var type = symbol as INamedTypeSymbol ?? symbol?.ContainingType;
                // A partial type is used in the folder that has it; where one file of it does, that is enough.
                var declared = (type?.OriginalDefinition.DeclaringSyntaxReferences ?? []).Select(d => d.SyntaxTree.FilePath).ToArray();
                foreach (var file in declared.Where(f => f != tree.FilePath)) uses.Add((Of(tree.FilePath), Of(file)));
            }
        }
        return uses;

        Source Of(string file) => new(Path.GetRelativePath(root, file).Replace('\\', '/'), Path.GetRelativePath(root, Path.GetDirectoryName(file)!).Replace('\\', '/'));
    }

    static IEnumerable<string> Files(string root, string assembly)
    {
        var own = Directory.GetFiles(root, "*.cs", SearchOption.AllDirectories)
            .Where(f => !Path.GetRelativePath(root, f).Replace('\\', '/').Split('/').Any(p => p is "bin" or "obj"));
        return assembly != "Graph.Generator" ? own
            : own.Concat(Directory.GetFiles(Path.GetFullPath(Path.Combine(root, Schedules)), "*.cs")).Append(Path.GetFullPath(Path.Combine(root, Dsl, "TraceText.cs")));
    }
}
