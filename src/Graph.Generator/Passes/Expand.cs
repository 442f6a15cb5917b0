using Graph.Generator.IR;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>02: composite ops (rms_norm, layer_norm, gelu, silu, row_mean) become primitives, whose adjoints and fusion need no special case.</summary>
public static class Expand
{
    public static TensorGraph Run(TensorGraph graph) => GraphBuilder.Rewrite(graph, (g, node, inputs) =>
    {
        var first = g.Count;
        if (node.Op.Expand(g, inputs) is not { } value) return null;
        // What stands between has the name of the op it is a part of: input_layernorm_rsqrt.
        for (var id = first; id < g.Count; id++)
            if (g[id].Op is not Const) g.Rename(id, node.Name + "_" + g[id].Op.Name);
        g.Rename(value, node.Name);
        return value;
    });
}
