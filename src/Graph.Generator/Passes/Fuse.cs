using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;

namespace Graph.Generator.Passes;

/// <summary>
/// 08: nodes become launches. Row values of one cluster are one kernel; a group's products are plain GEMMs over its pitched matrix; attention's output and log-sum-exp are one kernel, as are dK and dV;
/// loss and its gradient are one chunked launch. Steps are ordered by phase, then depth, then anchors before the row kernels that read them.
/// </summary>
public static class Fuse
{
    public static KernelGraph Run(TensorGraph graph)
    {
        var map = new ClusterMap(graph);
        var place = new Placement(graph, map);
        foreach (var name in new[] { "positions", "doc_start", "doc_end" }.Where(n => place.Tensors.All(t => t.Name != n)))
            place.Add(new ScheduleTensor(name, TensorKind.Input, ElementType.I32, true, Array.Empty<Extent>()));
        var steps = new List<(bool Backward, int Depth, int Kind, int Id, Step Step)>();
        var families = new List<LinearFamily>();
        var known = new HashSet<int>();
        var partners = new Partners(graph);

        foreach (var node in graph.Nodes.Where(n => map.IsAnchor(n.Id)))
        {
            if (node.Op is GroupOp { Family: var family } && known.Add(family.Id)) families.Add(family);
            if (Anchor(graph, map, place, partners, node) is { } step) steps.Add((step.Backward, map.Depth(node.Id), 0, node.Id, step));
        }
        foreach (var cluster in map.Clusters)
        {
            var step = RowStep(graph, map, place, cluster.Outputs);
            steps.Add((cluster.Backward, cluster.Depth, 1, cluster.Outputs[0], step));
        }
        foreach (var family in families) Declare(place, family);
        var ordered = MergeRopes(steps.OrderBy(s => s.Backward).ThenBy(s => s.Depth).ThenBy(s => s.Kind).ThenBy(s => s.Id).Select(s => s.Step).ToList());
        return new KernelGraph(families, MarkBoundaries(graph, map, place), ordered, Recipes(graph, map, place, ordered));
    }

    static KernelStep RowStep(TensorGraph graph, ClusterMap map, Placement place, IReadOnlyList<int> outputs)
    {
        var (body, label, arguments, source) = BuildRowBody.Run(graph, map, outputs);
        return new KernelStep(graph[outputs[0]].Layer, map.FromLoss(outputs[0]), body, label, arguments.Select(place.View).ToArray(), outputs.Count, 0, source.ToArray());
    }

    /// <summary>Nodes that are written by the launch of another one with the same inputs.</summary>
    sealed class Partners(TensorGraph graph)
    {
        readonly Dictionary<(ScoreFunction, EquatableArray<int>), Node> _lse = graph.Nodes.Where(n => n.Op is AttentionLse).ToDictionary(n => (((AttentionLse)n.Op).Score, n.Inputs));
        readonly Dictionary<EquatableArray<int>, Node> _dv = graph.Nodes.Where(n => n.Op is AttentionGrad { Of: 2 }).ToDictionary(n => n.Inputs);

        public Node? Lse(Node attention, ScoreFunction score) => _lse.TryGetValue((score, attention.Inputs), out var lse) ? lse : null;
        public Node DV(Node dk) => _dv[dk.Inputs];
        public Node? LossGrad { get; } = graph.Nodes.FirstOrDefault(n => n.Op is LinearCrossEntropyGrad);
    }

