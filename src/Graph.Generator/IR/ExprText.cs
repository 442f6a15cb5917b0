using System.Globalization;

namespace Graph.Generator.IR;

/// <summary>One-line form of an expression for .graph texts and headers, for example "50·tanh(0.00125·s)".</summary>
public static class ExprText
{
    public static string Print(Expr e) => e switch
    {
        Expr.Number n => n.Value.ToString("R", CultureInfo.InvariantCulture),
        Expr.TypedNumber n => "act(" + n.Value.ToString("R", CultureInfo.InvariantCulture) + ")",
        Expr.Variable v => v.Name,
        Expr.Un { Kind: UnaryKind.Neg } u => "(-" + Print(u.X) + ")",
        Expr.Un u => u.Kind.ToString().ToLowerInvariant() + "(" + Print(u.X) + ")",
        Expr.Bin b => "(" + Print(b.A)
            + b.Kind switch { BinaryKind.Add => "+", BinaryKind.Sub => "-", BinaryKind.Mul => "*", BinaryKind.Div => "/", _ => throw Expr.Unknown(b.Kind) } + Print(b.B) + ")",
        _ => throw new System.InvalidOperationException("expression: unknown node"),
    };
}
