using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;

namespace Graph.Generator.Ops;

/// <summary>
/// y = 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), in fp32. Expands into primitives, so that the derivative and the value share one tanh.
/// Source: transformers, gelu_pytorch_tanh.
/// </summary>
public sealed record GeluTanh() : Op("gelu_tanh")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => new Unary(UnaryKind.Tanh).Infer(inputs);

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs)
    {
        var x = inputs[0];
        var (c, half) = (Math.Sqrt(2 / Math.PI), g.Const(0.5));
        // √(2/π)·(x + 0.044715·x³) with constants and square apart: the derivative uses x² and what stands beside x again.
        var inner = g.Mul(x, g.Add(g.Const(c), g.Mul(g.Const(0.044715 * c), g.Mul(x, x))));
        return g.Mul(x, g.Add(half, g.Mul(half, g.Unary(UnaryKind.Tanh, inner))));
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        inputs[0].Select(x => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))).ToArray();
}

/// <summary>y = 0.5·x·(1 + erf(x / √2)), in fp32. Source: transformers, "gelu"; torch.nn.functional.gelu.</summary>
public sealed record Gelu() : Op("gelu")
{
    public override TensorType Infer(IReadOnlyList<TensorType> inputs) => new Unary(UnaryKind.Erf).Infer(inputs);

    public override int? Expand(GraphBuilder g, IReadOnlyList<int> inputs)
    {
        var (x, half) = (inputs[0], g.Const(0.5));
        return g.Mul(x, g.Add(half, g.Mul(half, g.Unary(UnaryKind.Erf, g.Mul(x, g.Const(Math.Sqrt(0.5)))))));
    }

    public override double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs) =>
        inputs[0].Select(x => 0.5 * x * (1 + ErrorFunction.Of(x * Math.Sqrt(0.5)))).ToArray();
}
