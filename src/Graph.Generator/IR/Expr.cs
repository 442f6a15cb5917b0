using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>Sigmoid is 1 / (1 + e⁻ˣ), Relu max(x, 0), Step 1 where x &gt; 0 and else 0 (the slope of Relu), Log the natural logarithm. All are finite wherever the function
/// is.</summary>
public enum UnaryKind { Neg, Tanh, Exp, Rsqrt, Sigmoid, Relu, Step, Erf, Sqrt, Log }

public enum BinaryKind { Add, Sub, Mul, Div }

/// <summary>
/// A scalar fp32 expression: what one element of a fused kernel computes. Leaves are constants and named variables (a loaded element, a row statistic, the score).
/// Records compare by value, so equal subtrees are found by a dictionary when printing.
/// </summary>
public abstract record Expr
{
    public sealed record Number(double Value) : Expr;
    /// <summary>A constant that is rounded to the activation type when the run's type is known (design: embedding × √hidden).</summary>
    public sealed record TypedNumber(double Value) : Expr;
    public sealed record Variable(string Name) : Expr;
    public sealed record Un(UnaryKind Kind, Expr X) : Expr;
    public sealed record Bin(BinaryKind Kind, Expr A, Expr B) : Expr;

    public static readonly Expr Zero = new Number(0), One = new Number(1);
    public static Expr Var(string name) => new Variable(name);

    public static Expr operator +(Expr a, Expr b) => (a, b) switch
    {
        (Number x, Number y) => new Number(x.Value + y.Value),
        (Number { Value: 0 }, _) => b,
        (_, Number { Value: 0 }) => a,
        _ => new Bin(BinaryKind.Add, a, b),
    };

    public static Expr operator -(Expr a, Expr b) => (a, b) switch
    {
        (Number x, Number y) => new Number(x.Value - y.Value),
        (_, Number { Value: 0 }) => a,
        (Number { Value: 0 }, _) => -b,
        _ => new Bin(BinaryKind.Sub, a, b),
    };

    // Constants drift to the left and merge, so scale · softcap · log2(e) chains become one factor.
    public static Expr operator *(Expr a, Expr b) => (a, b) switch
    {
        (Number x, Number y) => new Number(x.Value * y.Value),
        (Number { Value: 0 }, _) or (_, Number { Value: 0 }) => Zero,
        (Number { Value: 1 }, _) => b,
        (_, Number) => b * a,
        (Number x, Bin { Kind: BinaryKind.Mul, A: Number y } m) => new Number(x.Value * y.Value) * m.B,
        (Bin { Kind: BinaryKind.Mul, A: Number x } m, Bin { Kind: BinaryKind.Mul, A: Number y } n) => new Number(x.Value * y.Value) * (m.B * n.B),
        (Number { Value: -1 }, _) => -b,
        (_, Bin { Kind: BinaryKind.Mul, A: Number x } m) => x * (a * m.B),
        (Bin { Kind: BinaryKind.Mul, A: Number x } m, _) => x * (m.B * b),
        _ => new Bin(BinaryKind.Mul, a, b),
    };

    public static Expr operator /(Expr a, Expr b) => (a, b) switch
    {
        (_, Number y) => a * new Number(1 / y.Value),
        (Number { Value: 0 }, _) => Zero,
        _ => new Bin(BinaryKind.Div, a, b),
    };

    public static Expr operator -(Expr a) => a switch
    {
        Number x => new Number(-x.Value),
        Un { Kind: UnaryKind.Neg } n => n.X,
        Bin { Kind: BinaryKind.Mul, A: Number x } m => new Number(-x.Value) * m.B,
        _ => new Un(UnaryKind.Neg, a),
    };

    public static Expr Apply(UnaryKind kind, Expr x) => (kind, x) switch
    {
        (UnaryKind.Neg, _) => -x,
        (_, Number n) => new Number(Evaluate(kind, n.Value)),
        _ => new Un(kind, x),
    };

    public static Expr Apply(BinaryKind kind, Expr a, Expr b) => kind switch
    {
        BinaryKind.Add => a + b,
        BinaryKind.Sub => a - b,
        BinaryKind.Mul => a * b,
        BinaryKind.Div => a / b,
        _ => throw Unknown(kind),
    };

    public static double Evaluate(UnaryKind kind, double x) => kind switch
    {
        UnaryKind.Neg => -x,
        UnaryKind.Tanh => Math.Tanh(x),
        UnaryKind.Exp => Math.Exp(x),
        UnaryKind.Rsqrt => 1 / Math.Sqrt(x),
        UnaryKind.Sigmoid => 1 / (1 + Math.Exp(-x)),
        UnaryKind.Relu => x < 0 ? 0 : x,
        UnaryKind.Step => x > 0 ? 1 : 0,
        UnaryKind.Erf => ErrorFunction.Of(x),
        UnaryKind.Sqrt => Math.Sqrt(x),
        UnaryKind.Log => Math.Log(x),
        _ => throw Unknown(kind),
    };

