using System.Collections.Generic;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// Of a model whose weights are all trained: every Param is, and adapters are gone. B is zero before the first step and nothing would train it,
/// so a linear with a B as its weight is zero, and so is what multiplies it; a sum is its other term.
/// </summary>
public static class TrainWeights
{
    public static TensorGraph Run(TensorGraph graph)
    {
        var zero = new HashSet<int>();
        var trained = GraphBuilder.Rewrite(graph, (g, node, inputs) =>
        {
            bool IsZero(int i) => i < node.Inputs.Count && zero.Contains(node.Inputs[i]);
            switch (node.Op)
            {
                case Param p:
                    return g.Named(node.Name, p with { Trained = true });
                case MatMul { Layout: GemmLayout.Nt } when g[inputs[1]].Op is Adapter { IsA: false }:
                    zero.Add(node.Id);
                    return null;
                case Binary { Kind: BinaryKind.Mul } when IsZero(0) || IsZero(1):
                case Binary { Kind: BinaryKind.Div } when IsZero(0):
                case Unary { Kind: UnaryKind.Neg } when IsZero(0):
                    zero.Add(node.Id);
                    return null;
                case Binary { Kind: BinaryKind.Add } when IsZero(0) && IsZero(1):
                    zero.Add(node.Id);
                    return null;
                case Binary { Kind: BinaryKind.Add } when IsZero(0):
                    return inputs[1];
                case Binary { Kind: BinaryKind.Add or BinaryKind.Sub } when IsZero(1):
                    return inputs[0];
                default:
                    for (var i = 0; i < node.Inputs.Count; i++)
                        if (IsZero(i))
                            throw new ShapeError("full: " + node.Op.Name + " reads an adapter's product; only adapters that are added to something can be left out", node.Origin);
                    return null;
            }
        });
        // Without what only led to adapters.
        return GraphBuilder.Rewrite(trained, (_, _, _) => null);
    }
}
