using System.Collections.Generic;
using System.Linq;
using Graph.Dsl;
using static Graph.Dsl.Ops;

// Forms of models that a person may write, one class each: FormTests trains each for a step beside torch. They are small, so that a failure can be read.
namespace Graph.Fuzz.Tests.Forms;

public abstract class Form : LanguageModel
{
    // A head has 16 columns at least, any row a multiple of 8.
    protected const int H = 32, V = 24;

    /// <summary>A rank of 3 for every adapter; two documents and slack.</summary>
    public static Setup Setup(IReadOnlyList<TraceNode> trace) =>
        new(12, [[5, 6]], 0.2, trace.Where(n => n.Op == "lora_a").Select(n => (string)n.Attributes[0].Value!).Distinct().ToDictionary(n => n, _ => 3), 2, null, 1);

    public override ConfigField[] CheckpointConfig => [];

    public override Tensor Forward(Tensor ids) => Head(Body(Embedding(ids, Param("model.embed", V, H))));

    protected virtual Tensor Head(Tensor x) => Linear(x, Param("lm_head.weight", V, H));

    protected abstract Tensor Body(Tensor x);

    protected static Tensor Plain(Tensor x, string name, int from = H, int to = H) => Linear(x, Param(name + ".weight", to, from));
    protected static Tensor Delta(Tensor x, string name, int from = H, int to = H) => Linear(Linear(x, LoraA(name, from)), LoraB(name, to));
    protected static Tensor Lora(Tensor x, string name, int from = H, int to = H) => Plain(x, name, from, to) + Delta(x, name, from, to) * LoraScale(name);
    protected static Tensor Norm(Tensor x, string name) => RmsNorm(x, Param(name + ".weight", H), 1e-6);
    protected static Tensor Attend(Tensor q, Tensor k, Tensor v, int heads = 2, int kvHeads = 1) =>
        MergeHeads(Attention(SplitHeads(q, heads), SplitHeads(k, kvHeads), SplitHeads(v, kvHeads), 0.7));
}

public sealed class TanhBetweenAAndB : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Linear(Tanh(Linear(x, LoraA("w", H))), LoraB("w", H)) * LoraScale("w"); }

public sealed class NumberBetweenAAndB : Form
{
    protected override Tensor Body(Tensor x) => Plain(x, "w") + Linear(Linear(x, LoraA("w", H)) * 0.5, LoraB("w", H)) * LoraScale("w");
}

public sealed class NoScale : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w"); }
public sealed class NumberAsScale : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w") * 0.5; }
public sealed class ScaleTimesNumber : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w") * (LoraScale("w") * 0.5); }
public sealed class ScaleBeforeA : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x * LoraScale("w"), "w"); }
public sealed class ScaleBetweenAAndB : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Linear(LoraScale("w") * Linear(x, LoraA("w", H)), LoraB("w", H)); }
public sealed class ScaleOnAllOfIt : Form { protected override Tensor Body(Tensor x) => (Plain(x, "w") + Delta(x, "w")) * LoraScale("w"); }

public sealed class ScaleTwice : Form
{
    protected override Tensor Body(Tensor x) => Plain(x, "w") + Linear(Linear(x, LoraA("w", H)) * LoraScale("w"), LoraB("w", H)) * LoraScale("w");
}