    static Step? Anchor(TensorGraph graph, ClusterMap map, Placement place, Partners partners, Node node)
    {
        var backward = map.FromLoss(node.Id);
        var source = new[] { GraphText.Line(graph, node) };
        View In(int i) => place.View(node.Inputs[i]);
        View Input(string name) => new(name);
        GemmStep Gemm(GemmLayout layout, View d, View a, View b, bool scale = false, bool accumulate = false) =>
            new(node.Layer, backward, new GemmLaunch(node.Layer, layout, d, a, b, scale ? "lora_scale" : null, accumulate));
        KernelStep Kernel(KernelBody body, string label, int outputs, int inPlace, params View[] arguments) =>
            new(node.Layer, backward, body, label, arguments, outputs, inPlace, source);

        switch (node.Op)
        {
            case GroupStack { Family: var f }:
                return f.HasAdapters ? Gemm(GemmLayout.Nt, Cols(place.Tensor(node.Id), f.In, Ranks(f, f.In)), Cols(place.Tensor(node.Id), 0, f.In), Block(f, f.Out, Ranks(f, f.Out), 0, f.In), scale: true) : null;
            case GroupForward { Family: var f }:
                return Gemm(GemmLayout.Nt, place.View(node.Id), new View(place.Tensor(node.Inputs[0])), Block(f, 0, f.Out, 0, Ranks(f, f.In)));
            case GroupGradStack { Family: var f }:
                return f.HasAdapters ? Gemm(GemmLayout.Nn, Cols(place.Tensor(node.Id), f.Out, Ranks(f, f.Out)), Cols(place.Tensor(node.Id), 0, f.Out), Block(f, 0, f.Out, f.In, Ranks(f, f.In)), scale: true) : null;
            case GroupInputGrad { Family: var f }:
                return Gemm(GemmLayout.Nn, place.View(node.Id), new View(place.Tensor(node.Inputs[0])), Block(f, 0, Ranks(f, f.Out), 0, f.In));
            case GroupGradA { Family: var f }:
                return Gemm(GemmLayout.Tn, new View(GradA(f)), Cols(place.Tensor(node.Inputs[0]), f.Out, Ranks(f, f.Out)), Cols(place.Tensor(node.Inputs[1]), 0, f.In), accumulate: true);
            case GroupGradB { Family: var f }:
                return Gemm(GemmLayout.Tn, new View(GradB(f)), Cols(place.Tensor(node.Inputs[0]), 0, f.Out), Cols(place.Tensor(node.Inputs[1]), f.In, Ranks(f, f.In)), accumulate: true);
            case MatMul matmul:
                return Gemm(matmul.Layout, place.View(node.Id), In(0), In(1));
            case Rope rope:
                var (heads, dim) = (node.Type.Shape[1].Size, node.Type.Shape[2].Size);
                return Kernel(new RopeBody(heads, dim, rope.Theta, rope.Inverse), rope.Inverse ? "rope_inverse" : "rope", 1, 1, In(0), Input("positions"));
            case Attention attention:
                var lse = partners.Lse(node, attention.Score);
                return Kernel(Part(graph, node, AttentionPart.Forward, attention.Score), "attention_forward", 2, 0, place.View(node.Id), lse is null ? throw NoBackward(node) : place.View(lse.Id), In(0), In(1), In(2), Input("doc_start"));
            case AttentionLse: return null;                           // written by the attention that has its inputs
            case AttentionDelta: return Kernel(DeltaBody(graph, node), "attention_delta", 1, 0, place.View(node.Id), In(0), In(1));
            case AttentionGrad { Of: 0 } grad:
                return Kernel(Part(graph, node, AttentionPart.Dq, grad.Score), "attention_dq", 1, 0, place.View(node.Id), In(0), In(1), In(2), In(3), In(4), In(5), Input("doc_start"));
            case AttentionGrad { Of: 1 } grad:
                var dv = partners.DV(node);
                return Kernel(Part(graph, node, AttentionPart.Dkdv, grad.Score), "attention_dkdv", 2, 0, place.View(node.Id), place.View(dv.Id), In(0), In(1), In(2), In(3), In(4), In(5), Input("doc_start"), Input("doc_end"));
            case AttentionGrad: return null;                          // dV is written with dK
            case LinearCrossEntropy loss:
                var dx = partners.LossGrad;
                return new LossStep(node.Layer, new CrossEntropyBody(loss.Logit, graph[node.Inputs[1]].Type.Shape[0].Size), dx is null ? null : place.View(dx.Id), place.View(node.Id), In(0), In(1), source);
            case LinearCrossEntropyGrad: return null;                 // made with the loss, while a chunk's logits exist
            default: throw new InvalidOperationException("fuse: no launch for " + GraphText.Line(graph, node));
        }
    }

    static InvalidOperationException NoBackward(Node node) => new("fuse: " + node.Name + " in " + node.Scope + " has no log-sum-exp; nothing before this attention is trainable");

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

