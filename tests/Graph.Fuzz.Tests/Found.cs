using System.Collections.Generic;
using Graph.Dsl;
using static Graph.Dsl.Ops;

// The smallest models of the failures that the fuzzer found, as it prints them; the name says what was wrong. FormTests trains each beside torch.
namespace Graph.Fuzz.Tests.Forms;

/// <summary>A row kernel over [T,R]: the number of its columns is known at run time alone.</summary>
public sealed class FunctionOfRanksWithoutWeight : LanguageModel
{
    public static Setup Setup => new(1, [[1]], 0, new Dictionary<string, int> { ["layers.0.q_proj"] = 5 }, 1.0, null, 90);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 60, 16));
        var x4 = Linear(x2, LoraA("layers.0.q_proj", 16));
        var x5 = Tanh(x4);
        var x7 = Linear(x5, LoraB("layers.0.q_proj", 24));
        var x9 = Linear(x7, Param("layers.0.o_proj.weight", 16, 24));
        return Linear(x9, Param("lm_head.weight", 56, 16));
    }
}

/// <summary>A stored sum and a function of its heads were one kernel, which read what it wrote.</summary>
public sealed class FunctionOfHeadsOfASum : LanguageModel
{
    public static Setup Setup => new(1, [[1]], 0, new Dictionary<string, int> { ["layers.0.k_proj"] = 1 }, 1.0, null, 70);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 56, 24));
        var x4 = Linear(x2, Param("layers.0.k_proj.weight", 48, 24));
        var x6 = Linear(x2, LoraA("layers.0.k_proj", 24));
        var x8 = Linear(x6, LoraB("layers.0.k_proj", 48));
        var x9 = x8 + x4;
        var x11 = x9 * LoraScale("layers.0.k_proj");
        var x12 = x4 + x11;
        var x13 = SplitHeads(x12, 3);
        var x15 = x13 * Param("layers.0.vector.weight", 16);
        var x16 = MergeHeads(x15);
        var x18 = Linear(x16, Param("layers.0.o_proj.weight", 24, 48));
        return Linear(x18, Param("model.embed", 56, 24));
    }
}

/// <summary>One linear's gradient was to lie beside two others'.</summary>
public sealed class ParallelBlocksWithAMean : LanguageModel
{
    public static Setup Setup => new(9, [[9]], 0.3, new Dictionary<string, int> { ["layers.0.o_proj"] = 8, ["layers.0.up_proj"] = 4 }, 2.0, 9, 202);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 32, 24));
        var x36 = Tanh(x2);
        var x38 = Linear(x36, Param("layers.0.o_proj.weight", 24, 24));
        var x40 = Linear(x36, LoraA("layers.0.o_proj", 24));
        var x42 = Linear(x40, LoraB("layers.0.o_proj", 24));
        var x44 = x2 + x38 + x42;
        var x46 = Linear(x2, Param("layers.0.up_proj.weight", 16, 24));
        var x48 = Linear(x2, LoraA("layers.0.up_proj", 24));
        var x50 = Linear(x48, LoraB("layers.0.up_proj", 16));
        var x51 = x46 + x50;
        var x53 = x51 - RowMean(x51);
        var x55 = Linear(x53, Param("layers.0.down_proj.weight", 24, 16));
        var x56 = x44 + x55;
        var x58 = RmsNorm(x56, Param("input_layernorm.weight", 24), 0.01);
        return Linear(x58 * 0.2, Param("model.embed", 32, 24));
    }
}

/// <summary>Nothing before the attention is trained: its backward does not exist.</summary>
public sealed class AttentionOfTheTable : LanguageModel
{
    public static Setup Setup => new(4, [[1, 3]], 0, new Dictionary<string, int> { ["o"] = 2 }, 1.0, null, 1);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids)
    {
        var x2 = Embedding(ids, Param("model.embed", 8, 32));
        var x3 = SplitHeads(x2, 2);
        var x5 = MergeHeads(Attention(x3, x3, x3, 1.0));
        return Linear(x5 + Linear(Linear(x5, LoraA("o", 32)), LoraB("o", 32)), Param("lm_head.weight", 8, 32));
    }
}
