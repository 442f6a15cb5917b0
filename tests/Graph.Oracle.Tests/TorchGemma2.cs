using System;
using System.Collections.Generic;
using System.Linq;
using TorchSharp;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>Sizes and constants of a Gemma 2. Softcaps are null where a variant has none.</summary>
sealed record TorchConfig(int Layers, int Hidden, int Heads, int KvHeads, int HeadDim, int Ffn, int Vocab, int Window, double QueryScale)
{
    public double? AttentionSoftcap { get; init; } = 50;
    public double? FinalSoftcap { get; init; } = 30;
    public double Eps { get; init; } = 1e-6;
    public double Theta { get; init; } = 10_000;

    /// <summary>The size of tests/fixtures/reference.</summary>
    public static TorchConfig Nano { get; } = new(4, 128, 4, 2, 32, 256, 4096, 16, Math.Pow(32, -0.5));

    /// <summary>(module name, inputs, outputs) of every linear that takes an adapter.</summary>
    public IEnumerable<(string Name, int In, int Out)> Linears()
    {
        for (var i = 0; i < Layers; i++)
        {
            var layer = $"model.layers.{i}.";
            yield return (layer + "self_attn.q_proj", Hidden, Heads * HeadDim);
            yield return (layer + "self_attn.k_proj", Hidden, KvHeads * HeadDim);
            yield return (layer + "self_attn.v_proj", Hidden, KvHeads * HeadDim);
            yield return (layer + "self_attn.o_proj", Heads * HeadDim, Hidden);
            yield return (layer + "mlp.gate_proj", Hidden, Ffn);
            yield return (layer + "mlp.up_proj", Hidden, Ffn);
            yield return (layer + "mlp.down_proj", Ffn, Hidden);
        }
    }
}

/// <summary>
/// Gemma 2 with LoRA on all linears, written from the model's definition in plain torch ops over one packed row of T tokens. It shares nothing with the compiler:
/// attention is the whole T × T matrix under a mask, every derivative is torch's.
/// <paramref name="weights"/> has checkpoint names; <paramref name="adapter"/> has PEFT's keys, or is empty for the base model.
/// </summary>
sealed class TorchGemma2(TorchConfig c, IReadOnlyDictionary<string, Tensor> weights, IReadOnlyDictionary<string, Tensor> adapter, double loraScale)
{
    /// <summary>ids int64[T], docStart[t] = first token of t's document → logits [T, V] in the weights' dtype, and the residual stream before each layer.</summary>
    public (Tensor Logits, List<Tensor> Hidden) Forward(Tensor ids, Tensor docStart)
    {
        var positions = arange(ids.shape[0], ScalarType.Int64) - docStart;
        var x = weights["model.embed_tokens.weight"][ids] * Math.Sqrt(c.Hidden);
        var hidden = new List<Tensor>();
        for (var i = 0; i < c.Layers; i++)
        {
            hidden.Add(x);
            var layer = $"model.layers.{i}.";
            x = x + Norm(SelfAttention(Norm(x, layer + "input_layernorm"), layer, Mask(docStart, i % 2 == 0 ? c.Window : null), positions), layer + "post_attention_layernorm");
            x = x + Norm(Mlp(Norm(x, layer + "pre_feedforward_layernorm"), layer), layer + "post_feedforward_layernorm");
        }
        x = Norm(x, "model.norm");
        hidden.Add(x);
        var logits = x.matmul(weights["model.embed_tokens.weight"].t());
        return (c.FinalSoftcap is { } cap ? SoftCap(logits, cap) : logits, hidden);
    }

    /// <summary>Mean cross entropy over labels that are not -100; labels int64[T], already shifted.</summary>
    public static Tensor Loss(Tensor logits, Tensor labels) => nn.functional.cross_entropy(logits, labels, ignore_index: -100);

    /// <summary>Shifts labels [rows, length] by one within each row: token t predicts label t + 1, the last token nothing. → int64[rows·length].</summary>
    public static Tensor Shift(Tensor labels)
    {
        var last = full(new long[] { labels.shape[0], 1 }, -100, ScalarType.Int64);
        return cat([labels.narrow(1, 1, labels.shape[1] - 1), last], 1).flatten();
    }

