using System.Collections.Generic;
using Graph.Dsl;
using static Graph.Dsl.Ops;

// Models whose gradient of A nearly cancels: a norm after an adapter of rank 1 does not change with A's length, so of the terms that are summed 1e-3 and less is left.
// The gradient was as exact as fp32 is, but the fuzzer took its rounding for a fault. The names are those of the seeds.
namespace Graph.Fuzz.Tests.Forms;

public sealed class NormOfRankOne9419 : LanguageModel
{
    public static Setup Setup => new(1, [[1]], 0, new Dictionary<string, int> { ["layers.0.up_proj"] = 1 }, 1.0, null, 9419);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 72, 8));
        var x4 = Linear(x2, LoraA("layers.0.up_proj", 8));
        var x6 = Linear(x4, LoraB("layers.0.up_proj", 8));
        var x8 = RmsNorm(x6, Param("layers.0.input_layernorm.weight", 8), 1E-06);
        return Linear(x8, Param("model.embed", 72, 8));
    }
}

public sealed class LayerNormOfRankOne2246 : LanguageModel
{
    public static Setup Setup => new(1, [[1]], 0, new Dictionary<string, int> { ["layers.1.o_proj"] = 1 }, 1.0, null, 2246);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 16, 8));
        var x4 = Linear(x2, Param("layers.1.q_proj.weight", 192, 8));
        var x6 = Linear(x4, LoraA("layers.1.o_proj", 192));
        var x8 = Linear(x6, LoraB("layers.1.o_proj", 8));
        var x10 = LayerNorm(x8, Param("layers.1.ln.weight", 8), 1E-05);
        return Linear(x10, Param("model.embed", 16, 8));
    }
}

public sealed class NormOfRankOneAfterALinear9996 : LanguageModel
{
    public static Setup Setup => new(1, [[1]], 0, new Dictionary<string, int> { ["layers.0.o_proj"] = 1 }, 1.0, null, 9996);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 16, 32));
        var x4 = RmsNorm(x2, Param("layers.0.post_attention_layernorm.weight", 32), 1E-06);
        var x6 = Linear(x4, Param("layers.0.q_proj.weight", 16, 32));
        var x8 = Linear(x6, LoraA("layers.0.o_proj", 16));
        var x10 = Linear(x8, LoraB("layers.0.o_proj", 32));
        var x12 = RmsNorm(x10, Param("layers.0.post_attention_layernorm2.weight", 32), 1E-05);
        return Linear(x12, Param("layers.1.k_proj.weight", 16, 32));
    }
}

public sealed class NormOfASumOfRankOne1454 : LanguageModel
{
    public static Setup Setup => new(32, [[18, 7, 5, 1, 1]], 0.3, new Dictionary<string, int> { ["layers.0.up_proj"] = 1 }, 1.0, null, 1454);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 72, 16));
        var x4 = Linear(x2, LoraA("layers.0.up_proj", 16));
        var x6 = Linear(x4, LoraB("layers.0.up_proj", 16));
        var x8 = x6 * LoraScale("layers.0.up_proj");
        var x10 = Linear(x8, Param("layers.0.down_proj.weight", 16, 16));
        var x11 = x10 + x6;
        var x13 = RmsNorm(x11, Param("input_layernorm.weight", 16), 1E-06);
        var x15 = 0.25 * x13;
        return Linear(x15, Param("model.embed", 72, 16));
    }
}

public sealed class NormOfRankOneAfterAttention5698 : LanguageModel
{
    public static Setup Setup => new(28, [[12, 11, 1, 3, 1]], 0.3, new Dictionary<string, int> { ["layers.0.k_proj"] = 1, ["layers.0.o_proj"] = 1 }, 1.0, 19, 5698);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 56, 24));
        var x5 = Embedding(Positions(), Param("positions.embed", 160, 24));
        var x6 = x2 + x5;
        var x8 = Linear(x6, Param("layers.0.q_proj.weight", 32, 24));
        var x9 = SplitHeads(x8, 2);
        var x11 = Linear(x6, Param("layers.0.k_proj.weight", 16, 24));
        var x13 = Linear(x6, LoraA("layers.0.k_proj", 24));
        var x15 = Linear(x13, LoraB("layers.0.k_proj", 16));
        var x17 = x15 / LoraScale("layers.0.k_proj");
        var x18 = x11 + x17;
        var x19 = SplitHeads(x18, 1);
        var x21 = Linear(x6, Param("layers.0.v_proj.weight", 16, 24));
        var x22 = SplitHeads(x21, 1);
        var x23 = Attention(x9, x19, x22, 0.375, z => Tanh((z / 1.5)) * 1.5);
        var x24 = MergeHeads(x23);
        var x26 = Linear(x24, LoraA("layers.0.o_proj", 32));
        var x28 = Linear(x26, LoraB("layers.0.o_proj", 24));
        var x30 = RmsNorm(x28, Param("layers.0.input_layernorm.weight", 24), 1E-06);
        var x31 = x6 + x30;
        var x33 = RmsNorm(x31, Param("input_layernorm.weight", 24), 1E-06);
        var x35 = x33 * 0.2;
        return Linear(x35, Param("model.embed", 56, 24));
    }
}
