using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;
using TorchSharp;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>One operand: its type, its values, and whether its gradient is compared.</summary>
sealed record Operand(TensorType Type, double[] Values, bool Differentiable = true);

/// <summary>An op on fixed operands, and the same computation in torch.</summary>
sealed record OpCase(string Name, Op Op, IReadOnlyList<Operand> Operands, Func<Tensor[], Tensor> Torch);

/// <summary>Every op of the compiler beside its torch formula, on 11 tokens in documents of 4, 1 and 6, with odd widths.</summary>
static class OpCases
{
    public static readonly int[] Documents = { 4, 1, 6 };
    public static readonly ReferenceSizes Sizes = new(11, 3, Documents.SelectMany(n => Enumerable.Range(0, n)).ToArray(),
        new[] { 0, 0, 0, 0, 4, 5, 5, 5, 5, 5, 5 }, LoraScale: 1.5);
    static Tensor DocStart => TorchGemma2.DocStart(Documents);

    // Before All, whose creation draws from it: static fields initialise in the order they are written.
    static readonly Random Random = new(1);
    static readonly TensorType Row = TensorType.Act(Dim.T, 7), Vector = TensorType.Act(7), Statistic = TensorType.F32(Dim.T, 1),
        Scalar = TensorType.Scalar, Index = TensorType.I32(Dim.T);
    static readonly TensorType Heads3 = TensorType.Act(Dim.T, 3, 5), HeadStatistic = TensorType.F32(Dim.T, 3, 1), HeadVectors = TensorType.Act(3, 5),
        HeadScalars = TensorType.Act(3, 1), HeadVector = TensorType.Act(5);
    static readonly TensorType Queries = TensorType.Act(Dim.T, 4, 6), Keys = TensorType.Act(Dim.T, 2, 6);

    static readonly AdapterSet Adapters = new(0, 7, 5, new[] { new StackedAdapter("q", 3, 0), new StackedAdapter("k", 2, 3) });

    public static IReadOnlyList<OpCase> All { get; } = Create().ToArray();

