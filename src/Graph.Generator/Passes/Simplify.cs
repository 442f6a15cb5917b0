using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 04 and 06: dead nodes and common subexpressions go (the builder's work), and a scalar that multiplies a product over ranks moves to its narrow side:
/// (S·Bᵀ)·s = (S·s)·Bᵀ, R columns to scale instead of N. What constants can fold is folded by Expr when kernels are made.
/// </summary>
public static class Simplify
{
    public static TensorGraph Run(TensorGraph graph) => GraphBuilder.Rewrite(graph, (g, node, inputs) =>
    {
        if (node.Op is not Binary { Kind: BinaryKind.Mul } mul) return null;
        return Move(g, mul, inputs[0], inputs[1]) ?? Move(g, mul, inputs[1], inputs[0]);
    });

    static int? Move(GraphBuilder g, Binary mul, int product, int scalar)
    {
        if (!g.Type(scalar).IsScalar || g[product].Op is not MatMul { Layout: GemmLayout.Nt } linear) return null;
        var narrow = g[product].Inputs[0];
        if (!g.Type(narrow).Shape.Last.IsRank) return null;
        return g.Named(g[product].Name, linear, g.Add(mul, narrow, scalar), g[product].Inputs[1]);
    }
}
