using System;
using System.Linq;
using Graph.Dsl;
using static Graph.Dsl.Ops;

namespace Gemma2;

/// <summary>A linear without bias and its adapter: y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ. Rank and scale are chosen at run time; at rank 0 nothing of the adapter is left.</summary>
public sealed class Projection(string name, int inDim, int outDim) : Module
{
    public override Tensor Forward(Tensor x) =>
        Linear(x, Param($"{name}.weight", outDim, inDim)) + Linear(Linear(x, LoraA(name, inDim)), LoraB(name, outDim)) * LoraScale(name);
}

/// <summary>Attention and MLP, each between two norms and beside the residual stream. Even layers see a window, odd layers all of the document.</summary>
public class DecoderLayer(Gemma2Config c, int i) : Module
{
    readonly string _name = $"model.layers.{i}";

    protected virtual int? Window => i % 2 == 0 ? c.Window : null;

    public override Tensor Forward(Tensor x)
    {
        using (Scope("self_attn")) x += Norm(SelfAttention(Norm(x, "input_layernorm")), "post_attention_layernorm");
        using (Scope("mlp")) x += Norm(Mlp(Norm(x, "pre_feedforward_layernorm")), "post_feedforward_layernorm");
        return x;
    }

    Tensor Norm(Tensor x, string name) => RmsNorm(x, Param($"{_name}.{name}.weight", c.Hidden), c.Eps);

    protected virtual Tensor SelfAttention(Tensor x)
    {
        Tensor Heads(string name, int heads) => SplitHeads(new Projection($"{_name}.self_attn.{name}", c.Hidden, heads * c.HeadDim).Forward(x), heads);
        var q = Rope(Heads("q_proj", c.Heads), c.RopeTheta);
        var k = Rope(Heads("k_proj", c.KvHeads), c.RopeTheta);
        var v = Heads("v_proj", c.KvHeads);
        var o = Attention(q, k, v, scale: c.QueryScale, score: s => SoftCap(s, c.AttnSoftcap), window: Window);
        return new Projection($"{_name}.self_attn.o_proj", c.Heads * c.HeadDim, c.Hidden).Forward(MergeHeads(o));
    }

    protected virtual Tensor Mlp(Tensor x)
    {
        var gate = new Projection($"{_name}.mlp.gate_proj", c.Hidden, c.Ffn);
        var up = new Projection($"{_name}.mlp.up_proj", c.Hidden, c.Ffn);
        var down = new Projection($"{_name}.mlp.down_proj", c.Ffn, c.Hidden);
        return down.Forward(GeluTanh(gate.Forward(x)) * up.Forward(x));
    }

    /// <summary>cap · tanh(x / cap), or x itself without a cap.</summary>
    internal static Tensor SoftCap(Tensor x, double? cap) => cap is { } c ? Tanh(x * (1 / c)) * c : x;
}

/// <summary>Gemma 2 (arXiv 2408.00118): token ids to logits; the head is the embedding.</summary>
public class Gemma2Model(Gemma2Config c) : LanguageModel
{
    protected virtual Module Layer(int i) => new DecoderLayer(c, i);

    public override Tensor Forward(Tensor ids)
    {
        var table = Param("model.embed_tokens.weight", c.Vocab, c.Hidden);
        var x = Embedding(ids, table) * TypedConst(Math.Sqrt(c.Hidden));
        for (var i = 0; i < c.Layers; i++)
        {
            using (Scope($"layers.{i}")) x = Layer(i).Forward(x);
        }
        x = RmsNorm(x, Param("model.norm.weight", c.Hidden), c.Eps);
        return DecoderLayer.SoftCap(Linear(x, table), c.FinalSoftcap);
    }

    public override ConfigField[] CheckpointConfig =>
    [
        new("model_type", "gemma2"),
        new("hidden_size", c.Hidden),
        new("num_hidden_layers", c.Layers),
        new("num_attention_heads", c.Heads),
        new("num_key_value_heads", c.KvHeads),
        new("head_dim", c.HeadDim),
        new("intermediate_size", c.Ffn),
        new("vocab_size", c.Vocab),
        new("query_pre_attn_scalar", c.QueryPreAttnScalar),
        new("sliding_window", c.Window),
        new("layer_types", Enumerable.Range(0, c.Layers).Select(i => i % 2 == 0 ? "sliding_attention" : "full_attention").ToArray()),
        new("attn_logit_softcapping", c.AttnSoftcap),
        new("final_logit_softcapping", c.FinalSoftcap),
        new("hidden_activation", "gelu_pytorch_tanh"),
        new("rms_norm_eps", c.Eps),
        new("rope_theta", c.RopeTheta),
        new("tie_word_embeddings", true),
    ];
}
