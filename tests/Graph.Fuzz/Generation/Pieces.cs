using System;
using System.Linq;

namespace Graph.Fuzz.Generation;

/// <summary>
/// What models are put together from: linears with adapters of every form, norms, functions, score functions. Each choice leaves its name among the model's
/// features.
/// </summary>
sealed class Pieces(ModelBuilder b, Draw draw)
{
    // Adapters on all linears, on some, on few.
    readonly double adapted = draw.Of(1, 1, 0.7, 0.7, 0.2);

    public int Add(int x, int y) => b.Add("add", x, y);
    public int Mul(int x, int y) => b.Add("mul", x, y);
    public int Times(int x, double factor) => draw.Chance(0.5) ? Mul(x, b.Const(factor)) : Mul(b.Const(factor), x);

    T Note<T>(string feature, T value)
    {
        b.Features.Add(feature);
        return value;
    }

    /// <summary>x·Wᵀ for a new weight or one that is used again, with none, one or two adapters.</summary>
    public int Linear(int x, int @out, string part)
    {
        var columns = b[x].A;
        var known = b.ParamsOf(@out, columns).Where(p => p.EndsWith(".weight", StringComparison.Ordinal)).ToArray();
        var weight = known.Length > 0 && draw.Rarely(0.08) ? Note("weight: used twice", draw.Of(known)) : b.Unique(part) + ".weight";
        if (draw.Rarely(0.04)) return Note("adapter: without a weight", Adapter(x, @out, b.Unique(part)));
        var w = b.Param(weight, @out, columns);
        var y = b.Add("linear", x, w);
        if (!draw.Chance(adapted)) return Note("linear: no adapter", y);
        var name = weight[..^".weight".Length];
        var shared = b.AdaptersOf(columns, @out);
        if (b.AdaptersOf(columns, @out).Contains(name)) b.Features.Add("adapter: on two inputs");
        else if (b.Adapters.Contains(name)) name = b.Unique(part + "_other");
        else if (shared.Count > 0 && draw.Rarely(0.06)) name = Note("adapter: of another linear", draw.Of(shared));
        var delta = Adapter(x, @out, name);
        if (draw.Rarely(0.1))
        {
            var second = Adapter(x, @out, b.Unique(part + "_second"));
            if (draw.Chance(0.5)) return Note("adapter: two, added one by one", Add(Add(y, delta), second));
            return Note("adapter: two, their sum added", Add(y, draw.Chance(0.5) ? Mul(Add(delta, second), Scale(name)) : Add(delta, second)));
        }
        return draw.Weighted<Func<int>>(
            (10, () => Add(y, delta)), [
            (2, () => Note("adapter: before the linear", Add(delta, y))),
            (1, () => Note("adapter: subtracted", b.Add("sub", y, delta))),
            (1, () => Note("adapter: multiplied", Mul(y, Add(b.Const(1), delta)))),
            (1, () => Note("adapter: under a function", Add(y, b.Add("tanh", delta)))),
            (1, () => Note("adapter: both added to the input", b[x] == b[y] ? Add(Add(x, y), delta) : Add(y, delta)))])();
    }

    int Scale(string name) => draw.Weighted<Func<int>>(
        (4, () => b.Add(new Step("lora_scale", [], name))), [
        (1, () => Note("scale: a number", b.Const(draw.Number()))),
        (1, () => Note("scale: LoraScale times a number", Times(b.Add(new Step("lora_scale", [], name)), draw.Number()))),
        (0.5, () => Note("scale: a typed number", b.Add(new Step("typed_const", [], Number: draw.Number())))),
        (0.5, () => Note("scale: LoraScale squared", Mul(b.Add(new Step("lora_scale", [], name)), b.Add(new Step("lora_scale", [], name)))))])();

    int Scaled(int x, string name)
    {
        var scale = Scale(name);
        return draw.Weighted<Func<int>>((6, () => Mul(x, scale)), [(2, () => Mul(scale, x)), (1, () => Note("scale: divides", b.Add("div", x, scale)))])();
    }

