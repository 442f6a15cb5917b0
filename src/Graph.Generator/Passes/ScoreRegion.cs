using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Tracing;

namespace Graph.Generator.Passes;

/// <summary>The expression that an attention's score lambda computes, from the ops that it recorded.</summary>
static class ScoreRegion
{
    /// <summary>The value of line <paramref name="id"/> as an expression of "s" (a raw dot product, here multiplied by <paramref name="scale"/>), "distance" and "head".</summary>
    /// <exception cref="ShapeError">An op of the region is not pointwise.</exception>
    public static Expr Value(IReadOnlyList<TraceNode> trace, int id, double scale)
    {
        var known = new Dictionary<int, Expr>();
        Expr Of(int line) => known.TryGetValue(line, out var value) ? value : known[line] = OpCatalog.Create(trace[line].Op, trace[line].Attributes) switch
        {
            ScoreArgument { Kind: "input" } => new Expr.Number(scale) * Expr.Var("s"),
            ScoreArgument argument => Expr.Var(argument.Kind),
            var op => ScoreOps.Lower(op, trace[line].Inputs.Select(Of).ToArray())
                ?? throw new ShapeError("attention: the score function uses " + trace[line].Op + "; it must be pointwise"),
        };
        return Of(id);
    }
}
