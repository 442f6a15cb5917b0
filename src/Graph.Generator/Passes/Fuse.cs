using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Launches;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 10: nodes become launches. Row values of one cluster are one kernel; attention's output and log-sum-exp are one kernel, as are dK and dV; loss and its
/// gradient are one chunked launch.
/// Steps are ordered by phase, then depth, then anchors before the row kernels that read them. Gradients of trained weights come before the other anchors of
/// their depth, so that nothing stands between a product and the kernel that may be its epilogue.
/// </summary>
public static class Fuse
{
    /// <param name="imported">The graph as the model wrote it: what the headers of kernels tell of.</param>
    public static KernelGraph Run(TensorGraph graph, TensorGraph imported)
    {
        var traced = new TracedOps(graph, imported);
        var map = new ClusterMap(graph);
        var place = new Placement(graph, map);
        foreach (var name in new[] { "positions", "doc_start", "doc_end" }.Where(n => place.Tensors.All(t => t.Name != n)))
            place.Add(new ScheduleTensor(name, TensorKind.Input, ElementType.I32, true, Array.Empty<Extent>()));
        var steps = new List<(bool Backward, int Depth, int Kind, int Id, Step Step)>();
        var partners = new Partners(graph);

        foreach (var node in graph.Nodes.Where(n => map.IsAnchor(n.Id)))
            if (Anchor(graph, map, place, traced, partners, node) is { } step) steps.Add((step.Backward, map.Depth(node.Id), 0, node.Id, step));
        foreach (var cluster in map.Clusters)
            steps.Add((cluster.Backward, cluster.Depth, 1, cluster.Outputs[0], RowStep(graph, map, place, traced, cluster.Outputs)));
        var trained = new HashSet<string>(place.Tensors.Where(t => t.Kind == TensorKind.GradWeight).Select(t => t.Name));
        bool Trains(Step step) => KernelGraph.Writes(step).Any(v => trained.Contains(v.Tensor));
        var ordered = RankPairs(FindFusions.Stacks(place.Tensors), MergeRopes(steps.OrderBy(s => s.Backward).ThenBy(s => s.Depth).ThenBy(s => s.Kind)
            .ThenByDescending(s => Trains(s.Step)).ThenBy(s => s.Id).Select(s => s.Step).ToList()));
        var adapters = graph.Nodes.Select(n => n.Op).OfType<AdapterStack>().Select(a => a.Set).Distinct().OrderBy(s => s.Id).ToArray();
        return new KernelGraph(adapters, MarkBoundaries(graph, map, place), ordered, Recipes(graph, map, place, traced, ordered));
    }

    static KernelStep RowStep(TensorGraph graph, ClusterMap map, Placement place, TracedOps traced, IReadOnlyList<int> outputs)
    {
        var (body, label, arguments) = BuildRowBody.Run(graph, map, outputs);
        return new KernelStep(graph[outputs[0]].Layer, map.FromLoss(outputs[0]), body, label, arguments.Select(place.View).ToArray(), outputs.Count, 0,
            new Lazy<FusedOps>(() => traced.Fused(map.Members(outputs), outputs)));
    }

    /// <summary>Nodes that are written by the launch of another one with the same inputs.</summary>
    sealed class Partners(TensorGraph graph)
    {
        readonly Dictionary<(ScoreFunction, EquatableArray<int>), Node> _lse = graph.Nodes.Where(n => n.Op is AttentionLse)
            .ToDictionary(n => (((AttentionLse)n.Op).Score, n.Inputs));
        readonly Dictionary<(int, EquatableArray<int>), Node> _gradients = graph.Nodes.Where(n => n.Op is AttentionGrad).ToDictionary(n => (((AttentionGrad)n.Op).Of, n.Inputs));

        readonly Dictionary<int, Node> _adapters = graph.Nodes.Where(n => n.Op is AdapterGradient or WeightGradient).GroupBy(n => n.Inputs[0])
            .ToDictionary(n => n.Key, n => n.First());

        public Node? Lse(Node attention, ScoreFunction score) => _lse.TryGetValue((score, attention.Inputs), out var lse) ? lse : null;
        public Node? Gradient(Node gradient, int of) => _gradients.TryGetValue((of, gradient.Inputs), out var partner) ? partner : null;
        /// <summary>The term of the head's table that the loss makes.</summary>
        public Node? LossTableGrad { get; } = graph.Nodes.FirstOrDefault(n => n.Op is WeightGradient && graph[n.Inputs[0]].Op is LinearCrossEntropyTableGrad);

        public Node? LossGrad { get; } = graph.Nodes.FirstOrDefault(n => n.Op is LinearCrossEntropyGrad);
        /// <summary>The gradient that a launch adds its result to.</summary>
        public Node Trained(Node product) => _adapters.TryGetValue(product.Id, out var gradient) ? gradient
            : product.Op is TokenSum
                ? throw new ShapeError("full: a trained weight is computed with, and not by constants alone, before it is used; "
                    + "there is no kernel for its gradient, so use it as it is", product.Origin)
            : throw new ShapeError("linear: " + GraphText.Line(graph, product) + " multiplies two activations over the tokens; only the gradient of a trained matrix does");
    }

