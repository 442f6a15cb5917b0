using Graph.Generator.IR;

namespace Graph.Generator.Passes;

/// <summary>02: composite ops (rms_norm, layer_norm, gelu, silu, row_mean) become primitives, whose adjoints and fusion need no special case.</summary>
public static class Expand
{
    public static TensorGraph Run(TensorGraph graph) => GraphBuilder.Rewrite(graph, (g, node, inputs) =>
    {
        if (node.Op.Expand(g, inputs) is not { } value) return null;
        g.Rename(value, node.Name);
        return value;
    });
}
