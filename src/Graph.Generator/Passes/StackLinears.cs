using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 05: linears that read one input become one product over stacked weights, and their adapters one pair of products: Y = x·[W₀; W₁]ᵀ + (s·x·[A₀; A₁]ᵀ)·diag(B₀,
/// B₁)ᵀ, of which each linear is a range of columns.
/// q, k and v, or gate and up, are then one GEMM that reads x once. It is a rewrite of the forward alone: the backward is derived from the stacked products like from any others.
/// A linear takes part when its weight and its output are used nowhere else; an adapter does when it is exactly s·(x·Aᵀ)·Bᵀ added to its linear, A and B are
/// used nowhere else, and s is the stack's one scale.
/// What does not match stays the ordinary ops that it is.
/// </summary>
public static class StackLinears
{
    /// <summary>s·(x·Aᵀ)·Bᵀ. Scale: a scalar's node, or -1 for 1.</summary>
    sealed record AdapterTerm(int Product, int X, int Scale, Adapter A, Adapter B);

    sealed record Member(int Product, int X, Param Weight, List<AdapterTerm> Adapters);

    public static TensorGraph Run(TensorGraph graph)
    {
        graph = Simplify.Run(graph);
        var sums = new Sums(graph);
        var members = Members(graph, sums);
        var g = new GraphBuilder();
        var map = new int[graph.Nodes.Count];
        var sets = 0;
        var stacks = Stacks(members).SelectMany(s => s.Select(m => (m.Product, Stack: s))).ToDictionary(m => m.Product, m => m.Stack);
        var outputs = new Dictionary<int, int>();                       // a member's product → its columns of the stack's output
        var absorbed = new HashSet<int>(members.SelectMany(m => m.Adapters).SelectMany(a => Nodes(graph, a)));
        var shapes = AdapterShapes(graph);
        var single = new Dictionary<string, AdapterSet>();

        foreach (var node in graph.Nodes)
        {
            if (absorbed.Contains(node.Id) || sums.Inner[node.Id]) continue;
            g.At(node);
            if (stacks.TryGetValue(node.Id, out var stack))
            {
                if (!outputs.ContainsKey(node.Id)) Build(stack);
                map[node.Id] = outputs[node.Id];
                continue;
            }
            var terms = sums.Terms(node.Id);
            if (terms.Count > 1)
                map[node.Id] = Named(terms.Where(t => !absorbed.Contains(t)).Select(t => map[t]).Aggregate((a, b) => g.Add(a, b)), node.Name);
            else if (node.Op is Adapter adapter)
                map[node.Id] = g.Named(node.Name, new AdapterStack(SetOf(adapter), adapter.IsA));
            else
                map[node.Id] = g.Named(node.Name, node.Op, node.Inputs.Select(i => map[i]).ToArray());
        }
        return g.Build(graph.Outputs.Select(o => map[o]), g.Count);

        int Named(int id, string name)
        {
            g.Rename(id, name);
            return id;
        }

        void Build(IReadOnlyList<Member> stack)
        {
            var (x, name) = (map[stack[0].X], string.Join("+", stack.Select(m => graph[m.Product].Name)));
            var weight = stack.Count == 1 ? g.Named(graph[stack[0].Product].Name, stack[0].Weight) : g.Named(name, new ParamStack(stack.Select(m => m.Weight).ToArray()));
            var y = g.Named(name, new MatMul(GemmLayout.Nt), x, weight);
            var starts = stack.Select((_, i) => stack.Take(i).Sum(m => Rows(m.Weight))).ToArray();
            var adapters = stack.SelectMany((m, i) => m.Adapters.Select(a => (Term: a, Start: starts[i], Out: Rows(m.Weight)))).ToArray();
            if (adapters.Length > 0)
            {
                var set = new AdapterSet(sets++, adapters[0].Term.A.Size, stack.Sum(m => Rows(m.Weight)),
                    adapters.Select(a => new StackedAdapter(a.Term.A.Linear, a.Out, a.Start)).ToArray());
                var low = g.Named(name + "_xa", new MatMul(GemmLayout.Nt), x, g.Named(name + "_a", new AdapterStack(set, true)));
                if (adapters[0].Term.Scale >= 0) low = g.Named(name + "_xa", new Binary(BinaryKind.Mul), low, Scalar(adapters[0].Term.Scale));
                y = Named(g.Add(y, g.Named(name + "_lora", new MatMul(GemmLayout.Nt), low, g.Named(name + "_b", new AdapterStack(set, false)))), name);
            }
            for (var i = 0; i < stack.Count; i++)
                outputs[stack[i].Product] = stack.Count == 1 ? y : g.Named(graph[stack[i].Product].Name, new Columns(starts[i], Rows(stack[i].Weight)), y);
        }

        // A scalar that the model computes may stand behind the first linear of the stack; it depends on nothing but scalars, so it can be built here.
        int Scalar(int id) => g.Named(graph[id].Name, graph[id].Op, graph[id].Inputs.Select(Scalar).ToArray());

        AdapterSet SetOf(Adapter adapter)
        {
            if (single.TryGetValue(adapter.Linear, out var known)) return known;
            var (input, output) = shapes[adapter.Linear];
            if (input is null || output is null)
                throw new ShapeError("lora: the adapter " + adapter.Linear + " has no " + (input is null ? "A" : "B") + "; use LoraA and LoraB of one name together");
            return single[adapter.Linear] = new AdapterSet(sets++, input.Value, output.Value, new[] { new StackedAdapter(adapter.Linear, output.Value, 0) });
        }
    }

    static int Rows(Param weight) => weight.Type.Shape[0].Size;

    /// <summary>In and out features of every adapter, by name.</summary>
    static Dictionary<string, (int? In, int? Out)> AdapterShapes(TensorGraph graph)
    {
        var shapes = new Dictionary<string, (int? In, int? Out)>();
        foreach (var adapter in graph.Nodes.Select(n => n.Op).OfType<Adapter>())
        {
            var known = shapes.TryGetValue(adapter.Linear, out var found) ? found : default;
            if ((adapter.IsA ? known.In : known.Out) is { } other)
                throw new ShapeError("lora: the adapter " + adapter.Linear + " has "
                    + (adapter.IsA ? "A" : "B") + " of " + other + " and of " + adapter.Size + " features; give the two different names");
            shapes[adapter.Linear] = adapter.IsA ? (adapter.Size, known.Out) : (known.In, adapter.Size);
        }
        return shapes;
    }

    static List<Member> Members(TensorGraph graph, Sums sums)
    {
        var weightUses = new Dictionary<int, int>();
        foreach (var input in graph.Nodes.SelectMany(n => n.Inputs).Where(i => graph[i].Op is Param)) weightUses[input] = weightUses.TryGetValue(input, out var n) ? n + 1 : 1;
        bool IsBase(int id) => graph[id].Op is MatMul { Layout: GemmLayout.Nt } && graph[graph[id].Inputs[1]].Op is Param && weightUses[graph[id].Inputs[1]] == 1;

        var members = graph.Nodes.Where(n => IsBase(n.Id)).ToDictionary(n => n.Id, n => new Member(n.Id, n.Inputs[0], (Param)graph[n.Inputs[1]].Op, new List<AdapterTerm>()));
        foreach (var head in graph.Nodes.Where(n => !sums.Inner[n.Id]))
        {
            var terms = sums.Terms(head.Id);
            // Only a product whose own value nobody else reads may gain a term; of several with one input, the one that the adapter is named after.
            foreach (var adapter in terms.Count > 1 ? terms.Select(t => Match(graph, sums, t)).OfType<AdapterTerm>() : Enumerable.Empty<AdapterTerm>())
            {
                var candidates = terms.Where(t => members.ContainsKey(t) && sums.UsedOnce(t)).Select(t => members[t])
                    .Where(m => m.X == adapter.X && m.Adapters.All(a => a.Scale == adapter.Scale)).ToArray();
                (candidates.FirstOrDefault(m => Module(m.Weight) == adapter.A.Linear) ?? candidates.FirstOrDefault())?.Adapters.Add(adapter);
            }
        }
        return members.Values.OrderBy(m => m.Product).ToList();
    }

    /// <summary>The whole of s·(x·Aᵀ)·Bᵀ, every part of it used here alone; null for anything else.</summary>
    static AdapterTerm? Match(TensorGraph graph, Sums sums, int term)
    {
        if (!Once(term) || graph[term] is not { Op: MatMul { Layout: GemmLayout.Nt } } product || graph[product.Inputs[1]].Op is not Adapter { IsA: false } b
            || !Once(product.Inputs[1])) return null;
        var (low, scale) = (product.Inputs[0], -1);
        if (!Once(low)) return null;
        if (graph[low].Op is Binary { Kind: BinaryKind.Mul })
        {
            var (left, right) = (graph[low].Inputs[0], graph[low].Inputs[1]);
            (low, scale) = graph[left].Type.IsScalar ? (right, left) : (left, right);
            if (!graph[scale].Type.IsScalar || !Once(low)) return null;
        }
        if (graph[low] is not { Op: MatMul { Layout: GemmLayout.Nt } } first || graph[first.Inputs[1]].Op is not Adapter { IsA: true } a || !Once(first.Inputs[1])
            || a.Linear != b.Linear) return null;
        return new AdapterTerm(term, first.Inputs[0], scale, a, b);

        bool Once(int id) => sums.UsedOnce(id);
    }

    /// <summary>The nodes that the stack's own take the place of. A scalar stays for its other readers.</summary>
    static IEnumerable<int> Nodes(TensorGraph graph, AdapterTerm term)
    {
        var product = graph[term.Product];
        var low = product.Inputs[0];
        yield return product.Id;
        yield return product.Inputs[1];
        yield return low;
        if (term.Scale >= 0) yield return low = graph[low].Inputs.Single(i => i != term.Scale);
        yield return graph[low].Inputs[1];
    }

    /// <summary>Members of one input and one scale; those without adapters join the first such stack.</summary>
    static IEnumerable<IReadOnlyList<Member>> Stacks(IReadOnlyList<Member> members)
    {
        foreach (var input in members.GroupBy(m => m.X))
        {
            var scales = input.Where(m => m.Adapters.Count > 0).Select(m => m.Adapters[0].Scale).Distinct().ToArray();
            var first = scales.Length > 0 ? scales[0] : -1;
            foreach (var stack in input.GroupBy(m => m.Adapters.Count > 0 ? m.Adapters[0].Scale : first)) yield return stack.ToArray();
        }
    }

    static string Module(Param p) => p.Tensor.EndsWith(".weight", StringComparison.Ordinal) ? p.Tensor.Substring(0, p.Tensor.Length - 7) : p.Tensor;
}