    static double Evaluate(BinaryKind kind, double a, double b) => kind switch
    {
        BinaryKind.Add => a + b,
        BinaryKind.Sub => a - b,
        BinaryKind.Mul => a * b,
        BinaryKind.Div => a / b,
        _ => throw Unknown(kind),
    };

    /// <summary>A new kind fails here, wherever a switch has no arm for it.</summary>
    internal static InvalidOperationException Unknown(Enum kind) => new("expression: there is no arm for " + kind.GetType().Name + "." + kind);

    /// <summary>Replaces variables.</summary>
    public Expr Substitute(Func<string, Expr> value) => this switch
    {
        Variable v => value(v.Name),
        Un u => Apply(u.Kind, u.X.Substitute(value)),
        Bin b => Apply(b.Kind, b.A.Substitute(value), b.B.Substitute(value)),
        _ => this,
    };

    /// <summary>The same expression with other names.</summary>
    public Expr Renamed(Func<string, string> name) => this switch
    {
        Variable v => new Variable(name(v.Name)),
        Un u => u with { X = u.X.Renamed(name) },
        Bin b => b with { A = b.A.Renamed(name), B = b.B.Renamed(name) },
        _ => this,
    };

    public double Evaluate(Func<string, double> value) => this switch
    {
        Number n => n.Value,
        TypedNumber n => n.Value,
        Variable v => value(v.Name),
        Un u => Evaluate(u.Kind, u.X.Evaluate(value)),
        Bin b => Evaluate(b.Kind, b.A.Evaluate(value), b.B.Evaluate(value)),
        _ => throw new InvalidOperationException("expression: unknown node"),
    };

    /// <summary>d(this)/d(variable). Written with the value's own subtrees (tanh' = 1 − tanh²), so that value and derivative share their work when printed together.</summary>
    public Expr Derivative(string variable) => this switch
    {
        Variable v => v.Name == variable ? One : Zero,
        Un u => Slope(u) * u.X.Derivative(variable),
        Bin { Kind: BinaryKind.Add } b => b.A.Derivative(variable) + b.B.Derivative(variable),
        Bin { Kind: BinaryKind.Sub } b => b.A.Derivative(variable) - b.B.Derivative(variable),
        Bin { Kind: BinaryKind.Mul } b => b.A.Derivative(variable) * b.B + b.A * b.B.Derivative(variable),
        Bin { Kind: BinaryKind.Div } b => b.A.Derivative(variable) / b.B - this * (b.B.Derivative(variable) / b.B),
        Bin b => throw Unknown(b.Kind),
        Number or TypedNumber => Zero,
        _ => throw new InvalidOperationException("expression: unknown node"),
    };

    static Expr Slope(Un u) => u.Kind switch
    {
        UnaryKind.Neg => new Number(-1),
        UnaryKind.Tanh => One - u * u,
        UnaryKind.Exp => u,
        UnaryKind.Rsqrt => new Number(-0.5) * (u * (u * u)),
        UnaryKind.Sigmoid => u * (One - u),
        UnaryKind.Relu => Apply(UnaryKind.Step, u),
        UnaryKind.Step => Zero,
        UnaryKind.Erf => new Number(ErrorFunction.TwoOverSqrtPi) * Apply(UnaryKind.Exp, -(u.X * u.X)),
        UnaryKind.Sqrt => new Number(0.5) / u,
        UnaryKind.Log => One / u.X,
        _ => throw Unknown(u.Kind),
    };

    /// <summary>
    /// Interval analysis: the largest |value| for any value of the variables, or null when unbounded. Proves that a softcapped score stays within its cap,
    /// which is what lets attention skip the row maximum.
    /// </summary>
    public double? Bound() => this switch
    {
        Number n => Math.Abs(n.Value),
        TypedNumber n => Math.Abs(n.Value),
        Un u => u.Kind switch
        {
            UnaryKind.Tanh or UnaryKind.Sigmoid or UnaryKind.Step or UnaryKind.Erf => 1,
            UnaryKind.Neg or UnaryKind.Relu => u.X.Bound(),
            UnaryKind.Exp => u.X.Bound() is { } b ? Math.Exp(b) : null,
            UnaryKind.Sqrt => u.X.Bound() is { } b ? Math.Sqrt(b) : null,
            UnaryKind.Rsqrt or UnaryKind.Log => null,
            _ => throw Unknown(u.Kind),
        },
        Bin b => b.Kind switch
        {
            BinaryKind.Mul => b.A.Bound() * b.B.Bound(),
            BinaryKind.Add or BinaryKind.Sub => b.A.Bound() + b.B.Bound(),
            BinaryKind.Div => null,
            _ => throw Unknown(b.Kind),
        },
        Variable => null,
        _ => throw new InvalidOperationException("expression: unknown node"),
    };

    public IEnumerable<string> Variables() => this switch
    {
        Variable v => new[] { v.Name },
        Un u => u.X.Variables(),
        Bin b => b.A.Variables().Concat(b.B.Variables()),
        _ => Enumerable.Empty<string>(),
    };
}