    static IEnumerable<OpCase> Create()
    {
        foreach (var (kind, f) in new (UnaryKind, Func<Tensor, Tensor>)[] { (UnaryKind.Neg, x => -x), (UnaryKind.Tanh, tanh), (UnaryKind.Exp, exp), (UnaryKind.Rsqrt, rsqrt),
                     (UnaryKind.Sqrt, sqrt), (UnaryKind.Log, log),
                     (UnaryKind.Sigmoid, sigmoid), (UnaryKind.Relu, x => nn.functional.relu(x)), (UnaryKind.Step, x => x.gt(0).to(ScalarType.Float64)), (UnaryKind.Erf, erf) })
            yield return new(kind.ToString(), new Unary(kind),
                new[] { kind is UnaryKind.Rsqrt or UnaryKind.Sqrt or UnaryKind.Log ? Positive(Row) : Normal(Row, 2) with { Differentiable = kind != UnaryKind.Step } },
                x => f(x[0]));

        foreach (var (kind, f) in new (BinaryKind, Func<Tensor, Tensor, Tensor>)[] { (BinaryKind.Add, (a, b) => a + b), (BinaryKind.Sub, (a, b) => a - b),
                     (BinaryKind.Mul, (a, b) => a * b), (BinaryKind.Div, (a, b) => a / b) })
        {
            yield return new(kind + "_Rows", new Binary(kind), new[] { Normal(Row), Positive(Row) }, x => f(x[0], x[1]));
            yield return new(kind + "_RowByStatistic", new Binary(kind), new[] { Normal(Row), Positive(Statistic) }, x => f(x[0], x[1]));
            yield return new(kind + "_StatisticByRow", new Binary(kind), new[] { Normal(Statistic), Positive(Row) }, x => f(x[0], x[1]));
            yield return new(kind + "_RowByVector", new Binary(kind), new[] { Normal(Row), Positive(Vector) with { Differentiable = false } }, x => f(x[0], x[1]));
            yield return new(kind + "_ScalarByRow", new Binary(kind), new[] { Normal(Scalar) with { Differentiable = false }, Positive(Row) }, x => f(x[0], x[1]));
            yield return new(kind + "_Heads", new Binary(kind), new[] { Normal(Heads3), Positive(Heads3) }, x => f(x[0], x[1]));
            yield return new(kind + "_HeadsByHeadStatistic", new Binary(kind), new[] { Normal(Heads3), Positive(HeadStatistic) }, x => f(x[0], x[1]));
            yield return new(kind + "_HeadStatisticByHeads", new Binary(kind), new[] { Normal(HeadStatistic), Positive(Heads3) }, x => f(x[0], x[1]));
            yield return new(kind + "_HeadsByStatistic", new Binary(kind), new[] { Normal(Heads3), Positive(Statistic) }, x => f(x[0], x[1].unsqueeze(2)));
            yield return new(kind + "_StatisticByHeads", new Binary(kind), new[] { Normal(Statistic), Positive(Heads3) }, x => f(x[0].unsqueeze(2), x[1]));
            foreach (var (name, type) in new[] { ("Vector", HeadVector), ("HeadVectors", HeadVectors), ("HeadScalars", HeadScalars) })
                yield return new(kind + "_HeadsBy" + name, new Binary(kind), new[] { Normal(Heads3), Positive(type) with { Differentiable = false } }, x => f(x[0], x[1]));
            yield return new(kind + "_HeadStatisticByHeadScalars", new Binary(kind), new[] { Normal(HeadStatistic), Positive(HeadScalars) with { Differentiable = false } },
                x => f(x[0], x[1]));
            yield return new(kind + "_VectorByHeadVectors", new Binary(kind),
                new[] { Normal(HeadVector) with { Differentiable = false }, Positive(HeadVectors) with { Differentiable = false } }, x => f(x[0], x[1]));
            yield return new(kind + "_RanksByScalar", new Binary(kind), new[] { Normal(TensorType.Act(Dim.T, Dim.Rank("q"))), Positive(Scalar) with { Differentiable = false } },
                x => f(x[0], x[1]));
        }

        yield return new("Const", new Const(1.25), Array.Empty<Operand>(), _ => tensor(1.25));
        yield return new("TypedConst", new TypedConst(59.866), Array.Empty<Operand>(), _ => tensor(59.866));
        yield return new("GeluTanh", new GeluTanh(), new[] { Normal(Row, 2) }, x => nn.functional.gelu(x[0], TorchSharp.Modules.GELU.Approximate.tanh));
        yield return new("Gelu", new Gelu(), new[] { Normal(Row, 2) }, x => nn.functional.gelu(x[0]));
        yield return new("Silu", new Silu(), new[] { Normal(Row, 2) }, x => nn.functional.silu(x[0]));
        yield return new("Silu_Steep", new Silu(), new[] { Normal(Row, 800) }, x => nn.functional.silu(x[0]));
        yield return new("Silu_Heads", new Silu(), new[] { Normal(Heads3, 2) }, x => nn.functional.silu(x[0]));
        yield return new("Spread", new Spread(Row), new[] { Normal(Statistic) }, x => x[0].expand(11, 7));
        yield return new("Spread_Heads", new Spread(Heads3), new[] { Normal(HeadStatistic) }, x => x[0].expand(11, 3, 5));
        foreach (var (name, type) in new[] { ("", Row), ("_Heads", Heads3) })
        {
            yield return new("RowSum" + name, new RowSum(), new[] { Normal(type) }, x => x[0].sum(-1, keepdim: true));
            yield return new("RowMean" + name, new RowMean(), new[] { Normal(type) }, x => x[0].mean(new long[] { -1 }, keepdim: true));
        }
        yield return new("RmsNorm", new RmsNorm(1e-3), new[] { Normal(Row), Normal(Vector) with { Differentiable = false } },
            x => x[0] / (x[0].square().mean(new long[] { 1 }, keepdim: true) + 1e-3).sqrt() * (1 + x[1]));

        yield return new("RmsNorm_Heads", new RmsNorm(1e-3), new[] { Normal(Heads3), Normal(HeadVector) with { Differentiable = false } },
            x => x[0] / (x[0].square().mean(new long[] { 2 }, keepdim: true) + 1e-3).sqrt() * (1 + x[1]));
        foreach (var (name, type, vector) in new[] { ("", Row, Vector), ("_Heads", Heads3, HeadVector) })
        {
            var weight = Normal(vector) with { Differentiable = false };
            yield return new("LayerNorm" + name, new LayerNorm(1e-3), new[] { Normal(type), weight },
                x => nn.functional.layer_norm(x[0], new[] { x[0].shape[^1] }, x[1], null, 1e-3));
            yield return new("LayerNorm_Bias" + name, new LayerNorm(1e-3), new[] { Normal(type), weight, Normal(vector) with { Differentiable = false } },
                x => nn.functional.layer_norm(x[0], new[] { x[0].shape[^1] }, x[1], x[2], 1e-3));
        }

        yield return new("Embedding", new Embedding(), new[] { Integers(Index, 5), Normal(TensorType.Act(5, 7)) with { Differentiable = false } }, x => x[1].index_select(0, x[0]));
        yield return new("Linear", new MatMul(GemmLayout.Nt), new[] { Normal(Row), Normal(TensorType.Act(5, 7)) }, x => nn.functional.linear(x[0], x[1]));
        yield return new("Linear_ByAdapterA", new MatMul(GemmLayout.Nt), new[] { Normal(Row), Normal(TensorType.F32(Dim.Rank("q"), 7)) }, x => nn.functional.linear(x[0], x[1]));
        yield return new("Linear_ByAdapterB", new MatMul(GemmLayout.Nt), new[] { Normal(TensorType.Act(Dim.T, Dim.Rank("q"))), Normal(TensorType.F32(5, Dim.Rank("q"))) },
            x => nn.functional.linear(x[0], x[1]));
        yield return new("SplitHeads", new Heads(4), new[] { Normal(TensorType.Act(Dim.T, 24)) }, x => x[0].view(11, 4, 6));
        yield return new("MergeHeads", new Heads(0), new[] { Normal(Queries) }, x => x[0].reshape(11, 24));
        yield return new("Columns", new Columns(2, 3), new[] { Normal(Row) with { Differentiable = false } }, x => x[0].narrow(1, 2, 3));
        yield return new("Concat", new Concat(), new[] { Fixed(Row), Fixed(TensorType.Act(Dim.T, 2)), Fixed(Row) }, x => cat(x, 1));
        yield return new("Copy", new Copy(0), new[] { Fixed(Row) }, x => x[0].clone());
        yield return new("AdapterGradient", new AdapterGradient(new AdapterStack(Adapters, true)), new[] { Fixed(TensorType.F32(Dim.Ranks(0, 2), 7)) }, x => x[0].clone());

        // y = s·Σ a·b over the segments: outputs with and without adapters, the gradients of x and of S, and those of the adapters.
        var (s, b, dy) = (TensorType.Act(Dim.T, Dim.Ranks(0, 2)), TensorType.F32(5, Dim.Ranks(0, 2)), TensorType.Act(Dim.T, 5));
        yield return new("Product_Nt", new Product(GemmLayout.Nt, ScaleFactor.One), new[] { Fixed(Row), Fixed(TensorType.Act(5, 7)) }, x => nn.functional.linear(x[0], x[1]));
        yield return new("Product_Nt_TwoSegments", new Product(GemmLayout.Nt, ScaleFactor.One), new[] { Fixed(Row), Fixed(TensorType.Act(5, 7)), Fixed(s), Fixed(b) },
            x => nn.functional.linear(cat(new[] { x[0], x[2] }, 1), cat(new[] { x[1], x[3] }, 1)));
        yield return new("Product_Nt_Scaled", new Product(GemmLayout.Nt, new ScaleFactor(0.5, 2)), new[] { Fixed(Row), Fixed(TensorType.F32(Dim.Ranks(0, 2), 7)) },
            x => nn.functional.linear(x[0], x[1]) * 0.5 * 1.5 * 1.5);
        yield return new("Product_Nn_TwoSegments", new Product(GemmLayout.Nn, new ScaleFactor(-2)),
            new[] { Fixed(dy), Fixed(TensorType.Act(5, 7)), Fixed(s), Fixed(TensorType.F32(Dim.Ranks(0, 2), 7)) },
            x => (x[0].matmul(x[1]) + x[2].matmul(x[3])) * -2);
        yield return new("Product_Nn_Scaled", new Product(GemmLayout.Nn, new ScaleFactor(1, 1)), new[] { Fixed(dy), Fixed(b) }, x => x[0].matmul(x[1]) * 1.5);
        yield return new("Product_Tn", new Product(GemmLayout.Tn, ScaleFactor.One), new[] { Fixed(dy), Fixed(s) }, x => x[0].t().matmul(x[1]));

        yield return new("Rope", new Rope(100, null), new[] { Normal(Queries) }, x => Rotate(x[0], 100));

        foreach (var (name, scale, cap, window, by) in new (string, double, double?, int, By)[]
        {
            ("", 0.4, null, 0, By.Score), ("_Window", 0.4, null, 3, By.Score), ("_Softcap", 2, 2, 0, By.Score), ("_SoftcapAndWindow", 2, 2, 3, By.Score),
            ("_Alibi", 0.4, null, 0, By.HeadAndDistance), ("_SoftcapOfDistanceAndWindow", 2, 2, 3, By.Distance),
        })
        {
            var score = Score(scale, cap, window, by);
            yield return new("Attention" + name, new Attention(score), new[] { Normal(Queries), Normal(Keys), Normal(Keys) }, x => Attend(x, scale, cap, window, by).Output);
            yield return new("AttentionLse" + name, new AttentionLse(score),
                new[] { Normal(Queries) with { Differentiable = false }, Normal(Keys) with { Differentiable = false }, Normal(Keys) with { Differentiable = false } },
                x => Attend(x, scale, cap, window, by).Log2Sum);
        }

        yield return new("CrossEntropy", new CrossEntropy(), new[] { Normal(TensorType.Act(Dim.T, 5), 3) with { Differentiable = false }, Labels() }, x => Rows(x[0], x[1]));
        yield return new("LinearCrossEntropy", new LinearCrossEntropy(Expr.Var("s")), new[] { Normal(Row), Normal(TensorType.Act(5, 7)) with { Differentiable = false }, Labels() },
            x => Rows(x[0].matmul(x[1].t()), x[2]));
        yield return new("LinearCrossEntropy_Softcap", new LinearCrossEntropy(new Expr.Number(3) * Expr.Apply(UnaryKind.Tanh, Expr.Var("s") / new Expr.Number(3))),
            new[] { Normal(Row), Normal(TensorType.Act(5, 7)) with { Differentiable = false }, Labels() }, x => Rows((x[0].matmul(x[1].t()) / 3).tanh() * 3, x[2]));
    }

