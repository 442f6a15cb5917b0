using System.Collections.Immutable;
using System.Linq;
using Graph.Generator.Schedules;
using Graph.Generator.Tracing;
using Microsoft.CodeAnalysis;

namespace Graph.Generator;

/// <summary>Reports everything that tracing and compiling found. One fault in a layer that many variants share is one diagnostic, which names them all.</summary>
static class Diagnostics
{
    public static void Report(SourceProductionContext context, ImmutableArray<TracedClass> classes, Selection selection)
    {
        foreach (var same in classes.SelectMany(c => c.Faults).GroupBy(f => f.Key))
            context.ReportDiagnostic(same.First().ToDiagnostic(same.Select(f => f.Variant).Distinct().Skip(1).ToArray()));
        foreach (var same in classes.GroupBy(c => c.Variant).Where(g => g.Count() > 1))
            foreach (var twice in same.Skip(1))
                context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Class,
                    twice.Location, "two [GraphModel] classes are called '" + same.Key + "'; give each variant a name of its own"));
        if (classes.Length == 0) return;
        foreach (var variant in selection.Variants.Where(v => classes.All(c => c.Variant != v)))
            context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Selection, Location.None,
                "GraphVariants names '" + variant + "', but the variants here are " + string.Join(", ", classes.Select(c => c.Variant))));
        foreach (var target in selection.UnknownTargets)
            context.ReportDiagnostic(Diagnostic.Create(DiagnosticDescriptors.Selection, Location.None,
                "GraphTargets names '" + target + "', but the targets are cpu, " + string.Join(", ", Target.All.Select(t => t.Name))));
    }

    /// <summary>What the passes say of a trace: on the line of the op it is about where they know it, else on the class.</summary>
    public static void Report(SourceProductionContext context, CompiledVariant failed, ImmutableArray<TracedClass> classes)
    {
        if (failed.Error is not { } error) return;
        var traced = classes.FirstOrDefault(c => c.Variant == failed.Model.Variant);
        var (at, known) = (traced?.Location ?? Location.None, traced is not null && error.Origin >= 0 && error.Origin < traced.Places.Count);
        var scope = known ? failed.Model.Nodes[error.Origin].Scope : "";
        if (known && traced!.Places[error.Origin] is { IsInSource: true } place) at = place;
        context.ReportDiagnostic(new Fault(error.IsInternal ? DiagnosticDescriptors.Internal : DiagnosticDescriptors.Compile,
            at, default, error.Message, failed.Model.Variant, scope, default).ToDiagnostic());
    }
}
