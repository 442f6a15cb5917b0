using System;
using System.Collections.Generic;
using System.Text;

namespace Graph.Generator.IR;

/// <summary>How a language spells what expressions use.</summary>
/// <param name="Call">The function for a unary op.</param>
/// <param name="Number">A constant.</param>
/// <param name="TypedNumber">A constant rounded to the activation type.</param>
public sealed record ExprLanguage(Func<UnaryKind, string> Call, Func<string, string> Number, Func<string, string> TypedNumber)
{
    public static readonly ExprLanguage Cuda = new(
        kind => kind switch
        {
            UnaryKind.Tanh => "fast_tanh",
            UnaryKind.Exp => "fast_exp",
            UnaryKind.Rsqrt => "rsqrtf",
            UnaryKind.Sigmoid => "fast_sigmoid",
            UnaryKind.Relu => "positive_part",
            UnaryKind.Step => "is_positive",
            UnaryKind.Erf => "erff",
            UnaryKind.Sqrt => "sqrtf",
            UnaryKind.Log => "logf",
            _ => throw Expr.Unknown(kind),
        },
        number => number, number => "round_elem(" + number + ")");

    // The CPU target runs in vectors of fp32: nothing is rounded to a narrower type.
    public static readonly ExprLanguage CSharp = new(
        kind => "Graph.Runtime.Cpu.CpuMath." + kind switch
        {
            UnaryKind.Tanh => "Tanh",
            UnaryKind.Exp => "Exp",
            UnaryKind.Rsqrt => "Rsqrt",
            UnaryKind.Sigmoid => "Sigmoid",
            UnaryKind.Relu => "Relu",
            UnaryKind.Step => "Step",
            UnaryKind.Erf => "Erf",
            UnaryKind.Sqrt => "Sqrt",
            UnaryKind.Log => "Log",
            _ => throw Expr.Unknown(kind),
        },
        number => "V(" + number + ")", number => "V(" + number + ")");

    /// <summary>Whether the CUDA C of an expression calls what Kernels/Common/functions.cu has; the other functions are the prelude's or CUDA's own.</summary>
    public static bool NeedsFunctions(Expr e) => e switch
    {
        Expr.Un u => NeedsFunctions(u.Kind) || NeedsFunctions(u.X),
        Expr.Bin b => NeedsFunctions(b.A) || NeedsFunctions(b.B),
        _ => false,
    };

    static bool NeedsFunctions(UnaryKind kind) => kind switch
    {
        UnaryKind.Sigmoid or UnaryKind.Relu or UnaryKind.Step => true,
        UnaryKind.Neg or UnaryKind.Tanh or UnaryKind.Exp or UnaryKind.Rsqrt or UnaryKind.Erf or UnaryKind.Sqrt or UnaryKind.Log => false,
        _ => throw Expr.Unknown(kind),
    };
}

/// <summary>Prints expressions as source. The kernels' variables keep their names; precedence is explicit where it is not obvious.</summary>
public static class ExprSource
{
    public static string Print(Expr e, ExprLanguage language, Func<string, string> variable) => Print(e, language, variable, 0);

    // Levels: 0 anything, 1 a term of a sum, 2 a factor.
    static string Print(Expr e, ExprLanguage language, Func<string, string> variable, int level)
    {
        switch (e)
        {
            case Expr.Number n:
                var number = language.Number(NumberText.Float(n.Value));
                return Parenthesize(number, number[0] == '-' && level > 0);
            case Expr.TypedNumber n: return language.TypedNumber(NumberText.Float(n.Value));
            case Expr.Variable v: return variable(v.Name);
            case Expr.Un { Kind: UnaryKind.Neg } u: return Parenthesize("-" + Print(u.X, language, variable, 2), level > 0);
            case Expr.Un u: return language.Call(u.Kind) + "(" + Print(u.X, language, variable, 0) + ")";
            case Expr.Bin b:
                var (sign, own) = b.Kind switch { BinaryKind.Add => (" + ", 0), BinaryKind.Sub => (" - ", 0), BinaryKind.Mul => (" * ", 1),
                    BinaryKind.Div => (" / ", 1), _ => throw Expr.Unknown(b.Kind) };
                // The right operand of - and / binds tighter: a - (b + c).
                var right = b.Kind is BinaryKind.Sub or BinaryKind.Div ? own + 1 : own;
                return Parenthesize(Print(b.A, language, variable, own) + sign + Print(b.B, language, variable, right), level > own);
            default: throw new InvalidOperationException("expression: unknown node");
        }
    }

    static string Parenthesize(string text, bool needed) => needed ? "(" + text + ")" : text;

    /// <summary>
    /// Statements `const float t = …;` for subtrees that occur more than once in the results, then one
    /// assignment per result. This is how a value and its derivative share one tanh.
    /// </summary>
    public static string Body(IReadOnlyList<(string Target, Expr Value)> results, ExprLanguage language, string declare, string indent)
    {
        var counts = new Dictionary<Expr, int>();
        void Count(Expr e)
        {
            if (e is not (Expr.Un or Expr.Bin)) return;
            counts[e] = counts.TryGetValue(e, out var n) ? n + 1 : 1;
            if (counts[e] > 1) return;
            if (e is Expr.Un u) Count(u.X);
            if (e is Expr.Bin b) { Count(b.A); Count(b.B); }
        }
        foreach (var (_, value) in results) Count(value);

        var text = new StringBuilder();
        var names = new Dictionary<Expr, string>();
        Expr Named(Expr e)
        {
            if (names.TryGetValue(e, out var known)) return Expr.Var(known);
            var inner = e switch
            {
                Expr.Un u => u with { X = Named(u.X) },
                Expr.Bin b => b with { A = Named(b.A), B = Named(b.B) },
                _ => e,
            };
            if (!counts.TryGetValue(e, out var n) || n < 2) return inner;
            var name = e is Expr.Un { Kind: UnaryKind.Tanh } && !names.ContainsValue("t") ? "t" : "t" + (names.Count + 1);
            names[e] = name;
            text.Append(indent).Append(declare).Append(' ').Append(name).Append(" = ").Append(Print(inner, language, v => v)).Append(";\n");
            return Expr.Var(name);
        }
        foreach (var (target, value) in results)
        {
            var printed = Print(Named(value), language, v => v);
            text.Append(indent).Append(target).Append(printed).Append(";\n");
        }
        return text.ToString();
    }
}
