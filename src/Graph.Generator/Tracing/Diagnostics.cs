using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>Reports what tracing and compiling found. One fault in a layer that many variants share is one diagnostic.</summary>
static class Diagnostics
{
    public static void Report(SourceProductionContext context, ImmutableArray<TracedClass> classes, Selection selection)
    {
        var seen = new HashSet<(string, Location)>();
        foreach (var traced in classes)
            if (traced.Error is { } error && seen.Add((error.Id, error.Location))) context.ReportDiagnostic(error);
        foreach (var same in classes.GroupBy(c => c.Variant).Where(g => g.Count() > 1))
            foreach (var twice in same.Skip(1))
                context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Class, twice.Location, "two [GraphModel] classes are called '" + same.Key + "'; give each variant a name of its own"));
        if (classes.Length == 0) return;
        foreach (var variant in selection.Variants.Where(v => classes.All(c => c.Variant != v)))
            context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Selection, Location.None,
                "GraphVariants names '" + variant + "', but the variants here are " + string.Join(", ", classes.Select(c => c.Variant))));
        foreach (var target in selection.UnknownTargets)
            context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Selection, Location.None,
                "GraphTargets names '" + target + "', but the targets are cpu, " + string.Join(", ", Compiler.AllTargets)));
    }

    public static void Report(SourceProductionContext context, CompiledVariant failed, ImmutableArray<TracedClass> classes) =>
        context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Compile, classes.FirstOrDefault(c => c.Variant == failed.Model.Variant)?.Location ?? Location.None,
            failed.Error + " (variant " + failed.Model.Variant + ")"));
}