    /// <summary>What a score depends on: ALiBi subtracts distance by a slope per head, the other divides by √(1 + distance), so that the slope depends on the distance.</summary>
    enum By { Score, HeadAndDistance, Distance }

    static ScoreFunction Score(double scale, double? cap, int window, By by)
    {
        var (z, distance) = (new Expr.Number(scale) * Expr.Var("s"), Expr.Var("distance"));
        if (by == By.HeadAndDistance) z -= Expr.Apply(UnaryKind.Exp, new Expr.Number(-0.7) * (Expr.Var("head") + Expr.One)) * distance;
        if (by == By.Distance) z *= Expr.Apply(UnaryKind.Rsqrt, Expr.One + distance);
        return new ScoreFunction(cap is { } c ? new Expr.Number(c) * Expr.Apply(UnaryKind.Tanh, z / new Expr.Number(c)) : z, window);
    }

    // Grouped heads by einsum over [T, K, N/K, D], where TorchGemma2 repeats keys: two ways to say the same.
    static (Tensor Output, Tensor Log2Sum) Attend(Tensor[] x, double scale, double? cap, int window, By by)
    {
        var s = einsum("qkgd,tkd->kgqt", x[0].view(11, 2, 2, 6), x[1]) * scale;
        var (q, k) = (arange(11).unsqueeze(1), arange(11).unsqueeze(0));
        // What a masked pair would see is of no account, but it must be a number.
        var distance = (q - k).clamp_min(0).to(ScalarType.Float64);
        if (by == By.HeadAndDistance) s -= (arange(1, 5, dtype: ScalarType.Float64).view(2, 2, 1, 1) * -0.7).exp() * distance;
        if (by == By.Distance) s /= (distance + 1).sqrt();
        if (cap is { } c) s = (s / c).tanh() * c;
        var visible = k.le(q).logical_and(k.ge(DocStart.unsqueeze(1)));
        if (window > 0) visible = visible.logical_and((q - k).lt(window));
        s = s.masked_fill(visible.logical_not(), double.NegativeInfinity);
        return (einsum("kgqt,tkd->qkgd", s.softmax(-1), x[2]).reshape(11, 4, 6), s.logsumexp(-1).permute(2, 0, 1).reshape(11, 4) / Math.Log(2));
    }

