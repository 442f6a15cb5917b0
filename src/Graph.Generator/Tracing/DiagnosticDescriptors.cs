using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>Everything the generator can report. The message is always one sentence with the values; docs/architecture.md has the table.</summary>
public static class DiagnosticDescriptors
{
    public static readonly DiagnosticDescriptor Unsupported = Error("GRAPH001", "C# that a model may not use");
    public static readonly DiagnosticDescriptor TensorCondition = Error("GRAPH002", "A condition depends on a tensor");
    public static readonly DiagnosticDescriptor Shape = Error("GRAPH003", "Shapes or dtypes do not fit");
    public static readonly DiagnosticDescriptor Outside = Error("GRAPH004", "A call that cannot be traced");
    public static readonly DiagnosticDescriptor Endless = Error("GRAPH005", "Tracing does not end");
    public static readonly DiagnosticDescriptor TensorEquality = Error("GRAPH006", "Tensors are compared");
    public static readonly DiagnosticDescriptor Value = Error("GRAPH007", "A value cannot be computed while tracing");
    public static readonly DiagnosticDescriptor Class = Error("GRAPH008", "A [GraphModel] class does not have the right form");
    public static readonly DiagnosticDescriptor Result = Error("GRAPH009", "A model's result or config cannot be used");
    public static readonly DiagnosticDescriptor Compile = Error("GRAPH010", "A traced model cannot be compiled");
    public static readonly DiagnosticDescriptor Selection = Error("GRAPH011", "GraphVariants or GraphTargets name something that is not there");
    public static readonly DiagnosticDescriptor Scope = new("GRAPH012", "A scope looks like a layer and is none", "{0}", "Graph", DiagnosticSeverity.Warning, true);
    public static readonly DiagnosticDescriptor Adapter = Error("GRAPH013", "An adapter is not A and B of a linear");
    public static readonly DiagnosticDescriptor Internal = Error("GRAPH099", "The generator failed");

    static DiagnosticDescriptor Error(string id, string title) => new(id, title, "{0}", "Graph", DiagnosticSeverity.Error, true);
}