    static Step? Anchor(TensorGraph graph, ClusterMap map, Placement place, TracedOps traced, Partners partners, Node node)
    {
        var backward = map.FromLoss(node.Id);
        var source = new Lazy<FusedOps>(() => traced.Fused(node));
        View In(int i) => place.View(node.Inputs[i]);
        View Input(string name) => new(name);
        KernelStep Kernel(KernelBody body, string label, int outputs, int inPlace, params View[] arguments) =>
            new(node.Layer, backward, body, label, arguments, outputs, inPlace, source);

        switch (node.Op)
        {
            case Product product:
                var adapter = product.Layout == GemmLayout.Tn;
                var segments = Enumerable.Range(0, node.Inputs.Count / 2).Select(i => new GemmSegment(In(2 * i), In(2 * i + 1))).ToArray();
                return new GemmStep(node.Layer, backward, product.Layout, place.View(adapter ? partners.Trained(node).Id : node.Id), segments, product.Scale, adapter);
            case Rope rope:
                var (heads, dim) = (node.Type.Shape[1].Size, node.Type.Shape[2].Size);
                return Kernel(new RopeBody(heads, dim, rope.Inverse), rope.Inverse ? "rope_inverse" : "rope", 1, 1, In(0), Input("positions"),
                    new View(place.RopeTable(rope, dim)));
            case Attention attention:
                // Where nothing before it trains no backward reads the log-sum-exp, but the kernel writes it.
                var lse = partners.Lse(node, attention.Score) is { } read ? place.View(read.Id)
                    : new View(place.Declare(Scoped(node, "lse"), node.Layer, TensorKind.Activation, ElementType.F32, true, node.Type.Shape[1].Size));
                return Kernel(Part(graph, node, AttentionPart.Forward, attention.Score), "attention_forward", 2, 0, place.View(node.Id),
                    lse, In(0), In(1), In(2), Input("doc_start"));
            case AttentionLse: return null;                           // written by the attention that has its inputs
            case AttentionDelta: return Kernel(DeltaBody(graph, node), "attention_delta", 1, 0, place.View(node.Id), In(0), In(1));
            case AttentionGrad { Of: 0 } grad:
                return Kernel(Part(graph, node, AttentionPart.Dq, grad.Score), "attention_dq", 1, 0, place.View(node.Id), In(0), In(1), In(2), In(3), In(4), In(5),
                    Input("doc_start"));
            case AttentionGrad grad:
                // dK and dV are one kernel; a gradient that nothing wants is written all the same.
                var (dk, dv) = (partners.Gradient(node, 1), partners.Gradient(node, 2));
                if (grad.Of == 2 && dk is not null) return null;
                View Out(Node? wanted, string name) => wanted is not null ? place.View(wanted.Id)
                    : new View(place.Declare(Scoped(node, name), node.Layer, TensorKind.Gradient, ElementType.Act, true, node.Type.Columns));
                return Kernel(Part(graph, node, AttentionPart.Dkdv, grad.Score), "attention_dkdv", 2, 0, Out(dk, "d_k"), Out(dv, "d_v"), In(0), In(1), In(2), In(3),
                    In(4), In(5), Input("doc_start"), Input("doc_end"));
            case LinearCrossEntropy loss:
                var dx = partners.LossGrad;
                return new LossStep(node.Layer, new CrossEntropyBody(loss.Logit, graph[node.Inputs[1]].Type.Shape[0].Size), dx is null ? null
                    : place.View(dx.Id), partners.LossTableGrad is { } dtable ? place.View(dtable.Id) : null, place.View(node.Id), In(0), In(1), source);
            case LinearCrossEntropyTableGrad:
            case LinearCrossEntropyGrad: return null;                 // made with the loss, while a chunk's logits exist
            case TokenSum:
                var summed = graph[node.Inputs[0]].Type;
                return Kernel(new TokenSumBody(summed.Shape.Last.Size, Math.Max(1, summed.Heads)), "token_sum", 1, 1, place.View(partners.Trained(node).Id), In(0));
            case EmbeddingGradient:
                return Kernel(new EmbeddingGradientBody(graph[node.Inputs[0]].Type.Columns), "embedding_gradient", 1, 1, place.View(partners.Trained(node).Id), In(0), In(1));
            default: throw new InvalidOperationException("fuse: no launch for " + GraphText.Line(graph, node));
        }
    }

    static string Scoped(Node node, string name) => (node.Layer >= 0 ? "layers." + node.Layer + "." : "") + name;

    static AttentionBody Part(TensorGraph graph, Node node, AttentionPart part, ScoreFunction score)
    {
        var (q, k) = (graph[node.Inputs[0]].Type.Shape, graph[node.Inputs[1]].Type.Shape);
        return new AttentionBody(part, score, q[1].Size, k[1].Size, q[2].Size);
    }

    static AttentionBody DeltaBody(TensorGraph graph, Node node)
    {
        var o = graph[node.Inputs[0]].Type.Shape;
        return new AttentionBody(AttentionPart.Delta, null, o[1].Size, o[1].Size, o[2].Size);
    }