    /// <summary>First token of each token's document, for documents of these lengths laid end to end.</summary>
    public static Tensor DocStart(params int[] lengths)
    {
        var start = 0;
        var all = new List<long>();
        foreach (var length in lengths)
        {
            all.AddRange(Enumerable.Repeat((long)start, length));
            start += length;
        }
        return tensor(all.ToArray());
    }

    /// <summary>|score| before the softcap, largest over all layers and visible pairs: a test with small scores never reaches the cap.</summary>
    public double LargestScore { get; private set; }

    Tensor Norm(Tensor x, string name)
    {
        var w = weights[name + ".weight"];
        return x * rsqrt(x.square().mean([-1], keepdim: true) + c.Eps) * (1 + w);
    }

    Tensor Project(Tensor x, string name)
    {
        var y = x.matmul(weights[name + ".weight"].t());
        var key = "base_model.model." + name;
        return adapter.TryGetValue(key + ".lora_A.weight", out var a) ? y + x.matmul(a.t()).matmul(adapter[key + ".lora_B.weight"].t()) * loraScale : y;
    }

    Tensor Mlp(Tensor x, string layer)
    {
        var gate = Project(x, layer + "mlp.gate_proj");
        // gelu_tanh written out: torch's own would be the same formula, but its approximate mode is not in every TorchSharp overload.
        var gelu = 0.5 * gate * (1 + (Math.Sqrt(2 / Math.PI) * (gate + 0.044715 * gate.pow(3))).tanh());
        return Project(gelu * Project(x, layer + "mlp.up_proj"), layer + "mlp.down_proj");
    }

    Tensor SelfAttention(Tensor x, string layer, Tensor mask, Tensor positions)
    {
        var tokens = x.shape[0];
        Tensor Heads(string name, int heads) => Project(x, layer + "self_attn." + name).view(tokens, heads, c.HeadDim).transpose(0, 1);
        var q = Rope(Heads("q_proj", c.Heads), positions);
        var k = Rope(Heads("k_proj", c.KvHeads), positions).repeat_interleave(c.Heads / c.KvHeads, 0);
        var v = Heads("v_proj", c.KvHeads).repeat_interleave(c.Heads / c.KvHeads, 0);
        var scores = q.matmul(k.transpose(1, 2)) * c.QueryScale;
        LargestScore = Math.Max(LargestScore, scores.detach().abs().masked_fill(mask.logical_not(), 0).max().to(ScalarType.Float64).item<double>());
        if (c.AttentionSoftcap is { } cap) scores = SoftCap(scores, cap);
        var p = scores.masked_fill(mask.logical_not(), double.NegativeInfinity).softmax(-1);
        return Project(p.matmul(v).transpose(0, 1).reshape(tokens, c.Heads * c.HeadDim), layer + "self_attn.o_proj");
    }

    // Half-split: the pair of dimension i is i + D/2, turned by t / theta^(2i/D).
    Tensor Rope(Tensor x, Tensor positions)
    {
        var half = c.HeadDim / 2;
        var frequency = pow(tensor(c.Theta, x.dtype), arange(half, x.dtype) * (-2.0 / c.HeadDim));
        var angle = positions.to(x.dtype).unsqueeze(1) * frequency.unsqueeze(0);
        var (cos, sin) = (angle.cos().unsqueeze(0), angle.sin().unsqueeze(0));
        var (lo, hi) = (x.narrow(2, 0, half), x.narrow(2, half, half));
        return cat([lo * cos - hi * sin, hi * cos + lo * sin], 2);
    }

    // k is visible to q when docStart[q] <= k <= q and q - k < window.
    static Tensor Mask(Tensor docStart, int? window)
    {
        var t = arange(docStart.shape[0], ScalarType.Int64);
        var (q, k) = (t.unsqueeze(1), t.unsqueeze(0));
        var visible = k.le(q).logical_and(k.ge(docStart.unsqueeze(1)));
        return window is { } w ? visible.logical_and((q - k).lt(w)) : visible;
    }

    static Tensor SoftCap(Tensor z, double cap) => (z / cap).tanh() * cap;
}
