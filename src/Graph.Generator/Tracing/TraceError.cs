using System;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>Ends a trace with a diagnostic on the user's line.</summary>
sealed class TraceError(DiagnosticDescriptor descriptor, Location location, string message) : Exception(message)
{
    public DiagnosticDescriptor Descriptor => descriptor;
    public Location Location => location;

    public TraceError(DiagnosticDescriptor descriptor, IOperation at, string message) : this(descriptor, at.Syntax.GetLocation(), message) { }

    public static TraceError Unsupported(IOperation at, string what) => new(DiagnosticDescriptors.Unsupported, at, what);
    public static TraceError Compared(IOperation at, object? left, object? right) =>
        new(DiagnosticDescriptors.TensorEquality, at, Show.Value(left) + " is compared with " + Show.Value(right) + "; the values of tensors are not known while tracing");
    public static TraceError Value(IOperation at, string what) => new(DiagnosticDescriptors.Value, at, what);
}

/// <summary>The code has errors that the C# compiler reports itself.</summary>
sealed class InvalidCode : Exception;
