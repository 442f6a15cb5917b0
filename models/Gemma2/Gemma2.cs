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

/// <summary>
/// Attention and MLP, each between two norms and beside the residual stream. Even layers see a window, odd layers all of the document.
/// Made to be derived from: override what differs, and have <see cref="Gemma2Model.Layer"/> return the new layer.
/// </summary>
public class DecoderLayer(Gemma2Config c, int i) : Module
{
    protected Gemma2Config Config { get; } = c;

    /// <summary>The layer's number, from 0.</summary>
    protected int Index { get; } = i;

    /// <summary>What the names of the layer's tensors begin with in the checkpoint.</summary>
    protected string Name => $"model.layers.{Index}";

    /// <summary>Tokens that a query sees, itself included; null: all of its document before it.</summary>
    protected virtual int? Window => Index % 2 == 0 ? Config.Window : null;

    public override Tensor Forward(Tensor x)
    {
        using (Scope("self_attn")) x += Norm(SelfAttention(Norm(x, "input_layernorm")), "post_attention_layernorm");
        using (Scope("mlp")) x += Norm(Mlp(Norm(x, "pre_feedforward_layernorm")), "post_feedforward_layernorm");
        return x;
    }

    /// <summary>The norm of this name: x [T,H] to [T,H].</summary>
    protected virtual Tensor Norm(Tensor x, string name) => RmsNorm(x, Param($"{Name}.{name}.weight", Config.Hidden), Config.Eps);

    /// <summary>The linear of this name with its adapter: x [T,inDim] to [T,outDim].</summary>
    protected Tensor Project(Tensor x, string name, int inDim, int outDim) => new Projection($"{Name}.{name}", inDim, outDim).Forward(x);

    protected virtual Tensor SelfAttention(Tensor x)
    {
        Tensor Heads(string name, int heads) => SplitHeads(Project(x, $"self_attn.{name}", Config.Hidden, heads * Config.HeadDim), heads);
        var layers = Window is null ? "full_attention" : "sliding_attention";
        var q = Rope(Heads("q_proj", Config.Heads), Config.RopeTheta, layers);
        var k = Rope(Heads("k_proj", Config.KvHeads), Config.RopeTheta, layers);
        var v = Heads("v_proj", Config.KvHeads);
        var o = Attention(q, k, v, scale: Config.QueryScale, score: s => SoftCap(s, Config.AttnSoftcap), window: Window);
        return Project(MergeHeads(o), "self_attn.o_proj", Config.Heads * Config.HeadDim, Config.Hidden);
    }

    protected virtual Tensor Mlp(Tensor x) =>
        Project(Activation(Project(x, "mlp.gate_proj", Config.Hidden, Config.Ffn)) * Project(x, "mlp.up_proj", Config.Hidden, Config.Ffn),
            "mlp.down_proj", Config.Ffn, Config.Hidden);

    protected virtual Tensor Activation(Tensor x) => GeluTanh(x);

    /// <summary>cap · tanh(x / cap), or x itself without a cap.</summary>
    protected internal static Tensor SoftCap(Tensor x, double? cap) => cap is { } c ? Tanh(x * (1 / c)) * c : x;
}

/// <summary>Gemma 2 (arXiv 2408.00118): token ids to logits; the head is the embedding.</summary>
public class Gemma2Model(Gemma2Config c) : LanguageModel
{
    protected Gemma2Config Config { get; } = c;

    protected virtual Module Layer(int i) => new DecoderLayer(Config, i);

    public override Tensor Forward(Tensor ids)
    {
        var table = Param("model.embed_tokens.weight", Config.Vocab, Config.Hidden);
        var x = Embedding(ids, table) * TypedConst(Math.Sqrt(Config.Hidden));
        for (var i = 0; i < Config.Layers; i++)
        {
            using (Scope($"layers.{i}")) x = Layer(i).Forward(x);
        }
        x = RmsNorm(x, Param("model.norm.weight", Config.Hidden), Config.Eps);
        return DecoderLayer.SoftCap(Linear(x, table), Config.FinalSoftcap);
    }

    public override ConfigField[] CheckpointConfig =>
    [
        new("model_type", "gemma2"),
        new("hidden_size", Config.Hidden),
        new("num_hidden_layers", Config.Layers),
        new("num_attention_heads", Config.Heads),
        new("num_key_value_heads", Config.KvHeads),
        new("head_dim", Config.HeadDim),
        new("intermediate_size", Config.Ffn),
        new("vocab_size", Config.Vocab),
        new("query_pre_attn_scalar", Config.QueryPreAttnScalar),
        new("sliding_window", Config.Window),
        new("layer_types", Enumerable.Range(0, Config.Layers).Select(i => i % 2 == 0 ? "sliding_attention" : "full_attention").ToArray()),
        new("attn_logit_softcapping", Config.AttnSoftcap),
        new("final_logit_softcapping", Config.FinalSoftcap),
        new("hidden_activation", "gelu_pytorch_tanh"),
        new("rms_norm_eps", Config.Eps),
        new("rope_theta", Config.RopeTheta),
        new("tie_word_embeddings", true),
    ];
}
