using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Tracing;

namespace Graph.Tests;

/// <summary>The score function of attention: Gemma 2's softcap of 50, none, or ALiBi without a cap.</summary>
enum ScoreKind { SoftCap, Plain, Alibi }

/// <summary>Sizes of a Gemma 2 variant. Norms: without those of the layers residual sums follow products, which the real model has not.
/// UpApart: the layer whose up_proj reads the residual stream instead of what gate_proj reads; -1: none. Full: all weights are trained.</summary>
sealed record Gemma2Size(string Name, int Layers, int Hidden, int Heads, int KvHeads, int HeadDim, int Ffn,
    int Vocab, int Window, int QueryPreAttnScalar, bool Norms = true, int UpApart = -1, ScoreKind Score = ScoreKind.SoftCap, bool Full = false)
{
    public static readonly Gemma2Size Nano = new("nano", 4, 128, 4, 2, 32, 256, 4096, 16, 32);
    public static readonly Gemma2Size B2 = new("2b", 26, 2304, 8, 4, 256, 9216, 256_000, 4096, 256);
    public static readonly Gemma2Size B9 = new("9b", 42, 3584, 16, 8, 256, 14336, 256_000, 4096, 256);
    public static readonly Gemma2Size B27 = new("27b", 46, 4608, 32, 16, 128, 36864, 256_000, 4096, 144);

    /// <summary>Small enough to read whole: nano, and two layers (one local, one global) with the real head dims.</summary>
    public static readonly IReadOnlyList<Gemma2Size> Small = new[] { Nano, B9 with { Name = "9b-2l", Layers = 2 }, B27 with { Name = "27b-2l", Layers = 2 } };
    public static readonly IReadOnlyList<Gemma2Size> Real = new[] { B2, B9, B27 };

    /// <summary>Structures whose epilogues Gemma 2 has not: they run on the GPU like the others, for the target that has epilogues.</summary>
    public static readonly IReadOnlyList<Gemma2Size> Changed = new[] { new Gemma2Size("nano-no-norms", 2, 128, 2, 1, 128, 256, 4096, 16, 128, false) };
    public static readonly IReadOnlyList<Graph.Generator.Schedules.Target> EpilogueTargets = new[] { Graph.Generator.Schedules.Target.Named("sm_90a") };

    /// <summary>
    /// Attention that Gemma 2 has not, for every target: other head dims, ratios of heads that are odd, large or 1, scores without a bound, of distance and of
    /// the head; one layer with a window, one without.
    /// </summary>
    public static readonly IReadOnlyList<Gemma2Size> Attentions = new[]
    {
        Attention(16, 6, 1, ScoreKind.Plain), Attention(32, 4, 2, ScoreKind.Alibi), Attention(48, 5, 1, ScoreKind.Plain), Attention(80, 8, 1, ScoreKind.SoftCap),
        Attention(96, 3, 3, ScoreKind.Alibi), Attention(160, 3, 1, ScoreKind.Alibi), Attention(64, 6, 2, ScoreKind.Alibi),
        // On wgmma, as the last one: an even group keeps dS, an odd one computes dq from q, k, v and do.
        Attention(64, 4, 2, ScoreKind.SoftCap), Attention(128, 6, 2, ScoreKind.Plain), Attention(128, 6, 1, ScoreKind.Alibi),
        Attention(256, 2, 1, ScoreKind.Plain), Attention(256, 3, 1, ScoreKind.Alibi),
    };

    static Gemma2Size Attention(int headDim, int heads, int kvHeads, ScoreKind score) =>
        new("nano-d" + headDim + "-" + score.ToString().ToLowerInvariant(), 2, 128, heads, kvHeads, headDim, 256, 4096, 100, headDim, Score: score);

    /// <summary>Full finetuning.</summary>
    public static readonly IReadOnlyList<Gemma2Size> Trained = new[] { Nano, B2, B9 }.Select(s => s with { Name = s.Name + "-full", Full = true }).ToArray();

    public static IReadOnlyList<Gemma2Size> All => Small.Concat(Real).Concat(Changed).Concat(Attentions).Concat(Trained).ToArray();

    public static Gemma2Size Find(string name) => All.Single(s => s.Name == name);

    public IReadOnlyList<Graph.Generator.Schedules.Target> Targets => Changed.Contains(this) ? EpilogueTargets : Graph.Generator.Schedules.Target.All;
}

/// <summary>The trace of Gemma 2 as docs/architecture.md words it, written by hand: what the compiler emits is tested apart from how model code is traced.</summary>
sealed class Gemma2Trace
{
    readonly List<TraceNode> _nodes = new();
    string _scope = "Gemma2Model.Forward";