    /// <summary>(x·Aᵀ)·Bᵀ with a scale in one of its places, or none, and sometimes a function between A and B.</summary>
    public int Adapter(int x, int @out, string name)
    {
        var place = draw.Weighted((6, "after B"), [(2, "between A and B"), (1, "before A"), (2, "nowhere")]);
        if (place != "after B") b.Features.Add("scale: " + place);
        var from = place == "before A" ? Scaled(x, name) : x;
        var (s, w) = b.Lora(name, b[x].A, @out, a =>
        {
            var s = b.Add("linear", from, a);
            if (place == "between A and B") s = Scaled(s, name);
            return draw.Weighted<Func<int>>(
                (12, () => s), [
                (1, () => Note("between A and B: tanh", b.Add("tanh", s))),
                (1, () => Note("between A and B: number", Times(s, draw.Number()))),
                (1.5, () => Note("between A and B: function", Function(s))),
                (0.5, () => Note("between A and B: square", Mul(s, s)))])();
        });
        var y = b.Add("linear", s, w);
        return place == "after B" ? Scaled(y, name) : y;
    }

    /// <summary>A function of the value's own elements that keeps its size in bounds.</summary>
    public int Function(int x) => draw.Weighted<Func<int>>(
        (6, () => b.Add(draw.Of(OpTable.Smooth), x)), [
        (2, () => Times(x, draw.Number())),
        (1, () => Add(x, b.Const(draw.Number()))),
        (1, () => b.Add("sub", b.Const(draw.Number()), x)),
        (1, () => b.Add("exp", b.Add("tanh", x))),
        (1, () => b.Add("log", Add(Mul(x, x), b.Const(1)))),
        (1, () => b.Add("sqrt", Add(Mul(x, x), b.Const(0.5)))),
        (1, () => b.Add("exp", b.Add("neg", Mul(x, x)))),
        (1, () => Mul(x, b.Add("rsqrt", Add(Mul(x, x), b.Const(1))))),
        (2, () => Note("function: x / (1 + exp(-x))", b.Add("div", x, Add(b.Const(1), b.Add("exp", b.Add("neg", x)))))),
        (1, () => b.Add("div", x, Add(b.Const(2), b.Add("tanh", x)))),
        (1, () => b.Add("div", b.Const(draw.Number()), Add(b.Const(1), Mul(x, x))))])();

    /// <summary>A row, with statistics of it and vectors along it.</summary>
    public int RowFunction(int x)
    {
        var columns = b[x].A;
        int Mean(int y) => b.Add("row_mean", y);
        return draw.Weighted<Func<int>>(
            (6, () => Function(x)), [
            (2, () => Note("row: minus its mean", b.Add("sub", x, Mean(x)))),
            (2, () => Note("row: vector added", Add(x, Vector(columns)))),
            (2, () => Note("row: vector multiplied", Mul(x, Add(b.Const(1), Vector(columns))))),
            (1, () => Note("row: gate", Mul(x, b.Add("tanh", Linear(x, columns, "gate"))))),
            (1, () => Note("row: function of its mean", Mul(x, Function(Mean(x))))),
            (1, () => Note("row: normed by hand", Mul(x, b.Add("rsqrt", Add(Mean(Mul(x, x)), b.Const(0.01)))))),
            (1, () => Note("row: two vectors", Add(Mul(x, Vector(columns)), Mul(Vector(columns), Vector(columns))))),
            (1, () => Note("row: mean of another", Add(x, Mean(draw.Of(b.Values(t => t.Kind == ValueKind.Rows && !t.IsStatistic)))))),
            (1, () => Note("row: by heads", b.Add("merge_heads", HeadFunction(b.Add(new Step("split_heads", [x], Count: columns / 8)))))),
            (1, () => Note("row: product of two means", Mul(x, Add(b.Const(1), Mul(Mean(x), Mean(draw.Of(b.Values(t => t.Kind == ValueKind.Rows && !t.IsStatistic))))))))])();
    }

    /// <summary>Heads, each as a row of its own, with weights of one head or of all.</summary>
    public int HeadFunction(int x)
    {
        var (heads, dim) = (b[x].A, b[x].B);
        int Weights(int rows, int columns) => b.Param(b.Unique("gains") + ".weight", rows, columns);
        return draw.Weighted<Func<int>>(
            (3, () => Norm(x)), [
            (1, () => Note("heads: minus their mean", b.Add("sub", x, b.Add("row_mean", x)))),
            (1, () => Note("heads: function of their mean", Mul(x, Function(b.Add("row_mean", x))))),
            (1, () => Note("heads: vector", Mul(x, Vector(dim)))),
            (1, () => Note("heads: weight each", Mul(x, Weights(heads, dim)))),
            (1, () => Note("heads: number each", Add(x, Weights(heads, 1)))),
            (1, () => Note("heads: mean of a row", Add(x, b.Add("row_mean", draw.Of(b.Values(t => t.Kind == ValueKind.Rows && !t.IsStatistic)))))),
            (1, () => Note("heads: function", Function(x)))])();
    }

