using Graph.Dsl;
using static Graph.Dsl.Ops;

// What the compiler does not do, one class each: RefusedTests holds that each is a sentence. All other models of valid shapes compile, or the fuzzer reports them.
namespace Graph.Fuzz.Tests.Forms;

public sealed class AdaptedHead : Form { protected override Tensor Body(Tensor x) => Lora(x, "a"); protected override Tensor Head(Tensor x) => Lora(x, "lm_head", H, V); }
public sealed class NoHead : Form { protected override Tensor Body(Tensor x) => Lora(x, "a"); protected override Tensor Head(Tensor x) => x; }

public sealed class BiasOnLogits : Form
{
    protected override Tensor Body(Tensor x) => Lora(x, "a");

    protected override Tensor Head(Tensor x) => base.Head(x) + Param("lm_head.bias", V);
}

public sealed class ScaleOnLogits : Form { protected override Tensor Body(Tensor x) => Lora(x, "a"); protected override Tensor Head(Tensor x) => base.Head(x) * LoraScale("a"); }
public sealed class ComputedWeight : Form { protected override Tensor Body(Tensor x) => Lora(Linear(x, Param("w.weight", H, H) * 2), "a"); }
public sealed class MeanOverRanks : Form { protected override Tensor Body(Tensor x) => Lora(x, "a") * RowMean(Linear(x, LoraA("a", H))); }
public sealed class NoDimensions : Form { protected override Tensor Body(Tensor x) => Lora(x, "a") * Param("gain"); }
public sealed class LinearOfOneColumn : Form { protected override Tensor Body(Tensor x) => x + Lora(x, "a") * Tanh(Lora(x, "gate", H, 1)); }
public sealed class NameWithASpace : Form { protected override Tensor Body(Tensor x) => Lora(x, "a b"); }
