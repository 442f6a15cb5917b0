using System;
using System.Globalization;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

/// <summary>C#'s arithmetic on values known while tracing: int, long, float, double, bool, string. Operands have been converted to one type by the compiler.</summary>
static class Arithmetic
{
    public static object? Binary(IOperation at, BinaryOperatorKind kind, object? left, object? right, bool isChecked = false)
    {
        if ((left is TensorValue || right is TensorValue)
            && kind is BinaryOperatorKind.LessThan or BinaryOperatorKind.LessThanOrEqual or BinaryOperatorKind.GreaterThan or BinaryOperatorKind.GreaterThanOrEqual)
            throw TraceError.Compared(at, left, right);
        try
        {
            return (left, right) switch
            {
                (int a, int b) => isChecked ? Checked(kind, a, b) : Int(kind, a, b),
                (long a, long b) => isChecked ? Checked(kind, a, b) : Long(kind, a, b),
                (double a, double b) => Double(kind, a, b),
                (float a, float b) => Double(kind, a, b) switch { double d => (float)d, var other => other },
                (bool a, bool b) => kind switch { BinaryOperatorKind.And => a & b, BinaryOperatorKind.Or => a | b, BinaryOperatorKind.ExclusiveOr => a ^ b,
                    BinaryOperatorKind.Equals => a == b, BinaryOperatorKind.NotEquals => a != b, _ => null },
                (char a, char b) => Int(kind, a, b) is bool compared ? compared : null,
                (string or null, string or null) when kind == BinaryOperatorKind.Add => (string?)left + (string?)right,
                _ => null,
            } ?? throw TraceError.Unsupported(at, Show.Value(left) + " " + kind + " " + Show.Value(right) + " cannot be computed while tracing; "
                + "use int, long, float, double, bool or string");
        }
        catch (DivideByZeroException)
        {
            throw TraceError.Value(at, Show.Value(left) + " is divided by zero");
        }
        catch (OverflowException)
        {
            throw TraceError.Value(at, Show.Value(left) + " " + kind + " " + Show.Value(right) + " overflows");
        }
    }

    public static object? Unary(IOperation at, UnaryOperatorKind kind, object? value) => (kind, value) switch
    {
        (UnaryOperatorKind.Not, bool b) => !b,
        (UnaryOperatorKind.Plus, int or long or float or double) => value,
        (UnaryOperatorKind.Minus, int i) => unchecked(-i),
        (UnaryOperatorKind.Minus, long l) => unchecked(-l),
        (UnaryOperatorKind.Minus, float f) => -f,
        (UnaryOperatorKind.Minus, double d) => -d,
        (UnaryOperatorKind.BitwiseNegation, int i) => ~i,
        (UnaryOperatorKind.BitwiseNegation, long l) => ~l,
        _ => throw TraceError.Unsupported(at, kind + " of " + Show.Value(value) + " cannot be computed while tracing"),
    };

    /// <summary>A number as another type, the way a C# cast does it; anything else passes.</summary>
    public static object? Convert(IOperation at, object? value, ITypeSymbol? type, bool isChecked)
    {
        if (type is INamedTypeSymbol { OriginalDefinition.SpecialType: SpecialType.System_Nullable_T } nullable) type = nullable.TypeArguments[0];
        else if (value is null && type is { IsValueType: true }) throw TraceError.Value(at, "null is used where a " + type.Name + " must be");
        if (type is INamedTypeSymbol { EnumUnderlyingType: { } underlying }) type = underlying;
        if (value is decimal) throw TraceError.Unsupported(at, "a decimal is not something a model may use; use int, long, float or double");
        if (type is null || value is not (int or long or float or double or char or byte or short or uint or ulong or sbyte or ushort)) return value;
        if (type.SpecialType is < SpecialType.System_Char or > SpecialType.System_Double || type.SpecialType == SpecialType.System_Decimal) return value;
        try
        {
            if (value is float or double)
            {
                var real = System.Convert.ToDouble(value, CultureInfo.InvariantCulture);
                return type.SpecialType switch
                {
                    SpecialType.System_Double => (object)real,
                    SpecialType.System_Single => (float)real,
                    SpecialType.System_Int32 => isChecked ? checked((int)real) : unchecked((int)real),
                    SpecialType.System_Int64 => isChecked ? checked((long)real) : unchecked((long)real),
                    _ => throw TraceError.Unsupported(at, Show.Value(value) + " as a " + type.Name + " is not something a model may use; use int, long, float or double"),
                };
            }
            var whole = value is char c ? c : System.Convert.ToInt64(value, CultureInfo.InvariantCulture);
            return type.SpecialType switch
            {
                SpecialType.System_Double => (object)(double)whole,
                SpecialType.System_Single => (float)whole,
                SpecialType.System_Int64 => whole,
                SpecialType.System_Int32 => isChecked ? checked((int)whole) : unchecked((int)whole),
                SpecialType.System_Char => (char)whole,
                _ => throw TraceError.Unsupported(at, Show.Value(value) + " as a " + type.Name + " is not something a model may use; use int, long, float or double"),
            };
        }
        catch (OverflowException)
        {
            throw TraceError.Value(at, Show.Value(value) + " does not fit into " + type.Name);
        }
    }