public sealed class DividedByScale : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w") / LoraScale("w"); }
public sealed class Subtracted : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") - Delta(x, "w") * LoraScale("w"); }
public sealed class Multiplied : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") * (1 + Delta(x, "w")); }
public sealed class AdapterFirst : Form { protected override Tensor Body(Tensor x) => Delta(x, "w") * LoraScale("w") + Plain(x, "w"); }
public sealed class AdapterAlone : Form { protected override Tensor Body(Tensor x) => x + Delta(x, "w") * LoraScale("w"); }
public sealed class AdapterOfALargeSum : Form { protected override Tensor Body(Tensor x) => x + Plain(x, "w") + Tanh(x) + Delta(x, "w") * LoraScale("w"); }
public sealed class AdapterOfAnotherInput : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(Tanh(x), "w") * LoraScale("w"); }
public sealed class TwoAdapters : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w") * LoraScale("w") + Delta(x, "second") * 0.5; }
public sealed class TwoAdaptersOneScale : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + (Delta(x, "w") + Delta(x, "second")) * LoraScale("w"); }
public sealed class OneAdapterOnTwoInputs : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w") + Plain(Tanh(x), "other") + Delta(Tanh(x), "w"); }
public sealed class OneLinearOnTwoInputs : Form { protected override Tensor Body(Tensor x) => Lora(x, "w") + Lora(Tanh(x), "w"); }
public sealed class OneLinearTwiceInARow : Form { protected override Tensor Body(Tensor x) => Lora(Lora(x, "w"), "w"); }
public sealed class OneWeightTwoAdapters : Form { protected override Tensor Body(Tensor x) => Plain(x, "w") + Delta(x, "w") + Plain(Tanh(x), "w") + Delta(Tanh(x), "second"); }
public sealed class TwoLinearsInARow : Form { protected override Tensor Body(Tensor x) => Lora(Lora(x, "a"), "b"); }
public sealed class FrozenAfterAdapted : Form { protected override Tensor Body(Tensor x) => Plain(Lora(x, "a"), "b"); }
public sealed class FrozenBeforeAdapted : Form { protected override Tensor Body(Tensor x) => Lora(Plain(x, "a"), "b"); }
public sealed class LinearOfASumOfLinears : Form { protected override Tensor Body(Tensor x) => Lora(Lora(x, "a") + Lora(Tanh(x), "b"), "c"); }
public sealed class SumOfTwoLinears : Form { protected override Tensor Body(Tensor x) => Lora(x, "a") + Lora(Tanh(x), "b"); }
public sealed class SumOfTwoLinearsOfOneInput : Form { protected override Tensor Body(Tensor x) => Lora(x, "a") + Lora(x, "b"); }
public sealed class OneOutputReadTwice : Form { protected override Tensor Body(Tensor x) { var y = Lora(x, "a"); return Lora(y, "b") + Lora(Tanh(y), "c") + y; } }
public sealed class OneOutputOfTwoAdapters : Form { protected override Tensor Body(Tensor x) { var y = Lora(x, "first"); return Delta(y, "a") + Delta(y, "b") * LoraScale("b"); } }
public sealed class OneOutputInTwoFunctions : Form { protected override Tensor Body(Tensor x) { var y = Lora(x, "a"); return Tanh(y) * y; } }

public sealed class OneAOfTwoReaders : Form
{
    protected override Tensor Body(Tensor x) { var s = Linear(x, LoraA("w", H)); return Plain(x, "w") + Linear(s, LoraB("w", H)) + Linear(Tanh(s), LoraB("w", H)); }
}

public sealed class SomeOfThreeAdapted : Form { protected override Tensor Body(Tensor x) => Attend(Lora(x, "q"), Plain(x, "k", H, 16), Lora(x, "v", H, 16)); }
public sealed class KeysAlone : Form { protected override Tensor Body(Tensor x) => Attend(Plain(x, "q"), Lora(x, "k", H, 16), Plain(x, "v", H, 16)); }
public sealed class ValuesAlone : Form { protected override Tensor Body(Tensor x) => Attend(Plain(x, "q"), Plain(x, "k", H, 16), Lora(x, "v", H, 16)); }

public sealed class NothingTrainedBeforeAttention : Form
{
    protected override Tensor Body(Tensor x) => Lora(Attend(Plain(x, "q"), Plain(x, "k", H, 16), Plain(x, "v", H, 16)), "o");
}

public sealed class LayerWithoutAdapters : Form { protected override Tensor Body(Tensor x) => Plain(Tanh(Plain(Lora(x, "first"), "a")), "b") + Lora(x, "last"); }
public sealed class OneHead : Form { protected override Tensor Body(Tensor x) => Attend(Lora(x, "q"), Lora(x, "k"), Lora(x, "v"), 1, 1); }
public sealed class ManyHeads : Form { protected override Tensor Body(Tensor x) => Lora(Attend(Lora(x, "q", H, 96), Lora(x, "k", H, 32), Lora(x, "v", H, 32), 6, 2), "o", 96); }
public sealed class KeysAreQueries : Form { protected override Tensor Body(Tensor x) { var q = Lora(x, "q"); return Attend(q, q, Lora(x, "v"), 2, 2); } }
public sealed class ValuesAreKeys : Form { protected override Tensor Body(Tensor x) { var k = Lora(x, "k", H, 16); return Attend(Lora(x, "q"), k, k); } }
public sealed class NoLinearsAroundAttention : Form { protected override Tensor Body(Tensor x) { var y = Lora(x, "a"); return y + Attend(y, y, y, 2, 2); } }

public sealed class QueriesReadAgain : Form
{
    protected override Tensor Body(Tensor x) { var q = Lora(x, "q"); return Attend(q, Lora(x, "k", H, 16), Lora(x, "v", H, 16)) * Tanh(q) + q; }
}

public sealed class RopeOnKeysAlone : Form
{
    protected override Tensor Body(Tensor x) =>
        MergeHeads(Attention(SplitHeads(Lora(x, "q"), 2), Rope(SplitHeads(Lora(x, "k", H, 16), 1), 100), SplitHeads(Lora(x, "v", H, 16), 1), 0.7));
}

