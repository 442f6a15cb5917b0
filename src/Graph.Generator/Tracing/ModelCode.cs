using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

enum OpParameter { Tensor, Function, FunctionOfPosition, Real, Attribute }

/// <summary>An op of the DSL as its method declares it.</summary>
sealed record OpMethod(string Name, (string Name, OpParameter Kind)[] Parameters);

/// <summary>
/// The bound code of one compilation: bodies, initializers, overrides. Kept as long as the compilation lives, so that all variants of a project bind their shared layers once.
/// </summary>
sealed class ModelCode(Compilation compilation)
{
    static readonly ConditionalWeakTable<Compilation, ModelCode> Known = new();

    readonly ConcurrentDictionary<SyntaxTree, SemanticModel> _models = new();
    readonly ConcurrentDictionary<ISymbol, IOperation?> _bodies = new(SymbolEqualityComparer.Default);
    readonly ConcurrentDictionary<ISymbol, OpMethod?> _ops = new(SymbolEqualityComparer.Default);
    readonly ConcurrentDictionary<ISymbol, bool> _automatic = new(SymbolEqualityComparer.Default);
    readonly ConcurrentDictionary<INamedTypeSymbol, IReadOnlyList<(ISymbol Member, IOperation Value)>> _initializers = new(SymbolEqualityComparer.Default);
    readonly ConcurrentDictionary<INamedTypeSymbol, ConcurrentDictionary<ISymbol, ISymbol>> _overrides = new(SymbolEqualityComparer.Default);

    public static ModelCode Of(Compilation compilation) => Known.GetValue(compilation, c => new ModelCode(c));

    /// <summary>The operations of a node of this compilation; null for code of another one, whose body nobody sees.</summary>
    public IOperation? Operation(SyntaxNode node, CancellationToken cancellation) =>
        compilation.ContainsSyntaxTree(node.SyntaxTree) ? _models.GetOrAdd(node.SyntaxTree, t => compilation.GetSemanticModel(t)).GetOperation(node, cancellation) : null;

    SyntaxNode? Syntax(ISymbol symbol, CancellationToken cancellation) =>
        symbol.DeclaringSyntaxReferences.Select(r => r.GetSyntax(cancellation)).FirstOrDefault(s => compilation.ContainsSyntaxTree(s.SyntaxTree));

    /// <summary>The body of a method, accessor or constructor; null where there is none in this project.</summary>
    public IOperation? Body(IMethodSymbol method, CancellationToken cancellation) => _bodies.GetOrAdd(method, _ =>
        Syntax(method.PartialImplementationPart ?? method, cancellation) is { } syntax
            and (BaseMethodDeclarationSyntax or ArrowExpressionClauseSyntax or AccessorDeclarationSyntax or LocalFunctionStatementSyntax)
            ? Operation(syntax, cancellation) : null);

    public bool IsHere(ISymbol symbol, CancellationToken cancellation) => Syntax(symbol, cancellation) is not null;

    /// <summary>The class declaration that carries a primary constructor's parameters; null for another constructor.</summary>
    public TypeDeclarationSyntax? Primary(IMethodSymbol constructor, CancellationToken cancellation) => Syntax(constructor, cancellation) as TypeDeclarationSyntax;

    /// <summary>Fields and properties with an initializer, in the order in which they run.</summary>
    public IReadOnlyList<(ISymbol Member, IOperation Value)> Initializers(INamedTypeSymbol type, CancellationToken cancellation) => _initializers.GetOrAdd(type, _ =>
        (from member in type.GetMembers()
         where !member.IsStatic
         let value = Initializer(member, cancellation)
         where value is not null
         select (member, value)).ToArray());

    public IOperation? Initializer(ISymbol member, CancellationToken cancellation)
    {
        var clause = Syntax(member, cancellation) switch { VariableDeclaratorSyntax { Initializer: { } v } => v, PropertyDeclarationSyntax { Initializer: { } p } => p, _ => null };
        return clause is null ? null : (Operation(clause, cancellation) as ISymbolInitializerOperation)?.Value;
    }

    /// <summary>True for a property that only stores a value.</summary>
    public bool IsAutomatic(IPropertySymbol property) => _automatic.GetOrAdd(property, _ =>
        property.ContainingType.GetMembers().OfType<IFieldSymbol>().Any(f => SymbolEqualityComparer.Default.Equals(f.AssociatedSymbol, property)));

    public OpMethod? Op(IMethodSymbol method) => _ops.GetOrAdd(method.OriginalDefinition, _ =>
        method.GetAttributes().FirstOrDefault(a => a.AttributeClass is { Name: "OpAttribute" } c && Names.IsDsl(c))?.ConstructorArguments[0].Value is string name
            ? new OpMethod(name, method.Parameters.Select(p => (p.Name, Names.IsTensor(p.Type) ? OpParameter.Tensor
                : p.Type is INamedTypeSymbol { TypeKind: TypeKind.Delegate, DelegateInvokeMethod.Parameters.Length: var count }
                    ? count == 2 ? OpParameter.FunctionOfPosition : OpParameter.Function
                : p.Type.SpecialType == SpecialType.System_Double ? OpParameter.Real : OpParameter.Attribute)).ToArray())
            : null);

    /// <summary>The member that a virtual or interface member stands for on an object of the given type.</summary>
    public T Override<T>(INamedTypeSymbol type, T member) where T : class, ISymbol
    {
        if (!member.IsVirtual && !member.IsAbstract && !member.IsOverride) return member;
        return (T)_overrides.GetOrAdd(type, _ => new(SymbolEqualityComparer.Default)).GetOrAdd(member, _ => Find(type, member));
    }

    static ISymbol Find(INamedTypeSymbol type, ISymbol member)
    {
        // The class that implements an interface may do so by a virtual member.
        if (member.ContainingType.TypeKind == TypeKind.Interface)
            return type.FindImplementationForInterfaceMember(member) is not { } found ? member
                : found.IsVirtual || found.IsAbstract || found.IsOverride ? Find(type, found) : found;
        for (INamedTypeSymbol? t = type; t is not null; t = t.BaseType)
            foreach (var candidate in t.GetMembers(member.Name))
                for (ISymbol? overridden = candidate; overridden is not null; overridden = (overridden as IMethodSymbol)?.OverriddenMethod
                    ?? (ISymbol?)(overridden as IPropertySymbol)?.OverriddenProperty)
                    if (SymbolEqualityComparer.Default.Equals(overridden.OriginalDefinition, member.OriginalDefinition)) return candidate;
        return member;
    }
}

static class Names
{
    public static bool IsDsl(INamedTypeSymbol type) =>
        type.ContainingNamespace is { Name: "Dsl", ContainingNamespace: { Name: "Graph", ContainingNamespace.IsGlobalNamespace: true } };
    public static bool IsDsl(ITypeSymbol? type, string name) => type is INamedTypeSymbol named && named.Name == name && IsDsl(named);
    public static bool IsTensor(ITypeSymbol? type) => IsDsl(type, "Tensor");
    public static string Full(INamedTypeSymbol type) => type.ContainingNamespace is { IsGlobalNamespace: false } space ? space.ToDisplayString() + "." + type.Name : type.Name;
}