    /// <summary>Rotations of neighbouring columns (q beside k) are one launch with the heads of both.</summary>
    static List<Step> MergeRopes(List<Step> steps)
    {
        var result = new List<Step>();
        foreach (var step in steps)
        {
            if (step is KernelStep { Body: RopeBody b } next && result.Count > 0 && result[result.Count - 1] is KernelStep { Body: RopeBody a } last
                && a with { Heads = b.Heads } == b && last.Arguments[2] == next.Arguments[2] && Neighbours(last.Arguments[0], next.Arguments[0]) is { } view)
                result[result.Count - 1] = last with
                {
                    Body = a with { Heads = a.Heads + b.Heads },
                    Arguments = new[] { view, last.Arguments[1], last.Arguments[2] },
                    Fused = new Lazy<FusedOps>(() => FusedOps.OfLines(last.Fused.Value.Lines.Concat(next.Fused.Value.Lines).Distinct().ToArray())),
                };
            else result.Add(step);
        }
        return result;
    }

    static View? Neighbours(View a, View b)
    {
        if (a.Tensor != b.Tensor || a.Columns is not { } left || b.Columns is not { } right) return null;
        if (left.End == right.Start) return a with { Columns = new ColumnRange(left.Start, right.End) };
        return right.End == left.Start ? a with { Columns = new ColumnRange(right.Start, left.End) } : null;
    }

    /// <summary>dB += dYᵀ·S comes right after G = s·dY·B: both read dY, and a device may have a kernel for the two. All that dB reads is there by then.</summary>
    static List<Step> RankPairs(IReadOnlyDictionary<string, (TensorKind Kind, int Stack)> stacks, List<Step> steps)
    {
        var gradients = steps.OfType<GemmStep>().Where(s => s.Accumulate).GroupBy(s => s.Segments[0].A).ToDictionary(s => s.Key, s => s.ToList());
        var partners = steps.Select(s => (s, Partner(s))).Where(p => p.Item2 is not null).ToDictionary(p => (object)p.s, p => p.Item2!, ReferenceComparer.Instance);
        var moved = new HashSet<object>(partners.Values, ReferenceComparer.Instance);
        return steps.Where(s => !moved.Contains(s)).SelectMany(s => partners.TryGetValue(s, out var partner) ? new[] { s, partner } : new[] { s }).ToList();

        GemmStep? Partner(Step step) =>
            step is GemmStep g && gradients.TryGetValue(g.Segments[0].A, out var list) ? list.FirstOrDefault(d => FindFusions.IsRankPair(stacks, g, d)) : null;
    }

    /// <summary>A boundary is produced by one layer and read by another one's forward: all that full recompute keeps.</summary>
    static IReadOnlyList<ScheduleTensor> MarkBoundaries(TensorGraph graph, ClusterMap map, Placement place)
    {
        var boundaries = new HashSet<string>();
        var readers = graph.Readers();
        foreach (var node in graph.Nodes)
            if (map.IsStored(node.Id) && !map.FromLoss(node.Id) && !node.Type.IsRowScalar
                && readers[node.Id].Any(r => !map.FromLoss(r) && r < graph.FirstBackward && graph[r].Layer != node.Layer))
                boundaries.Add(place.Tensor(node.Id));
        return place.Tensors.Select(t => boundaries.Contains(t.Name) ? t with { Boundary = true } : t).ToArray();
    }

    /// <summary>
    /// For every act tensor of the forward: the steps that write it, except that a row kernel with several outputs is cut down to the one wanted, reading the others as stored.
    /// Statistics (fp32 per token) have none: they are always kept.
    /// </summary>
    static IReadOnlyList<StepRecipe> Recipes(TensorGraph graph, ClusterMap map, Placement place, TracedOps traced, List<Step> steps)
    {
        var written = new Dictionary<string, List<Step>>();
        void Write(string tensor, Step step)
        {
            if (!written.TryGetValue(tensor, out var list)) written[tensor] = list = new List<Step>();
            list.Add(step);
        }
        var clusters = map.Clusters.Where(c => !c.Backward).ToDictionary(c => place.View(c.Outputs[0]));
        foreach (var step in steps.Where(s => !s.Backward))
        {
            if (step is GemmStep gemm) Write(gemm.D.Tensor, step);
            if (step is not KernelStep kernel) continue;
            if (kernel.Body is not RowBody) Write(kernel.Arguments[0].Tensor, step);
            else if (clusters.TryGetValue(kernel.Arguments[0], out var cluster))
                foreach (var output in cluster.Outputs.Where(o => !graph[o].Type.IsRowScalar))
                    Write(place.Tensor(output), cluster.Outputs.Count == 1 ? step : RowStep(graph, map, place, traced, new[] { output }));
        }
        return place.Tensors.Where(t => t.Kind == TensorKind.Activation && t.Type == ElementType.Act && written.ContainsKey(t.Name))
            .Select(t => new StepRecipe(t.Name, written[t.Name])).ToArray();
    }
}
