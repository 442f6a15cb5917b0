using Gemma2;
using Graph.Dsl;
using static Graph.Dsl.Ops;

// Models that differ from Gemma 2 in structure: what someone who changes the model in code may try. StructureTests traces and compiles them.
namespace Graph.Generator.Tests.Tracing.Structures;

public enum Change { None, AllHeadsHaveKeys, NoRope, NoScore, PlainMlp, Silu, LinearWithoutAdapter, NoAttention, NoNorms, NoPostNorms,
    Gain, NoFinalNorm, UntiedHead, Parallel, ParallelWithCopy, SharedLayers, AdaptedHead, NoHead,
    OneHead, QueryIsKey, NothingTrainedBefore, SomeOfOneInput }

public class Layer(Gemma2Config c, int i, Change change) : Module
{
    string Name => $"model.layers.{i}";
    Tensor Norm(Tensor x, string name) => RmsNorm(x, Param($"{Name}.{name}.weight", c.Hidden), c.Eps);
    Tensor Project(Tensor x, string name, int from, int to) =>
        HasAdapter(name) ? new Projection($"{Name}.{name}", from, to).Forward(x) : Linear(x, Param($"{Name}.{name}.weight", to, from));

    bool HasAdapter(string name) => change switch
    {
        Change.NothingTrainedBefore => i > 0 && name is not ("self_attn.q_proj" or "self_attn.k_proj" or "self_attn.v_proj") || name is "self_attn.o_proj",
        Change.SomeOfOneInput => name is not ("self_attn.q_proj" or "mlp.up_proj"),
        _ => true,
    };

    Tensor Attend(Tensor x)
    {
        if (change == Change.OneHead) return AttendWithOneHead(x);
        var kvHeads = change is Change.AllHeadsHaveKeys or Change.QueryIsKey ? c.Heads : c.KvHeads;
        var q = SplitHeads(Project(x, "self_attn.q_proj", c.Hidden, c.Heads * c.HeadDim), c.Heads);
        var k = change == Change.QueryIsKey ? q : SplitHeads(Project(x, "self_attn.k_proj", c.Hidden, kvHeads * c.HeadDim), kvHeads);
        var v = SplitHeads(Project(x, "self_attn.v_proj", c.Hidden, kvHeads * c.HeadDim), kvHeads);
        if (change != Change.NoRope) (q, k) = (Rope(q, c.RopeTheta), Rope(k, c.RopeTheta));
        var o = change == Change.NoScore ? Attention(q, k, v, c.QueryScale) : Attention(q, k, v, c.QueryScale, s => Tanh(s / 50) * 50, i % 2 == 0 ? c.Window : null);
        return Project(MergeHeads(o), "self_attn.o_proj", c.Heads * c.HeadDim, c.Hidden);
    }

    Tensor AttendWithOneHead(Tensor x)
    {
        var q = SplitHeads(Project(x, "self_attn.q_proj", c.Hidden, c.HeadDim), 1);
        var k = SplitHeads(Project(x, "self_attn.k_proj", c.Hidden, c.HeadDim), 1);
        var v = SplitHeads(Project(x, "self_attn.v_proj", c.Hidden, c.HeadDim), 1);
        return Project(MergeHeads(Attention(q, k, v, c.QueryScale)), "self_attn.o_proj", c.HeadDim, c.Hidden);
    }

    Tensor Mlp(Tensor x)
    {
        var up = Project(x, "mlp.up_proj", c.Hidden, c.Ffn);
        if (change == Change.PlainMlp) return Project(GeluTanh(up), "mlp.down_proj", c.Ffn, c.Hidden);
        var gate = Project(x, "mlp.gate_proj", c.Hidden, c.Ffn);
        var h = (change == Change.Silu ? gate / (1 + Exp(-gate)) : GeluTanh(gate)) * up;
        return change == Change.LinearWithoutAdapter ? Linear(h, Param($"{Name}.mlp.down_proj.weight", c.Hidden, c.Ffn)) : Project(h, "mlp.down_proj", c.Ffn, c.Hidden);
    }

    public override Tensor Forward(Tensor x)
    {
        var h = change == Change.NoNorms ? x : Norm(x, "input_layernorm");
        if (change == Change.Parallel) return x + Attend(h) + Mlp(h);
        if (change == Change.ParallelWithCopy) return x + Attend(h) + Mlp(h) * 1.0;
        Tensor Post(Tensor y, string name) => change is Change.NoNorms or Change.NoPostNorms ? y : Norm(y, name);
        if (change != Change.NoAttention) x += Post(Attend(h), "post_attention_layernorm");
        var m = Mlp(change == Change.NoNorms ? x : Norm(x, "pre_feedforward_layernorm"));
        if (change == Change.Gain) m *= Param($"{Name}.gain", c.Hidden);
        return x + Post(m, "post_feedforward_layernorm");
    }
}