    static string Matrix(LinearFamily f) => "group." + f.Id;
    static string GradA(LinearFamily f) => Matrix(f) + ".grad_a";
    static string GradB(LinearFamily f) => Matrix(f) + ".grad_b";
    static Extent Ranks(LinearFamily f, int start) => new(start, f.HasAdapters ? f.Id : -1);
    static View Cols(string tensor, Extent start, Extent end) => new(tensor, null, new ExtentRange(start, end));
    static View Block(LinearFamily f, Extent row0, Extent row1, Extent col0, Extent col1) => new(Matrix(f), new ExtentRange(row0, row1), new ExtentRange(col0, col1));

    static void Declare(Placement place, LinearFamily f)
    {
        place.Add(new ScheduleTensor(Matrix(f), TensorKind.Group, ElementType.Act, false, new[] { Ranks(f, f.Out), Ranks(f, f.In) }, -1, f.Id));
        if (!f.HasAdapters) return;
        place.Add(new ScheduleTensor(GradA(f), TensorKind.GradA, ElementType.F32, false, new[] { Ranks(f, 0), f.In }, -1, f.Id));
        place.Add(new ScheduleTensor(GradB(f), TensorKind.GradB, ElementType.F32, false, new[] { f.Out, Ranks(f, 0) }, -1, f.Id));
    }

    /// <summary>Rotations of neighbouring columns (q beside k) are one launch with the heads of both.</summary>
    static List<Step> MergeRopes(List<Step> steps)
    {
        var result = new List<Step>();
        foreach (var step in steps)
        {
            if (step is KernelStep { Body: RopeBody b } next && result.Count > 0 && result[result.Count - 1] is KernelStep { Body: RopeBody a } last
                && a with { Heads = b.Heads } == b && Neighbours(last.Arguments[0], next.Arguments[0]) is { } view)
                result[result.Count - 1] = last with
                {
                    Body = a with { Heads = a.Heads + b.Heads },
                    Arguments = new[] { view, last.Arguments[1] },
                    Source = last.Source.Concat(next.Source).ToArray(),
                };
            else result.Add(step);
        }
        return result;
    }

    static View? Neighbours(View a, View b)
    {
        if (a.Tensor != b.Tensor || a.Cols is not { } left || b.Cols is not { } right) return null;
        if (left.End == right.Start) return a with { Cols = new ExtentRange(left.Start, right.End) };
        return right.End == left.Start ? a with { Cols = new ExtentRange(right.Start, left.End) } : null;
    }

    /// <summary>A boundary is produced by one layer and read by another one's forward: all that full recompute keeps.</summary>
    static IReadOnlyList<ScheduleTensor> MarkBoundaries(TensorGraph graph, ClusterMap map, Placement place)
    {
        var boundaries = new HashSet<string>();
        var readers = graph.Readers();
        foreach (var node in graph.Nodes)
            if (map.IsStored(node.Id) && !map.FromLoss(node.Id) && !node.Type.IsRowScalar && readers[node.Id].Any(r => !map.FromLoss(r) && r < graph.FirstBackward && graph[r].Layer != node.Layer))
                boundaries.Add(place.Tensor(node.Id));
        return place.Tensors.Select(t => boundaries.Contains(t.Name) ? t with { Boundary = true } : t).ToArray();
    }

    /// <summary>
    /// For every act tensor of the forward: the steps that write it, except that a row kernel with several outputs is cut down to the one wanted, reading the others as stored.
    /// Statistics (fp32 per token) have none: they are always kept.
    /// </summary>
    static IReadOnlyList<StepRecipe> Recipes(TensorGraph graph, ClusterMap map, Placement place, List<Step> steps)
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
            if (step is GemmStep gemm) Write(gemm.Launch.D.Tensor, step);
            if (step is not KernelStep kernel) continue;
            if (kernel.Body is not RowBody) Write(kernel.Arguments[0].Tensor, step);
            else if (clusters.TryGetValue(kernel.Arguments[0], out var cluster))
                foreach (var output in cluster.Outputs.Where(o => !graph[o].Type.IsRowScalar))
                    Write(place.Tensor(output), cluster.Outputs.Count == 1 ? step : RowStep(graph, map, place, new[] { output }));
        }
        return place.Tensors.Where(t => t.Kind == TensorKind.Activation && t.Type == ElementType.Act && written.ContainsKey(t.Name)).Select(t => new StepRecipe(t.Name, written[t.Name])).ToArray();
    }
}