    static object? Int(BinaryOperatorKind kind, int a, int b) => unchecked(kind switch
    {
        BinaryOperatorKind.Add => a + b,
        BinaryOperatorKind.Subtract => a - b,
        BinaryOperatorKind.Multiply => a * b,
        BinaryOperatorKind.Divide => a / b,
        BinaryOperatorKind.Remainder => a % b,
        BinaryOperatorKind.LeftShift => a << b,
        BinaryOperatorKind.RightShift => a >> b,
        BinaryOperatorKind.And => a & b,
        BinaryOperatorKind.Or => a | b,
        BinaryOperatorKind.ExclusiveOr => a ^ b,
        _ => Compare(kind, a.CompareTo(b)),
    });

    static object? Long(BinaryOperatorKind kind, long a, long b) => unchecked(kind switch
    {
        BinaryOperatorKind.Add => a + b,
        BinaryOperatorKind.Subtract => a - b,
        BinaryOperatorKind.Multiply => a * b,
        BinaryOperatorKind.Divide => a / b,
        BinaryOperatorKind.Remainder => a % b,
        BinaryOperatorKind.And => a & b,
        BinaryOperatorKind.Or => a | b,
        BinaryOperatorKind.ExclusiveOr => a ^ b,
        _ => Compare(kind, a.CompareTo(b)),
    });

    static object? Checked(BinaryOperatorKind kind, int a, int b) => kind switch
    {
        BinaryOperatorKind.Add => checked(a + b),
        BinaryOperatorKind.Subtract => checked(a - b),
        BinaryOperatorKind.Multiply => checked(a * b),
        _ => Int(kind, a, b),
    };

    static object? Checked(BinaryOperatorKind kind, long a, long b) => kind switch
    {
        BinaryOperatorKind.Add => checked(a + b),
        BinaryOperatorKind.Subtract => checked(a - b),
        BinaryOperatorKind.Multiply => checked(a * b),
        _ => Long(kind, a, b),
    };

    static object? Double(BinaryOperatorKind kind, double a, double b) => kind switch
    {
        BinaryOperatorKind.Add => a + b,
        BinaryOperatorKind.Subtract => a - b,
        BinaryOperatorKind.Multiply => a * b,
        BinaryOperatorKind.Divide => a / b,
        BinaryOperatorKind.Remainder => a % b,
        BinaryOperatorKind.Equals => a == b,
        BinaryOperatorKind.NotEquals => a != b,
        BinaryOperatorKind.LessThan => a < b,
        BinaryOperatorKind.LessThanOrEqual => a <= b,
        BinaryOperatorKind.GreaterThan => a > b,
        BinaryOperatorKind.GreaterThanOrEqual => a >= b,
        _ => null,
    };

    static object? Compare(BinaryOperatorKind kind, int order) => kind switch
    {
        BinaryOperatorKind.Equals => order == 0,
        BinaryOperatorKind.NotEquals => order != 0,
        BinaryOperatorKind.LessThan => order < 0,
        BinaryOperatorKind.LessThanOrEqual => order <= 0,
        BinaryOperatorKind.GreaterThan => order > 0,
        BinaryOperatorKind.GreaterThanOrEqual => order >= 0,
        _ => null,
    };
}