public abstract class Changed(Change change) : LanguageModel
{
    readonly Gemma2Config _c = Gemma2Config.Nano with { Layers = 2 };

    public override Tensor Forward(Tensor ids)
    {
        var table = Param("model.embed_tokens.weight", _c.Vocab, _c.Hidden);
        var x = Embedding(ids, table) * TypedConst(change == Change.NoNorms ? 50 : 10);
        for (var i = 0; i < _c.Layers; i++)
        {
            using (Scope($"layers.{i}")) x = new Layer(_c, change == Change.SharedLayers ? 0 : i, change).Forward(x);
        }
        if (change != Change.NoFinalNorm) x = RmsNorm(x, Param("model.norm.weight", _c.Hidden), _c.Eps);
        return change switch
        {
            Change.NoHead => x,
            Change.UntiedHead => Linear(x, Param("lm_head.weight", _c.Vocab, _c.Hidden)),
            Change.AdaptedHead => new Projection("lm_head", _c.Hidden, _c.Vocab).Forward(x),
            _ => Linear(x, table),
        };
    }

    public override ConfigField[] CheckpointConfig => [];
}

/// <summary>A layer written as one would: its constructor's parameters are used in it, beside the protected members of its base.</summary>
public class DerivedLayer(Gemma2Config c, int i) : DecoderLayer(c, i)
{
    protected override int? Window => i == 0 ? c.Window / 2 : Index + Config.Window;
    protected override Tensor Norm(Tensor x, string name) => name.StartsWith("post") ? base.Norm(x, name) : RmsNorm(x, Param($"{Name}.{name}.weight", c.Hidden), c.Eps * 2);
    protected override Tensor SelfAttention(Tensor x) => base.SelfAttention(x) * 0.5;
    protected override Tensor Activation(Tensor x) => Tanh(x) * x;
}

[GraphModel("derivedlayer")] public sealed class Derived() : Gemma2Model(Gemma2Config.Nano with { Layers = 2 })
{
    protected override Module Layer(int i) => new DerivedLayer(Config, i);
    public override string[] Changes => ["hidden_activation", "sliding_window", "layer_types", "rms_norm_eps", "num_hidden_layers", "model.layers.*"];
}

[GraphModel("none")] public sealed class None() : Changed(Change.None);
[GraphModel("allheadshavekeys")] public sealed class AllHeadsHaveKeys() : Changed(Change.AllHeadsHaveKeys);
[GraphModel("norope")] public sealed class NoRope() : Changed(Change.NoRope);
[GraphModel("noscore")] public sealed class NoScore() : Changed(Change.NoScore);
[GraphModel("plainmlp")] public sealed class PlainMlp() : Changed(Change.PlainMlp);
[GraphModel("silu")] public sealed class Silu() : Changed(Change.Silu);
[GraphModel("linearwithoutadapter")] public sealed class LinearWithoutAdapter() : Changed(Change.LinearWithoutAdapter);
[GraphModel("noattention")] public sealed class NoAttention() : Changed(Change.NoAttention);
[GraphModel("nonorms")] public sealed class NoNorms() : Changed(Change.NoNorms);
[GraphModel("nopostnorms")] public sealed class NoPostNorms() : Changed(Change.NoPostNorms);
[GraphModel("gain")] public sealed class Gain() : Changed(Change.Gain);
[GraphModel("nofinalnorm")] public sealed class NoFinalNorm() : Changed(Change.NoFinalNorm);
[GraphModel("untiedhead")] public sealed class UntiedHead() : Changed(Change.UntiedHead);
[GraphModel("parallel")] public sealed class Parallel() : Changed(Change.Parallel);
[GraphModel("parallelwithcopy")] public sealed class ParallelWithCopy() : Changed(Change.ParallelWithCopy);
[GraphModel("sharedlayers")] public sealed class SharedLayers() : Changed(Change.SharedLayers);
[GraphModel("adaptedhead")] public sealed class AdaptedHead() : Changed(Change.AdaptedHead);
[GraphModel("nohead")] public sealed class NoHead() : Changed(Change.NoHead);
[GraphModel("onehead")] public sealed class OneHead() : Changed(Change.OneHead);
[GraphModel("queryiskey")] public sealed class QueryIsKey() : Changed(Change.QueryIsKey);
[GraphModel("nothingtrainedbefore")] public sealed class NothingTrainedBefore() : Changed(Change.NothingTrainedBefore);
[GraphModel("someofoneinput")] public sealed class SomeOfOneInput() : Changed(Change.SomeOfOneInput);
