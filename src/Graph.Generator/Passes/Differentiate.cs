using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 06: appends the backward of the loss, in reverse order, only along paths to trainable parameters: a frozen weight never gets a gradient node, and the first
/// layer's input gradient is never made.
/// The seed is inv_labels = 1 / labels of the whole optimizer batch, so micro-batches simply add up. An adapter's gradient is a list of terms, one for every product that reads it.
/// </summary>
public static class Differentiate
{
    public static TensorGraph Run(TensorGraph graph)
    {
        var g = new GraphBuilder();
        foreach (var node in graph.Nodes)
        {
            g.At(node);
            g.Named(node.Name, node.Op, node.Inputs.ToArray());
        }
        var firstBackward = g.Count;
        var trains = new bool[graph.Nodes.Count];
        foreach (var node in graph.Nodes) trains[node.Id] = IsTrained(node.Op) || node.Inputs.Any(i => trains[i]);

        var loss = graph.Outputs[0];
        var gradients = new Dictionary<int, List<int>>();                    // terms; of a value per token they are added up
        var ranges = new Dictionary<int, SortedDictionary<int, int>>();  // a value seen through column ranges → their gradients, by first column
        var terms = new List<int>();
        var named = new HashSet<int>();
        (g.Scope, g.Origin) = ("", -1);
        if (trains[loss]) gradients[loss] = new List<int> { g.Named("inv_labels", new RunScalar(StepScalar.InvLabels)) };
        for (var id = loss; id >= 0; id--)
        {
            if (!trains[id]) continue;
            g.At(graph[id]);
            if (ranges.TryGetValue(id, out var parts)) Add(id, SideBySide(id, parts));
            if (!gradients.TryGetValue(id, out var all) || graph[id].Op is Leaf) continue;
            foreach (var dy in all) Pass(id, dy);
        }
        return g.Build(new[] { loss }.Concat(terms), firstBackward);

        static bool IsTrained(Op op) => op is AdapterStack or Param { Trained: true } or ParamStack { Trained: true };

        void Pass(int id, int dy)
        {
            var node = g[id];
            if (node.Op is Columns columns)
            {
                if (!ranges.TryGetValue(node.Inputs[0], out var known)) ranges[node.Inputs[0]] = known = new SortedDictionary<int, int>();
                known.Add(columns.Start, dy);
                return;
            }
            var first = g.Count;
            var adjoint = node.Op.Adjoint(g, node, dy, node.Inputs.Select(i => trains[i]).ToArray());
            for (var i = 0; i < adjoint.Length; i++)
                if (adjoint[i] is { } gradient) Add(node.Inputs[i], gradient);
            // What stands between is a part of this op's gradient.
            for (var part = first; part < g.Count; part++)
                if (g[part].Name == g[part].Op.Name && g[part].Op is not Const && named.Add(part)) g.Rename(part, "d_" + node.Name + "_" + g[part].Op.Name);
        }

        void Add(int id, int gradient)
        {
            Name(gradient, id);
            if (graph[id].Op is AdapterStack adapter) terms.Add(g.Named("d_" + g[id].Name, new AdapterGradient(adapter), gradient));
            else if (graph[id].Op is Param or ParamStack) terms.Add(g.Named("d_" + g[id].Name, new WeightGradient((Leaf)graph[id].Op), gradient));
            else if (!gradients.TryGetValue(id, out var known)) gradients[id] = new List<int> { gradient };
            // Of a weight that is computed with before several use it, such as 1 + w, each term is a sum over tokens by itself.
            else if (!graph[id].Type.IsPerToken) known.Add(gradient);
            else Name(known[0] = g.Add(known[0], gradient), id);
        }

        // A gradient is named after the value whose gradient it was first: what passes it on unchanged has the same.
        void Name(int gradient, int of)
        {
            if (gradient >= firstBackward && g[gradient].Op is not RunScalar && named.Add(gradient)) g.Rename(gradient, "d_" + g[of].Name);
        }

        int SideBySide(int id, SortedDictionary<int, int> parts)
        {
            var whole = new List<int>();
            // A range that the loss does not depend on has no gradient: zeros.
            foreach (var reader in graph.Nodes.Where(n => n.Op is Columns && n.Inputs[0] == id).OrderBy(n => ((Columns)n.Op).Start))
                whole.Add(parts.TryGetValue(((Columns)reader.Op).Start, out var gradient) ? gradient : g.Mul(reader.Id, g.Const(0)));
            return g.Add(new Concat(), whole.ToArray());
        }
    }
}
