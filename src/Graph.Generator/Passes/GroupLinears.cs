using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 07: LoRA is one GEMM. Σᵢ Xᵢ·Wᵢᵀ over several pairs is a single accumulation, and by layout it is a plain one: linears of one input become a group stored as [[W, B], [A, 0]], x gets S = s·x·Aᵀ beside it,
/// output gradients get G = s·dY·B beside them. The rule matches algebra (products of the same x, sums of products), not a model: any adapters of any linears.
/// </summary>
public static class GroupLinears
{
    sealed record Member(LinearFamily Family, int Index, int X);

    public static TensorGraph Run(TensorGraph graph)
    {
        var families = Families(graph);
        var byWeight = new Dictionary<int, Member>();
        foreach (var (family, x, weights) in families)
            for (var i = 0; i < weights.Count; i++)
            {
                if (byWeight.ContainsKey(weights[i])) throw new ShapeError("linear: the weight " + family.Linears[i] + " is multiplied with two different inputs; a linear's weight is stored with the adapters of one input, so give each its own");
                byWeight[weights[i]] = new Member(family, i, x);
            }
        if (byWeight.Count == 0) return graph;
        // The first linear that reads a weight has its adapter.
        var byLinear = byWeight.Values.GroupBy(m => m.Family.Linears[m.Index]).ToDictionary(m => m.Key, m => m.First());
        var byAdapter = new Dictionary<int, Member>();
        foreach (var node in graph.Nodes)
            if (node.Op is Adapter { Linear: var linear })
                byAdapter[node.Id] = byLinear.TryGetValue(linear, out var member) ? member
                    : throw new ShapeError("lora: there is an adapter for " + linear + " but no linear of a parameter " + linear + ".weight");
        return Build(graph, byWeight, byAdapter, byLinear);
    }

    /// <summary>Frozen weights by the input they are applied to, in order of first use.</summary>
    static List<(LinearFamily Family, int X, List<int> Weights)> Families(TensorGraph graph)
    {
        var adapted = new HashSet<string>(graph.Nodes.Select(n => n.Op).OfType<Adapter>().Select(a => a.Linear));
        var order = new List<int>();
        var weights = new Dictionary<int, List<int>>();
        foreach (var node in graph.Nodes)
        {
            if (node.Op is not MatMul { Layout: GemmLayout.Nt } || graph[node.Inputs[1]].Op is not Param) continue;
            var x = node.Inputs[0];
            if (!weights.TryGetValue(x, out var list))
            {
                weights[x] = list = new List<int>();
                order.Add(x);
            }
            list.Add(node.Inputs[1]);
        }
        return order.Select((x, id) =>
        {
            var linears = weights[x].Select(w => Linear((Param)graph[w].Op)).ToArray();
            var outs = weights[x].Select(w => graph[w].Type.Shape[0].Size).ToArray();
            return (new LinearFamily(id, graph[x].Type.Columns, linears, outs, linears.Any(adapted.Contains)), x, weights[x]);
        }).ToList();
    }

    static string Linear(Param p) => p.Tensor.EndsWith(".weight", StringComparison.Ordinal) ? p.Tensor.Substring(0, p.Tensor.Length - 7) : p.Tensor;

