using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>Which ops a score function may use: numbers, and what is pointwise or expands into nothing else. The catalog needs no list of them.</summary>
static class ScoreOps
{
    /// <summary>The op on scalars as an expression; null when it is not pointwise.</summary>
    public static Expr? Lower(Op op, IReadOnlyList<Expr> inputs) => op switch
    {
        Const c => new Expr.Number(c.Value),
        TypedConst c => new Expr.TypedNumber(c.Value),
        Pointwise pointwise => pointwise.Lower(inputs),
        Leaf => null,
        _ => Expanded(op, inputs),
    };

    static Expr? Expanded(Op op, IReadOnlyList<Expr> inputs)
    {
        var g = new GraphBuilder();
        var leaves = inputs.Select((_, i) => g.Add(new Param("x" + NumberText.Int(i), TensorType.Scalar))).ToArray();
        int? y;
        try
        {
            op.Infer(leaves.Select(g.Type).ToArray());
            y = op.Expand(g, leaves);
        }
        catch (ShapeError)
        {
            // An expansion that needs rows or columns.
            return null;
        }
        if (y is not { } result) return null;
        var values = new Expr?[g.Count];
        for (var id = 0; id < g.Count; id++)
        {
            var of = g[id].Inputs.Select(i => values[i]).ToArray();
            values[id] = id < leaves.Length ? inputs[id] : of.Contains(null) ? null : Lower(g[id].Op, of!);
        }
        return values[result];
    }
}
