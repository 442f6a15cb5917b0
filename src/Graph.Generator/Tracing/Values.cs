using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

// What an expression can be worth while tracing: a boxed number, bool, char or string, null, or one of these.

/// <summary>A symbolic tensor: its number in the trace, and its inferred type.</summary>
sealed record TensorValue(int Id, TensorType Type);

/// <summary>An instance of a class or record of the model's project. Slots: fields, automatic properties and the parameters of primary constructors, by symbol, as base and derived may use one name.</summary>
sealed class ModelObject(INamedTypeSymbol type, Dictionary<ISymbol, object?>? slots = null)
{
    public INamedTypeSymbol Type => type;
    public Dictionary<ISymbol, object?> Slots { get; } = slots ?? new(SymbolEqualityComparer.Default);
    public ModelObject Clone() => new(type, new Dictionary<ISymbol, object?>(Slots, SymbolEqualityComparer.Default));
}

/// <summary>An array or a List.</summary>
sealed class ListValue(IEnumerable<object?> items, bool fixedSize)
{
    public List<object?> Items { get; } = items.ToList();
    public bool FixedSize => fixedSize;
}

sealed record TupleValue(object?[] Items);

/// <summary>A lambda, a local function or a method, with what it sees.</summary>
sealed record FunctionValue(IMethodSymbol Method, IOperation? Body, ModelObject? Self, Frame? Captured);

/// <summary>An open scope; disposing it, at the end of a using, closes it.</summary>
sealed record ScopeValue(int Depth);

/// <summary>A variable: lambdas that capture it share it.</summary>
sealed class Cell(object? value)
{
    public object? Value = value;
}

/// <summary>The variables of one running method, lambda or local function.</summary>
sealed class Frame(ISymbol? owner, ModelObject? self, Frame? outer = null, Dictionary<ISymbol, Cell>? cells = null)
{
    readonly Dictionary<ISymbol, Cell> _cells = cells ?? new(SymbolEqualityComparer.Default);

    public ISymbol? Owner => owner;
    public ModelObject? Self => self;
    public Frame? Outer => outer;

    /// <summary>Set while a ?. chain is evaluated.</summary>
    public object? ConditionalReceiver;

    public void Declare(ISymbol symbol, object? value) => _cells[symbol] = new Cell(value);

    public Cell? Find(ISymbol symbol) => _cells.TryGetValue(symbol, out var cell) ? cell : outer?.Find(symbol);

    /// <summary>What a lambda made now keeps: today's variables, shared; a loop's next round declares new ones.</summary>
    public Frame Capture() => new(owner, self, outer, new Dictionary<ISymbol, Cell>(_cells, SymbolEqualityComparer.Default));
}

static class Show
{
    /// <summary>A value for an error message.</summary>
    public static string Value(object? value) => value switch
    {
        null => "null",
        bool b => b ? "true" : "false",
        string s => "\"" + s + "\"",
        TensorValue t => "a tensor " + t.Type,
        ModelObject o => "a " + o.Type.Name,
        ListValue l => "a list of " + l.Items.Count.ToString(CultureInfo.InvariantCulture),
        TupleValue => "a tuple",
        FunctionValue => "a function",
        ScopeValue => "a scope",
        _ => System.Convert.ToString(value, CultureInfo.InvariantCulture),
    };
}
