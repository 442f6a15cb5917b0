using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Generator.IR;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

// What an expression can be worth while tracing: a boxed number, bool, char or string, null, or one of these.

/// <summary>A symbolic tensor: its number in the trace, and its inferred type.</summary>
sealed record TensorValue(int Id, TensorType Type)
{
    /// <summary>The result of an op that does not fit.</summary>
    public static readonly TensorValue Unknown = new(-1, TensorType.Scalar);
    public bool IsUnknown => Id < 0;
}

/// <summary>
/// An instance of a class or record of the model's project. Slots: fields, automatic properties and the
/// parameters of primary constructors, by symbol, as base and derived may use one name.
/// </summary>
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

/// <summary>The DSL's ScorePosition: what a score function is told of a pair beside its score.</summary>
sealed record PositionValue(TensorValue Distance, TensorValue Head);

/// <summary>A lambda, a local function or a method, with what it sees.</summary>
sealed record FunctionValue(IMethodSymbol Method, IOperation? Body, ModelObject? Self, Frame? Captured);

/// <summary>An open scope; disposing it, at the end of a using, closes it.</summary>
sealed record ScopeValue(int Depth);

/// <summary>A variable: lambdas that capture it share it.</summary>
sealed class Cell(object? value)
{
    public object? Value = value;
}

/// <summary>The variables of one running method, lambda or local function: a handful, so a list is faster than a table.</summary>
sealed class Frame(ISymbol? owner, ModelObject? self, Frame? outer = null)
{
    readonly List<(ISymbol Symbol, Cell Cell)> _variables = new(4);

    public ISymbol? Owner => owner;
    public ModelObject? Self => self;
    public Frame? Outer => outer;

    /// <summary>Set while a ?. chain is evaluated.</summary>
    public object? ConditionalReceiver;

    /// <summary>A new variable; a loop's next round, or a switch's next arm, declares its own of the same symbol.</summary>
    public void Declare(ISymbol symbol, object? value)
    {
        for (var i = 0; i < _variables.Count; i++)
            if (Same(_variables[i].Symbol, symbol))
            {
                _variables[i] = (symbol, new Cell(value));
                return;
            }
        _variables.Add((symbol, new Cell(value)));
    }

    public Cell? Find(ISymbol symbol)
    {
        foreach (var (variable, cell) in _variables) if (Same(variable, symbol)) return cell;
        return outer?.Find(symbol);
    }

    static bool Same(ISymbol a, ISymbol b) => ReferenceEquals(a, b) || a.Name == b.Name && SymbolEqualityComparer.Default.Equals(a, b);

    /// <summary>What a lambda made now keeps: today's variables, shared.</summary>
    public Frame Capture()
    {
        var copy = new Frame(owner, self, outer);
        copy._variables.AddRange(_variables);
        return copy;
    }
}

static class Show
{
    /// <summary>A value for an error message.</summary>
    public static string Value(object? value) => value switch
    {
        null => "null",
        bool b => b ? "true" : "false",
        string s => "\"" + s + "\"",
        TensorValue t => t.IsUnknown ? "a tensor" : "a tensor " + t.Type,
        ModelObject o => "a " + o.Type.Name,
        ListValue l => "a list of " + l.Items.Count.ToString(CultureInfo.InvariantCulture),
        TupleValue => "a tuple",
        FunctionValue => "a function",
        PositionValue => "a score's position",
        ScopeValue => "a scope",
        _ => System.Convert.ToString(value, CultureInfo.InvariantCulture),
    };
}