public sealed class RopeAndTheValueBefore : Form
{
    protected override Tensor Body(Tensor x)
    {
        var k = SplitHeads(Lora(x, "k", H, 16), 1);
        return MergeHeads(Attention(Rope(SplitHeads(Lora(x, "q"), 2), 100), Rope(k, 100), k, 0.7));
    }
}

/// <summary>Three kinds of layers: scaled with a factor (<see cref="Values.Rope"/>), scaled without, and not; the first has queries and keys of its own kind each.</summary>
public sealed class RopeOfThreeKinds : Form
{
    protected override Tensor Body(Tensor x)
    {
        Tensor Turned(Tensor x, string name, string? q, string? k) => MergeHeads(Attention(Rope(SplitHeads(Lora(x, name + "q"), 2), 100, q),
            Rope(SplitHeads(Lora(x, name + "k", H, 16), 1), 100, k),
            SplitHeads(Lora(x, name + "v", H, 16), 1), 0.7));
        return Turned(Turned(x, "a", "yarn", "linear") + Turned(x, "b", "yarn", "yarn"), "c", null, null);
    }
}

public sealed class SquaredQueries : Form
{
    protected override Tensor Body(Tensor x)
    {
        var q = SplitHeads(Lora(x, "q"), 2);
        return MergeHeads(Attention(q * q, SplitHeads(Lora(x, "k", H, 16), 1), SplitHeads(Lora(x, "v", H, 16), 1), 0.7));
    }
}

public sealed class VectorAlongHeads : Form
{
    protected override Tensor Body(Tensor x) =>
        MergeHeads(Attention(SplitHeads(Lora(x, "q"), 2) * Param("gain.weight", 16), SplitHeads(Lora(x, "k", H, 16), 1), SplitHeads(Lora(x, "v", H, 16), 1), 0.7));
}

public sealed class ParallelBlocks : Form
{
    protected override Tensor Body(Tensor x)
    {
        var h = Norm(x, "norm");
        return x + Lora(Attend(Lora(h, "q"), Lora(h, "k", H, 16), Lora(h, "v", H, 16)), "o") + Lora(GeluTanh(Lora(h, "up", H, 16)), "down", 16);
    }
}

public sealed class ParallelBlocksWithoutNorm : Form
{
    protected override Tensor Body(Tensor x) => x + Lora(Attend(Lora(x, "q"), Lora(x, "k", H, 16), Lora(x, "v", H, 16)), "o")
        + Lora(Lora(x, "gate", H, 16) * Lora(x, "up", H, 16), "down", 16);
}

public sealed class MeanAsGate : Form
{
    protected override Tensor Body(Tensor x) { var y = Lora(x, "a"); return (y - RowMean(y)) * Rsqrt(RowMean(y * y) + 0.01) + RowMean(y) * RowMean(x); }
}

public sealed class NormsOfOneWeight : Form { protected override Tensor Body(Tensor x) => Norm(Lora(Norm(x, "norm"), "a"), "norm"); }
public sealed class Bias : Form { protected override Tensor Body(Tensor x) => Lora(x, "a") + Param("a.bias", H); }

public sealed class TwoTables : Form
{
    public override Tensor Forward(Tensor ids) => Head(Body(Embedding(ids, Param("model.embed", V, H)) + Embedding(ids, Param("second.embed", 30, H))));

    protected override Tensor Body(Tensor x) => Lora(x, "a");
}

public sealed class TiedHead : Form
{
    protected override Tensor Body(Tensor x) => Lora(x, "a");

    protected override Tensor Head(Tensor x) => Tanh(Linear(x * 0.3, Param("model.embed", V, H)) / 3) * 3;
}

public sealed class DeadBranch : Form { protected override Tensor Body(Tensor x) { _ = Lora(Tanh(x), "dead"); return Lora(x, "a"); } }

/// <summary>Names that mean something in the emitted C# and CUDA C, or are none there. Each is the name of a value that a row kernel computes.</summary>
public sealed class NamesOfEmittedTexts : Form
{
    protected override Tensor Body(Tensor x)
    {
        foreach (var name in new[] { "a", "c", "row", "rows", "out", "in", "base", "int", "float", "mlp.0", "mlp.2", "\u00e4", "exp", "x-y" })
            x = Norm(x + Lora(Tanh(x), name), name + ".norm");
        foreach (var name in new[] { "c", "out", "0" }) x = x * Param($"gain.{name}.weight", H) + Norm(x, $"norm.{name}");
        return x;
    }
}
