using System.Linq;
using Graph.Generator.IR;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>
/// One thing that is wrong with a variant: on which code, and the calls that led there, innermost first. Scope is where in the model ("layers.3.mlp"), or
/// empty; Weights are names of the tensors that the op reads.
/// </summary>
sealed record Fault(DiagnosticDescriptor Descriptor, Location Location, EquatableArray<Location> Callers, string Message, string Variant, string Scope,
    EquatableArray<string> Weights)
{
    public bool IsError => Descriptor.DefaultSeverity == DiagnosticSeverity.Error;

    /// <summary>The same fault of several variants, or of several layers of one: it lies on the same code and says the same but for numbers and names of layers.</summary>
    public (string, Location, string) Key => (Descriptor.Id, Location, string.Concat(Message.Where(c => c is < '0' or > '9')));

    /// <summary>As a diagnostic; <paramref name="also"/> are other variants that have it.</summary>
    public Diagnostic ToDiagnostic(params string[] also)
    {
        // Of the calls, the one that a person looks for: the nearest in another file, as a base class or helper lies in its own.
        var caller = Callers.FirstOrDefault(c => c.SourceTree != Location.SourceTree) ?? Callers.FirstOrDefault();
        var where = (Weights.Count > 0 ? "with " + string.Join(" and ", Weights) + ", " : "") + "variant " + Variant + (Scope.Length > 0 ? ", in " + Scope : "")
            + (caller is null ? "" : ", called at " + Show(caller)) + (also.Length > 0 ? "; also in " + string.Join(", ", also) : "");
        return Diagnostic.Create(Descriptor, Location, Callers, Message + " (" + where + ")");
    }

    // Model.cs(12)
    static string Show(Location location) =>
        System.IO.Path.GetFileName(location.SourceTree?.FilePath ?? "") + "(" + NumberText.Int(location.GetLineSpan().StartLinePosition.Line + 1) + ")";
}
