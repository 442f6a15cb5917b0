using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;

namespace Graph.Generator.Passes;

/// <summary>
/// 05: appends the backward of the loss, in reverse order, only along paths to trainable parameters: a frozen weight never gets a gradient node, and the first layer's input gradient is never made.
/// The seed is inv_labels = 1 / labels of the whole optimizer batch, so micro-batches simply add up.
/// </summary>
public static class Differentiate
{
    public static TensorGraph Run(TensorGraph graph)
    {
        var g = new GraphBuilder();
        foreach (var node in graph.Nodes)
        {
            (g.Scope, g.Origin) = (node.Scope, node.Origin);
            g.Named(node.Name, node.Op, node.Inputs.ToArray());
        }
        var firstBackward = g.Count;
        var trains = new bool[graph.Nodes.Count];
        foreach (var node in graph.Nodes) trains[node.Id] = node.Op is Adapter || node.Inputs.Any(i => trains[i]);

        var loss = graph.Outputs[0];
        var gradients = new Dictionary<int, int>();
        (g.Scope, g.Origin) = ("", -1);
        if (trains[loss]) gradients[loss] = g.Named("inv_labels", new RunScalar("inv_labels"));
        for (var id = loss; id >= 0; id--)
        {
            if (!trains[id] || !gradients.TryGetValue(id, out var dy) || graph[id].Op is Adapter) continue;
            var node = g[id];
            (g.Scope, g.Origin) = (node.Scope, node.Origin);
            var first = g.Count;
            var adjoint = node.Op.Adjoint(g, node, dy, node.Inputs.Select(i => trains[i]).ToArray());
            for (var i = 0; i < adjoint.Length; i++)
            {
                if (adjoint[i] is not { } gradient) continue;
                var input = node.Inputs[i];
                if (gradients.TryGetValue(input, out var sum)) gradient = g.Add(sum, gradient);
                if (gradient >= firstBackward && g[gradient].Op is not RunScalar) g.Rename(gradient, "d_" + g[input].Name);
                gradients[input] = gradient;
            }
        }
        var trainable = graph.Nodes.Where(n => n.Op is Adapter && gradients.ContainsKey(n.Id)).Select(n => gradients[n.Id]);
        return g.Build(new[] { loss }.Concat(trainable), firstBackward);
    }
}