    static TensorGraph Build(TensorGraph graph, Dictionary<int, Member> byWeight, Dictionary<int, Member> byAdapter, Dictionary<string, Member> byLinear)
    {
        var g = new GraphBuilder();
        var map = Enumerable.Repeat(-1, graph.Nodes.Count).ToArray();
        var terms = Terms(graph, byWeight, byAdapter);
        var stacks = new Dictionary<int, int>();                       // family → [x|S]
        var gradStacks = new Dictionary<int, int>();                   // family → [dY|G]
        var outputGradients = OutputGradients(graph, byWeight, byLinear);
        var firstBackward = -1;

        foreach (var node in graph.Nodes)
        {
            if (node.Id == graph.FirstBackward) firstBackward = g.Count;
            Map(node.Id);
        }
        return Simplify.Run(g.Build(graph.Outputs.Select(Map).Distinct(), firstBackward < 0 ? g.Count : firstBackward));

        // On demand, because a group's [dY|G] needs the gradients of all its linears, and dB of the last linear stands before dY of the first.
        int Map(int id)
        {
            if (map[id] >= 0) return map[id];
            var node = graph[id];
            var scope = g.Scope;
            var inputs = node.Inputs.Select(Map).ToArray();
            g.Scope = node.Scope;
            map[id] = Replace(node) ?? g.Named(node.Name, node.Op, inputs);
            g.Scope = scope;
            return map[id];
        }

        int? Replace(Node node)
        {
            // A sum whose terms are products of one group's linears is that group's output (a slice) or input gradient; other terms stay added to it.
            if (terms.TryGetValue(node.Id, out var list) && Products(list) is { Count: > 0 } products)
            {
                var value = products.Aggregate((a, b) => g.Add(a, b));
                foreach (var other in list.Where(t => Member(graph[t]) is null)) value = g.Add(value, Map(other));
                g.Rename(value, node.Name);
                return value;
            }
            if (node.Op is MatMul { Layout: GemmLayout.Tn })
            {
                // dA = Gᵀ·x has rank rows; dB = dYᵀ·S has rank columns. Each adapter's gradient is a block of its group's.
                var isA = node.Type.Shape[0].IsRank;
                var member = byLinear[node.Type.Shape[isA ? 0 : 1].Symbol!.Substring(2)];
                var gradStack = GradStack(member.Family);
                return g.Named("d_" + member.Family.Name + (isA ? "_a" : "_b"), isA ? new GroupGradA(member.Family) : new GroupGradB(member.Family), gradStack, stacks[member.Family.Id]);
            }
            return null;
        }

        List<int> Products(List<int> list)
        {
            var values = new List<int>();
            foreach (var term in list)
            {
                if (Member(graph[term]) is not { } member) continue;
                var forward = ((MatMul)graph[term].Op).Layout == GemmLayout.Nt;
                var family = member.Family;
                var value = forward
                    ? g.Named(graph[term].Name, new Columns(family.Start(member.Index), family.Outs[member.Index]), g.Named(family.Name, new GroupForward(family), Stack(member)))
                    : g.Named("d_" + graph[member.X].Name, new GroupInputGrad(family), GradStack(family));
                if (!values.Contains(value)) values.Add(value);
            }
            return values;
        }

        Member? Member(Node node) => node.Op is MatMul { Layout: not GemmLayout.Tn } && (byWeight.TryGetValue(node.Inputs[1], out var m) || byAdapter.TryGetValue(node.Inputs[1], out m)) ? m : null;

        int Stack(Member member) => stacks.TryGetValue(member.Family.Id, out var stack) ? stack
            : stacks[member.Family.Id] = g.Named(graph[member.X].Name, new GroupStack(member.Family), Map(member.X));

        int GradStack(LinearFamily family) => gradStacks.TryGetValue(family.Id, out var stack) ? stack
            : gradStacks[family.Id] = g.Named("d_" + family.Name, new GroupGradStack(family), outputGradients[family.Id].Select(Map).ToArray());
    }

    /// <summary>For every maximal sum of products of grouped weights and adapters: its terms, in order. A lone product is a sum of one term.</summary>
    static Dictionary<int, List<int>> Terms(TensorGraph graph, Dictionary<int, Member> byWeight, Dictionary<int, Member> byAdapter)
    {
        bool IsProduct(Node n) => n.Op is MatMul { Layout: not GemmLayout.Tn } && (byWeight.ContainsKey(n.Inputs[1]) || byAdapter.ContainsKey(n.Inputs[1]))
            && !n.Type.Shape.Last.IsRank;                              // x·Aᵀ and dY·B are S and G: they live inside the group
        var readers = graph.Readers();
        var hasProduct = new bool[graph.Nodes.Count];
        var terms = new Dictionary<int, List<int>>();
        foreach (var node in graph.Nodes)
        {
            if (IsProduct(node)) hasProduct[node.Id] = true;
            else if (node.Op is Binary { Kind: BinaryKind.Add } && node.Inputs.Any(i => hasProduct[i] && readers[i].Count == 1)) hasProduct[node.Id] = true;
        }
        bool Continues(int id) => readers[id].Count == 1 && graph[readers[id][0]].Op is Binary { Kind: BinaryKind.Add } && hasProduct[readers[id][0]];
        foreach (var node in graph.Nodes)
        {
            if (!hasProduct[node.Id] || Continues(node.Id)) continue;
            var list = new List<int>();
            void Collect(int id)
            {
                if (graph[id].Op is Binary { Kind: BinaryKind.Add } && hasProduct[id]) foreach (var input in graph[id].Inputs) Collect(input);
                else list.Add(id);
            }
            // Only the head of the chain is flattened; inner sums with one reader are part of it.
            if (IsProduct(node)) list.Add(node.Id); else foreach (var input in node.Inputs) Collect(input);
            terms[node.Id] = list;
        }
        return terms;
    }

    /// <summary>Per family, the gradient of each linear's output, in the family's order: the left operand of dY·W (or of dYᵀ·S where the input needs no gradient).</summary>
    static Dictionary<int, int[]> OutputGradients(TensorGraph graph, Dictionary<int, Member> byWeight, Dictionary<string, Member> byLinear)
    {
        var result = byWeight.Values.Select(m => m.Family).Distinct().ToDictionary(f => f.Id, f => Enumerable.Repeat(-1, f.Linears.Count).ToArray());
        foreach (var node in graph.Nodes)
        {
            if (node.Op is MatMul { Layout: GemmLayout.Nn } && byWeight.TryGetValue(node.Inputs[1], out var member)) result[member.Family.Id][member.Index] = node.Inputs[0];
            if (node.Op is MatMul { Layout: GemmLayout.Tn } && node.Type.Shape[1].IsRank && byLinear.TryGetValue(node.Type.Shape[1].Symbol!.Substring(2), out member))
                result[member.Family.Id][member.Index] = node.Inputs[0];
        }
        return result;
    }
}
