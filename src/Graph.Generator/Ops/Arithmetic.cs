using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>Pointwise nodes in a word, for expansions and adjoints.</summary>
public static class Arithmetic
{
    public static int Const(this GraphBuilder g, double value) => g.Add(new Const(value));
    public static int Add(this GraphBuilder g, int a, int b) => g.Add(new Binary(BinaryKind.Add), a, b);
    public static int Sub(this GraphBuilder g, int a, int b) => g.Add(new Binary(BinaryKind.Sub), a, b);
    public static int Mul(this GraphBuilder g, int a, int b) => g.Add(new Binary(BinaryKind.Mul), a, b);
    public static int Div(this GraphBuilder g, int a, int b) => g.Add(new Binary(BinaryKind.Div), a, b);
    public static int Unary(this GraphBuilder g, UnaryKind kind, int x) => g.Add(new Unary(kind), x);
}
