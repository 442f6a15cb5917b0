using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.Loader;
using System.Text;
using System.Threading.Tasks;
using Graph.Generator;
using Graph.Generator.Emit;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;
using Graph.Runtime;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;

namespace Graph.Fuzz;

/// <summary>A traced model and what it is trained on.</summary>
public sealed record Case(IReadOnlyList<Dsl.TraceNode> Trace, Setup Setup)
{
    public static Case Of(Model model) => new(Replay.Trace(model), model.Setup);

    /// <summary>Shapes of the frozen weights by name.</summary>
    public IReadOnlyDictionary<string, int[]> Weights =>
        Trace.Where(n => n.Op == "param").GroupBy(n => (string)n.Attributes[0].Value!)
            .ToDictionary(n => n.Key, n => n.First().Attributes.Skip(1).Select(a => (int)a.Value!).ToArray());

    /// <summary>Ids are below the rows of every embedding table.</summary>
    public int Ids => Trace.Where(n => n.Op == "embedding" && Trace[n.Inputs[0]].Op == "input").Select(n => Rows(n)).DefaultIfEmpty(2).Min();

    /// <summary>Labels are below the rows of the head's table.</summary>
    public int Labels
    {
        get
        {
            var node = Trace[^1];
            while (node.Op != "linear") node = node.Inputs.Select(i => Trace[i]).First(n => n.Inputs.Count > 0);
            return Rows(node);
        }
    }

    int Rows(Dsl.TraceNode node) => (int)Trace[node.Inputs[1]].Attributes[1].Value!;
}

/// <summary>A case, and either what the compiler made of it or the verdict on that.</summary>
public sealed record Compiled(Case Case, CompiledText? Text, CompiledModel? Loaded, Verdict? Failure);

/// <summary>Many models at once: their row kernels are one C# compilation, because Roslyn's start costs more than a model. Unloads with the context.</summary>
public sealed class CompiledBatch : IDisposable
{
    static readonly MetadataReference[] References = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
        .Where(p => Path.GetFileNameWithoutExtension(p) is "System.Private.CoreLib" or "System.Runtime" or "System.Collections" or "System.Memory"
            or "System.Numerics.Tensors" or "System.Numerics.Vectors"
            or "System.Runtime.Intrinsics" or "System.Runtime.CompilerServices.Unsafe" or "System.Threading" or "Graph.Runtime")
        .Select(p => (MetadataReference)MetadataReference.CreateFromFile(p)).ToArray();

    readonly AssemblyLoadContext context = new("fuzz", isCollectible: true);

    public IReadOnlyList<Compiled> Models { get; }

    /// <param name="edit">A fault to put into the emitted C#; null: none.</param>
    public CompiledBatch(IReadOnlyList<Case> models, IReadOnlyList<Target>? targets = null, Func<string, string>? edit = null)
    {
        var compiled = new Compiled[models.Count];
        Parallel.For(0, models.Count, i => compiled[i] = Compile(models[i], targets ?? []));
        var trees = compiled.Select((c, i) => c.Text is { } text ? Tree(i, edit is null ? text.CpuSource : edit(text.CpuSource)) : null).ToArray();
        var assembly = Load(trees, compiled);
        Models = [.. compiled.Select((c, i) => c.Failure is not null ? c : c with { Loaded = Wrap(c.Text!, assembly.GetType("M" + i)!) })];
    }

    /// <summary>One model, without its C#.</summary>
    public static Compiled Compile(Case model, IReadOnlyList<Target> targets)
    {
        try
        {
            Infer(model.Trace);
            return new Compiled(model, Compiler.Compile("fuzz", Replay.ForCompiler(model.Trace), targets, full: model.Setup.Full), null, null);
        }
        catch (ShapeError e)
        {
            return new Compiled(model, null, null, new Verdict(e.Message.Contains("Exception", StringComparison.Ordinal) ? Outcome.Crash : Outcome.Refused, e.Message));
        }
        catch (Exception e)
        {
            return new Compiled(model, null, null, new Verdict(Outcome.Crash, $"{e.GetType().Name}: {e.Message}\n{e.StackTrace}"));
        }
    }

    // As the generator looks at a model's lines while it reads them.
    static void Infer(IReadOnlyList<Dsl.TraceNode> trace)
    {
        var types = new Generator.IR.TensorType[trace.Count];
        foreach (var node in trace)
        {
            OpCatalog.CheckAttributes(node.Op, node.Attributes);
            types[node.Id] = OpCatalog.Infer(node.Op, [.. node.Inputs.Select(i => types[i])], node.Attributes);
        }
    }

    static SyntaxTree Tree(int number, string source) =>
        CSharpSyntaxTree.ParseText(SourceText.From($"public static class M{number}\n{{\n{source}}}\n", Encoding.UTF8),
            new CSharpParseOptions(LanguageVersion.CSharp14), $"M{number}");

    // A model whose C# has errors is left out, and the others are compiled again.
    System.Reflection.Assembly Load(SyntaxTree?[] trees, Compiled[] compiled)
    {
        using var image = new MemoryStream();
        var result = CSharpCompilation.Create("fuzz", trees.OfType<SyntaxTree>(), References,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, optimizationLevel: OptimizationLevel.Release, allowUnsafe: true)).Emit(image);
        if (result.Success)
        {
            image.Position = 0;
            return context.LoadFromStream(image);
        }
        foreach (var bad in result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error).GroupBy(d => Array.IndexOf(trees, d.Location.SourceTree)))
        {
            if (bad.Key < 0) throw new InvalidOperationException("fuzz: the emitted C# does not compile: " + bad.First());
            trees[bad.Key] = null;
            compiled[bad.Key] = compiled[bad.Key] with { Failure = new Verdict(Outcome.Emitted,
                bad.First().GetMessage() + "\n" + bad.First().Location.SourceTree!.GetText().Lines[bad.First().Location.GetLineSpan().StartLinePosition.Line]) };
        }
        return Load(trees, compiled);
    }

    static CompiledModel Wrap(CompiledText text, Type type)
    {
        var kernels = type.GetMethod("Kernels")!.CreateDelegate<Func<IReadOnlyDictionary<string, CpuKernelEntry>>>();
        return new CompiledModel(text.Variant, () => text.ScheduleText, [], target => throw new ArgumentException($"fuzz: there are no kernels for {target}"), kernels, () => []);
    }

    public void Dispose() => context.Unload();
}