    // A rotation by complex multiplication, where the op writes sines and cosines.
    static Tensor Rotate(Tensor x, double theta)
    {
        var positions = tensor(Sizes.Positions.Select(p => (double)p).ToArray());
        var angle = positions.view(11, 1, 1) / pow(tensor(theta), arange(3, ScalarType.Float64) * 2 / 6.0);
        var z = complex(x.narrow(2, 0, 3), x.narrow(2, 3, 3)) * polar(ones_like(angle), angle);
        return cat(new[] { z.real, z.imag }, 2);
    }

    static Tensor Rows(Tensor logits, Tensor labels) => nn.functional.cross_entropy(logits, labels, ignore_index: -100, reduction: nn.Reduction.None).unsqueeze(1);

    static Operand Normal(TensorType type, double deviation = 1) =>
        new(type, Enumerable.Range(0, Sizes.Count(type))
            .Select(_ => deviation * Math.Sqrt(-2 * Math.Log(1 - Random.NextDouble())) * Math.Cos(2 * Math.PI * Random.NextDouble())).ToArray());

    // Of ops that only a backward or what follows it has.
    static Operand Fixed(TensorType type) => Normal(type) with { Differentiable = false };

    static Operand Positive(TensorType type) => new(type, Enumerable.Range(0, Sizes.Count(type)).Select(_ => 0.5 + Random.NextDouble()).ToArray());
    static Operand Integers(TensorType type, int below) => new(type, Enumerable.Range(0, Sizes.Count(type)).Select(_ => (double)Random.Next(below)).ToArray(), false);
    static Operand Labels() => new(Index, new double[] { 0, 4, -100, 2, 1, -100, 3, 3, 0, 2, -100 }, false);
}
