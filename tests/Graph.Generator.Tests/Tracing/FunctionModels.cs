using Graph.Dsl;
using static Graph.Dsl.Ops;

// Models of what Gemma 2 has not: norms and statistics of heads, biases, positions, other functions. FunctionTests trains them and compares with the fp64 references of their
// ops; FunctionKernelTests
// assembles their kernels for every target.
namespace Graph.Generator.Tests.Tracing.Functions;

public abstract class Small : LanguageModel
{
    protected const int Hidden = 64, Heads = 2, KvHeads = 1, HeadDim = 32, Ffn = 96, Vocab = 72, Layers = 2;

    protected static Tensor Project(Tensor x, string name, int from, int to) =>
        Linear(x, Param(name + ".weight", to, from)) + Linear(Linear(x, LoraA(name, from)), LoraB(name, to)) * LoraScale(name);

    protected static Tensor Biased(Tensor x, string name, int from, int to) => Project(x, name, from, to) + Param(name + ".bias", to);

    public override ConfigField[] CheckpointConfig => [];
}

/// <summary>As Gemma 3 and Qwen 3: RMSNorm of every head of q and k; SiLU.</summary>
[GraphModel("headnorms")]
public sealed class HeadNorms : Small
{
    static Tensor Norm(Tensor x, string name, int columns) => RmsNorm(x, Param(name + ".weight", columns), 1e-6);

    public override Tensor Forward(Tensor ids)
    {
        var table = Param("embed.weight", Vocab, Hidden);
        var x = Embedding(ids, table) * 4;
        for (var i = 0; i < Layers; i++)
            using (Scope($"layers.{i}")) x = Layer(x, $"layers.{i}");
        return Linear(Norm(x, "norm", Hidden), table);
    }

    static Tensor Layer(Tensor x, string name)
    {
        var h = Norm(x, name + ".input_layernorm", Hidden);
        var q = Norm(SplitHeads(Project(h, name + ".q_proj", Hidden, Heads * HeadDim), Heads), name + ".q_norm", HeadDim);
        var k = Norm(SplitHeads(Project(h, name + ".k_proj", Hidden, KvHeads * HeadDim), KvHeads), name + ".k_norm", HeadDim);
        var v = SplitHeads(Project(h, name + ".v_proj", Hidden, KvHeads * HeadDim), KvHeads);
        var o = Attention(Rope(q, 100), Rope(k, 100), v, 0.25);
        x += Project(MergeHeads(o), name + ".o_proj", Heads * HeadDim, Hidden);
        h = Norm(x, name + ".post_attention_layernorm", Hidden);
        return x + Project(Silu(Project(h, name + ".gate_proj", Hidden, Ffn)) * Project(h, name + ".up_proj", Hidden, Ffn), name + ".down_proj", Ffn, Hidden);
    }
}

/// <summary>As GPT-2: learned positions, LayerNorm with bias, biases of linears, exact GELU; one head, a LayerNorm of it besides, and an embedding of its own for every
/// layer.</summary>
[GraphModel("positions")]
public sealed class LearnedPositions : Small
{
    new const int Heads = 1;

    static Tensor Norm(Tensor x, string name, int columns) => LayerNorm(x, Param(name + ".weight", columns), Param(name + ".bias", columns), 1e-5);

    public override Tensor Forward(Tensor ids)
    {
        var table = Param("wte.weight", Vocab, Hidden);
        var x = Embedding(ids, table) + Embedding(Positions(), Param("wpe.weight", 40, Hidden));
        for (var i = 0; i < Layers; i++)
            using (Scope($"layers.{i}")) x = Layer(ids, x, $"layers.{i}");
        return Linear(Norm(x, "ln_f", Hidden), table);
    }

    static Tensor Layer(Tensor ids, Tensor x, string name)
    {
        x += Embedding(ids, Param(name + ".wle.weight", Vocab + 8 * name.Length, Hidden));
        var h = Norm(x, name + ".ln_1", Hidden);
        var q = LayerNorm(SplitHeads(Biased(h, name + ".q_proj", Hidden, Heads * HeadDim), Heads), Param(name + ".q_norm.weight", HeadDim), 1e-5);
        var k = SplitHeads(Biased(h, name + ".k_proj", Hidden, Heads * HeadDim), Heads);
        var v = SplitHeads(Biased(h, name + ".v_proj", Hidden, Heads * HeadDim), Heads);
        x += Biased(MergeHeads(Attention(q, k, v, 0.25)), name + ".o_proj", Heads * HeadDim, Hidden) * Param(name + ".layer_scale", Hidden);
        return x + Biased(Gelu(Biased(Norm(x, name + ".ln_2", Hidden), name + ".c_fc", Hidden, Ffn)), name + ".c_proj", Ffn, Hidden);
    }
}

/// <summary>No model anyone trains: every broadcast of rows and heads, views between pointwise work, statistics that cross rows of other widths, means that are no mean
/// squares.</summary>
[GraphModel("broadcasts")]
public sealed class Broadcasts : Small
{
    public override Tensor Forward(Tensor ids)
    {
        var table = Param("embed.weight", Vocab, Hidden);
        var x = Embedding(ids, table) * 3;
        for (var i = 0; i < Layers; i++)
            using (Scope($"layers.{i}")) x = Layer(x, $"layers.{i}");
        return Linear(x, table);
    }

    static Tensor Layer(Tensor x, string name)
    {
        var q = SplitHeads(Project(x, name + ".q_proj", Hidden, Heads * HeadDim), Heads);
        q *= Sigmoid(RowMean(q) * Param(name + ".temperature", Heads, 1));
        q = (q + Param(name + ".bias", Heads, HeadDim) * 2) * Param(name + ".gain", Heads, 1) * (1 + Param(name + ".columns", HeadDim));
        q *= 1 + Tanh(RowMean(x));
        var y = MergeHeads(q) * 0.5 + x;
        var z = SplitHeads(y, 8);
        z = Relu(z - RowMean(z)) + z * 0.25;
        y = MergeHeads(z);
        // A product that two stored values read: each of them built again alone must have the bits of both together.
        var s = Sigmoid(y) * Param(name + ".slope", Hidden);
        y += Tanh(Project(s * 1.35, name + ".mix_proj", Hidden, Hidden)) + Tanh(s);
        var f = Project(y, name + ".up_proj", Hidden, Ffn);
        y *= Sigmoid(RowMean(f)) + Exp(-RowMean(Sqrt(y * y + 1)));
        f = Sqrt(f * f + 1) + Log(f * f + 1.5) - Gelu(f) / 2 + RowMean(f + f);
        return y + Project(f, name + ".down_proj", Ffn, Hidden);
    }
}

/// <summary>Values far out: a gate of several hundreds, where e⁻ˣ overflows.</summary>
[GraphModel("steep")]
public sealed class Steep : Small
{
    public override Tensor Forward(Tensor ids)
    {
        var table = Param("embed.weight", Vocab, Hidden);
        var x = Embedding(ids, table);
        var gate = Project(x, "gate_proj", Hidden, Ffn) * 400;
        return Linear(x + Project(Silu(gate) * Sigmoid(gate), "down_proj", Ffn, Hidden) * 0.01, table);
    }
}
