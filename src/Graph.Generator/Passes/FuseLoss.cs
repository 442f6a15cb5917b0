using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 03: cross_entropy(f(linear(x, table))) with a frozen table and pointwise f becomes linear_cross_entropy with f as a hole. Must run before Differentiate: the fused op
/// makes its gradient while a chunk's logits exist, so logits are never kept.
/// </summary>
public static class FuseLoss
{
    public static TensorGraph Run(TensorGraph graph) => GraphBuilder.Rewrite(graph, (g, node, inputs) =>
    {
        if (node.Op is not CrossEntropy) return null;
        Node? linear = null;
        var logit = Logit(g, inputs[0], ref linear);
        if (logit is null || linear is null)
            throw new ShapeError("cross_entropy: the logits must be one linear of a frozen table, with pointwise functions of constants around it", node.Origin);
        return g.Named("loss", new LinearCrossEntropy(logit), linear.Inputs[0], linear.Inputs[1], inputs[1]);
    });

    /// <summary>The value as an expression of the head's raw output "s", or null when it depends on anything else.</summary>
    static Expr? Logit(GraphBuilder g, int id, ref Node? linear)
    {
        var node = g[id];
        switch (node.Op)
        {
            case MatMul { Layout: GemmLayout.Nt } when g[node.Inputs[1]].Op is Param && (linear is null || linear.Id == id):
                linear = node;
                return Expr.Var("s");
            case Const c:
                return new Expr.Number(c.Value);
            case Pointwise pointwise:
                var parts = new Expr[node.Inputs.Count];
                for (var i = 0; i < parts.Length; i++)
                {
                    if (Logit(g, node.Inputs[i], ref linear) is not { } part) return null;
                    parts[i] = part;
                }
                return pointwise.Lower(parts);
            default:
                return null;
        }
    }
}
