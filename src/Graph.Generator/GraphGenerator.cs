using System;
using System.Linq;
using System.Threading;
using Graph.Generator.Emit;
using Graph.Generator.IR;
using Graph.Generator.Schedules;
using Graph.Generator.Tracing;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Graph.Generator;

/// <summary>
/// The Roslyn side of the compiler. [GraphModel] class → trace → (only where the trace's text changed) compiled text → sources:
/// GraphModels.g.cs lists the variants; one file per variant and one of templates hold what the listing calls, and editors may leave these out.
/// </summary>
[Generator(LanguageNames.CSharp)]
public sealed class GraphGenerator : IIncrementalGenerator
{
    /// <summary>Names of the pipeline's steps, for tests of what an edit runs again.</summary>
    public const string TraceStep = "Trace", ModelStep = "Model", SelectionStep = "Selection", ListStep = "List", CompileStep = "Compile";

    public void Initialize(IncrementalGeneratorInitializationContext context)
    {
        var traced = context.SyntaxProvider
            .ForAttributeWithMetadataName("Graph.Dsl.GraphModelAttribute", static (node, _) => node is ClassDeclarationSyntax, static (c, cancellation) => Trace(c, cancellation))
            .WithTrackingName(TraceStep);
        var selection = context.AnalyzerConfigOptionsProvider.Select(static (options, _) => Selection.Read(options.GlobalOptions)).WithTrackingName(SelectionStep);

        // Sources depend on the text of traces only: a comment, or code elsewhere, gives an equal model and stops here.
        // Of two classes with one name, which is an error, the first counts.
        var models = traced.Collect().SelectMany(static (all, _) => all.Where(t => t.Model is not null).Select(t => t.Model!).GroupBy(m => m.Variant).Select(m => m.First()))
            .WithTrackingName(ModelStep)
            .Combine(selection).Where(static p => p.Right.Has(p.Left.Variant));
        var list = models.Select(static (p, _) => p.Left.Variant).Collect().Combine(selection)
            .Select(static (p, _) => new VariantList(p.Left.Distinct().ToArray(), p.Right.Targets)).WithTrackingName(ListStep);
        var compiled = models.Select(static (p, _) => CompiledVariant.Of(p.Left, p.Right.Targets)).WithTrackingName(CompileStep);

        context.RegisterSourceOutput(list, static (c, l) => { if (l.Variants.Count > 0) c.AddSource("GraphModels.g.cs", EmitModels.List(l.Variants)); });
        context.RegisterImplementationSourceOutput(list, static (c, l) => { if (l.Variants.Count > 0) c.AddSource("GraphModels.Templates.g.cs", EmitModels.Templates()); });
        context.RegisterImplementationSourceOutput(compiled, static (c, v) => { if (v.Text is { } text)
            c.AddSource("GraphModels." + v.Model.Variant + ".g.cs", EmitModels.Variant(v.Model, text)); });

        // Diagnostics are computed separately, since locations change with every edit.
        context.RegisterSourceOutput(traced.Collect().Combine(selection), static (c, p) => Diagnostics.Report(c, p.Left, p.Right));
        context.RegisterImplementationSourceOutput(compiled.Where(static v => v.Error is not null)
            .Combine(traced.Collect()), static (c, p) => Diagnostics.Report(c, p.Left, p.Right));
    }

    static TracedClass Trace(GeneratorAttributeSyntaxContext context, CancellationToken cancellation)
    {
        var type = (INamedTypeSymbol)context.TargetSymbol;
        return Tracer.Trace(type, context.Attributes[0], context.SemanticModel.Compilation, cancellation);
    }
}

sealed record VariantList(EquatableArray<string> Variants, EquatableArray<string> Targets);

/// <summary>Why a trace was not compiled. Origin: the traced op it is about, or -1. IsInternal: a fault of the compiler, not of the model.</summary>
sealed record CompileError(string Message, int Origin, bool IsInternal);

/// <summary>A variant's compiled text, or what says why there is none. Equal where the model and targets are.</summary>
sealed record CompiledVariant(TracedModel Model, EquatableArray<string> Targets, CompiledText? Text, CompileError? Error)
{
    public static CompiledVariant Of(TracedModel model, EquatableArray<string> targets)
    {
        try
        {
            return new CompiledVariant(model, targets, Compiler.Compile(model.Variant, model.Nodes, targets.Select(Target.Named).ToArray(), full: model.Full), null);
        }
        catch (ShapeError e)
        {
            return new CompiledVariant(model, targets, null, new CompileError(e.Message, e.Origin, false));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return new CompiledVariant(model, targets, null,
                new CompileError("compiling failed with " + e.GetType().Name + ": " + e.Message + "; please report it with the model", -1, true));
        }
    }

    public bool Equals(CompiledVariant? other) => other is not null && Model.Equals(other.Model) && Targets.Equals(other.Targets) && Error == other.Error;
    public override int GetHashCode() => Model.GetHashCode();
}