    public static IReadOnlyList<TraceNode> Of(Gemma2Size c)
    {
        var trace = new Gemma2Trace();
        trace.Forward(c);
        return trace._nodes;
    }

    int Add(string op, int[] inputs, params (string Name, object? Value)[] attributes)
    {
        _nodes.Add(new TraceNode(_nodes.Count, op, inputs, attributes.Select(a => KeyValuePair.Create(a.Name, a.Value)).ToArray(), _scope));
        return _nodes.Count - 1;
    }

    int Constant(double value) => Add("const", [], ("value", value));
    int Weight(string name, params int[] dims) => Add("param", [], dims.Select((d, i) => ("dim" + i, (object?)d)).Prepend(("name", name)).ToArray());
    int Norm(int x, string name, int hidden) => Add("rms_norm", [x, Weight(name + ".weight", hidden)], ("eps", 1e-6));

    int Project(int x, string name, int inDim, int outDim)
    {
        var y = Add("linear", [x, Weight(name + ".weight", outDim, inDim)]);
        var low = Add("linear", [x, Add("lora_a", [], ("name", name), ("dim", inDim))]);
        var high = Add("linear", [low, Add("lora_b", [], ("name", name), ("dim", outDim))]);
        return Add("add", [y, Add("mul", [high, Add("lora_scale", [], ("name", name))])]);
    }

    int LayerNorm(Gemma2Size c, int x, string name) => c.Norms ? Norm(x, name, c.Hidden) : x;

    int Score(Gemma2Size c, int q)
    {
        var z = Add("score_input", [q]);
        switch (c.Score)
        {
            case ScoreKind.Plain: return z;
            case ScoreKind.SoftCap: return SoftCap(z, 50);
            case ScoreKind.Alibi:
                int distance = Add("score_distance", [q]), head = Add("score_head", [q]);
                var slope = Add("exp", [Add("mul", [Add("add", [head, Constant(1)]), Constant(-8.0 / c.Heads * Math.Log(2))])]);
                return Add("sub", [z, Add("mul", [slope, distance])]);
            default: throw new InvalidOperationException("trace: no score " + c.Score);
        }
    }

    int SoftCap(int x, double cap) => Add("mul", [Add("tanh", [Add("mul", [x, Constant(1 / cap)])]), Constant(cap)]);

    void Forward(Gemma2Size c)
    {
        var ids = Add("input", [], ("name", "ids"));
        var table = Weight("model.embed_tokens.weight", c.Vocab, c.Hidden);
        var x = Add("mul", [Add("embedding", [ids, table]), Add("typed_const", [], ("value", Math.Sqrt(c.Hidden)))]);
        for (var i = 0; i < c.Layers; i++) x = Layer(c, i, x);
        _scope = "Gemma2Model.Forward";
        SoftCap(Add("linear", [Norm(x, "model.norm", c.Hidden), table]), 30);
    }

    int Layer(Gemma2Size c, int i, int x)
    {
        var layer = $"model.layers.{i}.";
        _scope = $"layers.{i}.self_attn";
        var h = LayerNorm(c, x, layer + "input_layernorm");
        int Heads(string name, int heads) => Add("split_heads", [Project(h, layer + "self_attn." + name, c.Hidden, heads * c.HeadDim)], ("heads", heads));
        var layers = i % 2 == 0 ? "sliding_attention" : "full_attention";
        var q = Add("rope", [Heads("q_proj", c.Heads)], ("theta", 10_000.0), ("layers", layers));
        var k = Add("rope", [Heads("k_proj", c.KvHeads)], ("theta", 10_000.0), ("layers", layers));
        var v = Heads("v_proj", c.KvHeads);
        var score = Score(c, q);
        var o = Add("attention", [q, k, v, score], ("scale", 1 / Math.Sqrt(c.QueryPreAttnScalar)), ("window", i % 2 == 0 ? c.Window : null));
        o = Project(Add("merge_heads", [o]), layer + "self_attn.o_proj", c.Heads * c.HeadDim, c.Hidden);
        x = Add("add", [x, LayerNorm(c, o, layer + "post_attention_layernorm")]);

        _scope = $"layers.{i}.mlp";
        h = LayerNorm(c, x, layer + "pre_feedforward_layernorm");
        var gate = Add("gelu_tanh", [Project(h, layer + "mlp.gate_proj", c.Hidden, c.Ffn)]);
        var mlp = Project(Add("mul", [gate, Project(i == c.UpApart ? x : h, layer + "mlp.up_proj", c.Hidden, c.Ffn)]), layer + "mlp.down_proj", c.Ffn, c.Hidden);
        return Add("add", [x, LayerNorm(c, mlp, layer + "post_feedforward_layernorm")]);
    }
}
