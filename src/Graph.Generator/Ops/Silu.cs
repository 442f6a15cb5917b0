using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>y = x · sigmoid(x), in fp32; finite for every finite x, and so is its derivative. Source: torch.nn.functional.silu.</summary>
public sealed record Silu() : Op("silu")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => new Unary(UnaryKind.Sigmoid).Infer(inputs);

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs) => g.Mul(inputs[0], g.Unary(UnaryKind.Sigmoid, inputs[0]));

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        inputs[0].Select(x => x / (1 + Math.Exp(-x))).ToArray();
}