    public int Vector(int size)
    {
        var known = b.ParamsOf(size);
        return known.Count > 0 && draw.Rarely(0.2) ? Note("vector: used twice", b.Param(draw.Of(known), size)) : b.Param(b.Unique("vector") + ".weight", size);
    }

    /// <summary>Of rows, or of each head.</summary>
    public int Norm(int x)
    {
        var size = b[x].Kind == ValueKind.Heads ? b[x].B : b[x].A;
        int Weight(params string[] names)
        {
            var known = b.ParamsOf(size);
            return b.Param(known.Count > 0 && draw.Rarely(0.15) ? Note("norm: weight used twice", draw.Of(known)) : b.Unique(draw.Of(names)) + ".weight", size);
        }
        var eps = draw.Of(1e-6, 1e-5, 0.01);
        return draw.Weighted<Func<int>>(
            (6, () => b.Add(new Step("rms_norm", [x, Weight("norm", "post_attention_layernorm", "input_layernorm")], Number: eps))), [
            (1, () => b.Add(new Step("layer_norm", [x, Weight("ln")], Number: eps))),
            (1, () => Note("norm: with bias", b.Add(new Step("layer_norm", [x, Weight("ln"), Weight("bias")], Number: eps))))])();
    }

    /// <summary>What attention makes of its scores, and how large they should be so that it shows.</summary>
    public (Score? Function, double Size) Score()
    {
        static Score C(double value) => new Score.Constant(value);
        var z = Fuzz.Score.Z;
        var cap = draw.Of(1.5, 3, 50);
        return draw.Weighted<Func<(Score?, double)>>(
            (6, () => draw.Chance(0.4) ? (null, 1.5)
                : Note("score: cap", ((Score?)Fuzz.Score.Of("mul", Fuzz.Score.Of("tanh", Fuzz.Score.Of("div", z, C(cap))), C(cap)), Math.Min(cap, 8)))), [
            (1, () => Note("score: identity lambda", ((Score?)z, 1.5))),
            (1, () => Note("score: cap plus a share", ((Score?)Fuzz.Score.Of("add", Fuzz.Score.Of("mul", Fuzz.Score.Of("tanh", z), C(2)), Fuzz.Score.Of("mul", z, C(0.1))), 2))),
            (1, () => Note("score: function", ((Score?)Fuzz.Score.Of(draw.Of(OpTable.Smooth), Fuzz.Score.Of("mul", z, C(draw.Number()))), 2))),
            (1, () => Note("score: exp", ((Score?)Fuzz.Score.Of("exp", Fuzz.Score.Of("neg", Fuzz.Score.Of("mul", z, z))), 1))),
            (1, () => Note("score: rsqrt", ((Score?)Fuzz.Score.Of("mul", z, Fuzz.Score.Of("rsqrt", Fuzz.Score.Of("add", Fuzz.Score.Of("mul", z, z), C(1)))), 2))),
            (1, () => Note("score: div", ((Score?)Fuzz.Score.Of("div", z, Fuzz.Score.Of("add", C(2), Fuzz.Score.Of("tanh", z))), 2))),
            (1, () => Note("score: distance", ((Score?)Fuzz.Score.Of("sub", z, Fuzz.Score.Of("mul", new Score.Distance(), C(0.1))), 2))),
            (1, () => Note("score: distance and head", ((Score?)Fuzz.Score.Of("sub", z,
                Fuzz.Score.Of("mul", Fuzz.Score.Of("exp", Fuzz.Score.Of("mul", Fuzz.Score.Of("add", new Score.Head(), C(1)), C(-0.5))), new Score.Distance())), 2))),
            (1, () => Note("score: function of head", ((Score?)Fuzz.Score.Of("mul", Fuzz.Score.Of("tanh", z), Fuzz.Score.Of("add", new Score.Head(), C(1))), 2))),
            (0.5, () => Note("score: constant", ((Score?)C(0.5), 1)))])();
    }
}
