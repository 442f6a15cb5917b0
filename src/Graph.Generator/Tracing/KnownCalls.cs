using System;
using System.Globalization;
using System.Linq;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>The library methods a model may call: System.Math, and a few of lists, texts and sequences.</summary>
static class KnownCalls
{
    /// <summary>Known is false where the method is not on the list.</summary>
    public static (bool Known, object? Value) Run(IOperation at, IMethodSymbol method, object? instance, object?[] a, Func<object?, object?[], object?> call) =>
        (Names.Full(method.ContainingType), method.Name, instance) switch
    {
        ("System.Math" or "System.Double" or "System.MathF", _, null) when Math(method.Name, a) is { } number => (true, number),
        ("System.Collections.Generic.List", "Add", ListValue l) => (true, Add(l, a[0])),
        (_, "GetValueOrDefault", _) when method.ContainingType.OriginalDefinition.SpecialType == SpecialType.System_Nullable_T => (true, instance
            ?? (a.Length > 0 ? a[0] : Arithmetic.Convert(at, 0, method.ReturnType, false))),
        (_, "ToString", int or long or double or float or string or bool) when a.Length == 0
            || a is [null or IFormatProvider] => (true, Convert.ToString(instance, CultureInfo.InvariantCulture)),
        ("System.String", "Join", null) when a is [string separator, ListValue l] =>
            (true, string.Join(separator, l.Items.Select(i => Convert.ToString(i, CultureInfo.InvariantCulture)))),
        ("System.String", "StartsWith", string s) when a is [string start] => (true, s.StartsWith(start, StringComparison.Ordinal)),
        ("System.String", "EndsWith", string s) when a is [string end] => (true, s.EndsWith(end, StringComparison.Ordinal)),
        ("System.String", "Contains", string s) when a is [string part] => (true, s.Contains(part)),
        ("System.Linq.Enumerable", "Range", null) => (true, new ListValue(Enumerable.Range((int)a[0]!, Count(at, a[1])).Select(i => (object?)i), true)),
        ("System.Linq.Enumerable", "Repeat", null) => (true, new ListValue(Enumerable.Repeat(a[0], Count(at, a[1])), true)),
        ("System.Linq.Enumerable", "Select", null) when a is [ListValue l, FunctionValue { Method.Parameters.Length: 1 } f] =>
            (true, new ListValue(l.Items.Select(i => call(f, new[] { i })).ToArray(), true)),
        ("System.Linq.Enumerable", "Sum", null) when a is [ListValue l] && l.Items.All(i => i is int) => (true, l.Items.Sum(i => (int)i!)),
        ("System.Linq.Enumerable" or "System.MemoryExtensions", "Contains", null) when a is [ListValue l, null or int or long or double or bool or char or string] =>
            (true, l.Items.Contains(a[1])),
        ("System.Linq.Enumerable", "ToArray", null) when a is [ListValue l] => (true, new ListValue(l.Items, true)),
        ("System.Linq.Enumerable", "ToList", null) when a is [ListValue l] => (true, new ListValue(l.Items, false)),
        _ => (false, null),
    };

    /// <summary>Static members of the library: Math.PI is a constant already.</summary>
    public static object? Static(IOperation at, ISymbol member) => (Names.Full(member.ContainingType), member.Name) switch
    {
        ("System.Globalization.CultureInfo", "InvariantCulture") => null,
        ("System.String", "Empty") => "",
        _ => throw Outside(at, member),
    };

    /// <summary>A method, constructor's class or static member whose code is not in the model's project, and what may be used in its place.</summary>
    public static TraceError Outside(IOperation? at, ISymbol what)
    {
        var name = what is INamedTypeSymbol ? what.Name : what.ContainingType.Name + "." + what.Name;
        var space = what.ContainingNamespace?.ToDisplayString() ?? "";
        return new(DiagnosticDescriptors.Outside, at?.Syntax.GetLocation() ?? Location.None, space == "System.Linq"
            ? "LINQ's '" + name + "' is not traced, or not with these arguments; "
                + "a model may call Range, Repeat, Select with one parameter, Sum of ints, Contains, ToArray and ToList, or write a loop"
            : space == "System" || space.StartsWith("System.", StringComparison.Ordinal)
            ? "'" + name + "' is part of the base library, "
                + "of which only a few members are traced: numbers, texts, arrays, List and the usual functions of Math; docs/architecture.md lists them"
            : "'" + name + "' belongs to another project, whose code cannot be traced; a model may call ops and code of its own project");
    }

    static object? Add(ListValue list, object? item)
    {
        list.Items.Add(item);
        return null;
    }

    static int Count(IOperation at, object? count) =>
        count is int n and >= 0 and <= 1_000_000 ? n : throw TraceError.Value(at, "a sequence cannot have " + Show.Value(count) + " elements while tracing");

    static object? Math(string name, object?[] arguments) => (name, arguments) switch
    {
        ("Sqrt", [double x]) => System.Math.Sqrt(x),
        ("Pow", [double x, double y]) => System.Math.Pow(x, y),
        ("Exp", [double x]) => System.Math.Exp(x),
        ("Log", [double x]) => System.Math.Log(x),
        ("Log", [double x, double b]) => System.Math.Log(x, b),
        ("Log2", [double x]) => System.Math.Log(x, 2),
        ("Log10", [double x]) => System.Math.Log10(x),
        ("Tanh", [double x]) => System.Math.Tanh(x),
        ("Sin", [double x]) => System.Math.Sin(x),
        ("Cos", [double x]) => System.Math.Cos(x),
        ("Floor", [double x]) => System.Math.Floor(x),
        ("Ceiling", [double x]) => System.Math.Ceiling(x),
        ("Round", [double x]) => System.Math.Round(x),
        ("Abs", [double x]) => System.Math.Abs(x),
        ("Abs", [int x]) => (object)System.Math.Abs(x),
        ("Min", [double x, double y]) => System.Math.Min(x, y),
        ("Min", [int x, int y]) => System.Math.Min(x, y),
        ("Max", [double x, double y]) => System.Math.Max(x, y),
        ("Max", [int x, int y]) => System.Math.Max(x, y),
        ("Clamp", [int x, int low, int high]) => System.Math.Max(low, System.Math.Min(high, x)),
        ("Clamp", [double x, double low, double high]) => System.Math.Max(low, System.Math.Min(high, x)),
        _ => null,
    };
}
