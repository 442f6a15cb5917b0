using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 08: matmuls become GEMMs. Σᵢ aᵢ·bᵢ with one layout is one GEMM over k-segments when nothing else reads the terms, and a number that multiplies a matmul is
/// the GEMM's scale. Further terms of a sum stay added to it.
/// </summary>
public static class MergeProducts
{
    public static TensorGraph Run(TensorGraph graph)
    {
        var sums = new Sums(graph);
        var scaled = graph.Nodes.Select(n => Scaled(graph, sums, n)).Where(s => s is not null).ToDictionary(s => s!.Value.Node, s => s!.Value);
        var inside = new HashSet<int>(scaled.Values.Select(s => s.Product));
        foreach (var head in graph.Nodes.Where(n => !sums.Inner[n.Id]))
            if (Segments(head.Id) is { Count: > 0 } segments) inside.UnionWith(segments);

        var g = new GraphBuilder();
        var map = new int[graph.Nodes.Count];
        var firstBackward = -1;
        foreach (var node in graph.Nodes)
        {
            if (node.Id == graph.FirstBackward) firstBackward = g.Count;
            if (inside.Contains(node.Id) || sums.Inner[node.Id]) continue;
            g.At(node);
            map[node.Id] = Build(node);
        }
        return Simplify.Run(g.Build(graph.Outputs.Select(o => map[o]), firstBackward < 0 ? g.Count : firstBackward));

        int Build(Node node)
        {
            if (scaled.TryGetValue(node.Id, out var s)) return Gemm(s.Scale, new[] { s.Product });
            if (node.Op is MatMul) return Gemm(ScaleFactor.One, new[] { node.Id });
            var terms = sums.Terms(node.Id);
            if (terms.Count == 1) return g.Named(node.Name, node.Op, node.Inputs.Select(i => map[i]).ToArray());
            // The products first, so that a residual is added to them in one row kernel.
            var products = Segments(node.Id).GroupBy(t => ((MatMul)graph[t].Op).Layout)
                .SelectMany(layout => Pieces(layout.ToArray()).Select(piece => Gemm(ScaleFactor.One, piece)));
            var value = products.Concat(terms.Where(t => !inside.Contains(t)).Select(t => map[t])).Aggregate((a, b) => g.Add(a, b));
            g.Rename(value, node.Name);
            return value;
        }

        // Ranks come last: the long segment first fills the pipeline, and it is what the product is named after.
        int Gemm(ScaleFactor scale, IEnumerable<int> matmuls)
        {
            var segments = matmuls.Select(m => graph[m]).OrderBy(m => graph[m.Inputs[0]].Type.IsRankRow).ToArray();
            return g.Named(segments[0].Name, new Product(((MatMul)segments[0].Op).Layout, scale), segments.SelectMany(m => m.Inputs).Select(i => map[i]).ToArray());
        }

        // Terms of a sum that are matmuls used here alone, if there are at least two of one layout.
        List<int> Segments(int head) => sums.Terms(head) is { Count: > 1 } terms
            ? terms.Where(t => graph[t].Op is MatMul { Layout: not GemmLayout.Tn } && sums.UsedOnce(t)).GroupBy(t => ((MatMul)graph[t].Op).Layout)
            .Where(l => l.Count() > 1).SelectMany(l => l).ToList()
            : new List<int>();
    }

    static IEnumerable<IReadOnlyList<int>> Pieces(IReadOnlyList<int> terms)
    {
        for (var i = 0; i < terms.Count; i += Product.MaxSegments) yield return terms.Skip(i).Take(Product.MaxSegments).ToArray();
    }

    /// <summary>A matmul, used here alone, times a number of the run.</summary>
    static (int Node, int Product, ScaleFactor Scale)? Scaled(TensorGraph graph, Sums sums, Node node)
    {
        if (node.Op is not Binary { Kind: BinaryKind.Mul }) return null;
        foreach (var (product, scalar) in new[] { (node.Inputs[0], node.Inputs[1]), (node.Inputs[1], node.Inputs[0]) })
            if (graph[product].Op is MatMul && sums.UsedOnce(product) && Factor(graph, scalar) is { } scale) return (node.Id, product, scale);
        return null;
    }

    /// <summary>The scalar as a constant and powers of the LoRA scale; null when it is anything else.</summary>
    static ScaleFactor? Factor(TensorGraph graph, int id) => graph[id] switch
    {
        { Op: Const c } => new ScaleFactor(c.Value),
        { Op: RunScalar { Role: StepScalar.LoraScale } } => new ScaleFactor(1, 1),
        { Op: Binary { Kind: BinaryKind.Mul } } mul when Factor(graph, mul.Inputs[0]) is { } a && Factor(graph, mul.Inputs[1]) is { } b => a * b,
        { Op: Unary { Kind: UnaryKind.Neg } } neg when Factor(graph, neg.Inputs[0]) is { } a => a * new ScaleFactor(-1),
        _ => null,
    };
}
