using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using TorchSharp;
using static Graph.Fuzz.ValueKind;
using Dsl = Graph.Dsl;
using Tensor = TorchSharp.torch.Tensor;

namespace Graph.Fuzz;

/// <summary>One op of the DSL, for the fuzzer: its shape, its call, its call as text, and the same in torch.</summary>
/// <param name="Name">The op's name in a trace.</param>
/// <param name="Infer">Type of the result; null: the inputs do not fit.</param>
/// <param name="Record">Calls the DSL.</param>
/// <param name="Text">The call as C#, of the inputs as C#.</param>
/// <param name="Torch">The op's definition; null for leaves and attention, which <see cref="TorchReference"/> has.</param>
/// <param name="IsSmooth">A function of one tensor that any value may be given to: the generator draws it.</param>
public sealed record OpRow(string Name, Func<Step, ValueType[], ValueType?> Infer, Func<Step, Dsl.Tensor[], Dsl.Tensor> Record, Func<Step, string[], string> Text,
    Func<Tensor[], Attributes, Tensor>? Torch = null, bool IsSmooth = false);

/// <summary>Attributes of a trace's line.</summary>
public sealed record Attributes(IReadOnlyList<KeyValuePair<string, object?>> List)
{
    public object? this[string name] => List.First(a => a.Key == name).Value;
    public double Double(string name) => Convert.ToDouble(this[name], CultureInfo.InvariantCulture);
    public int Int(string name) => Convert.ToInt32(this[name], CultureInfo.InvariantCulture);
}

/// <summary>All ops of the DSL. A new op is a row; a new function of one tensor a line.</summary>
public static class OpTable
{
    static readonly OpRow[] Rows =
    [
        new("input", (_, _) => ValueType.Ids, (_, _) => throw new InvalidOperationException("the ids are given"), (_, _) => "ids"),
        new("param", (s, _) => s.Dims!.Length switch { 1 => ValueType.Vector(s.Dims[0]), 2 => ValueType.Matrix(s.Dims[0], s.Dims[1]), _ => null },
            (s, _) => Dsl.Ops.Param(s.Name, s.Dims!), (s, _) => $"Param(\"{s.Name}\", {string.Join(", ", s.Dims!.Select(N))})"),
        new("lora_a", (s, _) => new ValueType(LoraA, s.Dims![0], Name: s.Name), (s, _) => Dsl.Ops.LoraA(s.Name, s.Dims![0]), (s, _) => $"LoraA(\"{s.Name}\", {N(s.Dims![0])})"),
        new("lora_b", (s, _) => new ValueType(LoraB, s.Dims![0], Name: s.Name), (s, _) => Dsl.Ops.LoraB(s.Name, s.Dims![0]), (s, _) => $"LoraB(\"{s.Name}\", {N(s.Dims![0])})"),
        new("lora_scale", (_, _) => ValueType.Scalar, (s, _) => Dsl.Ops.LoraScale(s.Name), (s, _) => $"LoraScale(\"{s.Name}\")"),
        new("const", (_, _) => ValueType.Scalar, (s, _) => s.Number, (s, _) => Number(s.Number)),
        new("typed_const", (_, _) => ValueType.Scalar, (s, _) => Dsl.Ops.TypedConst(s.Number), (s, _) => $"TypedConst({Number(s.Number)})"),

        Binary("add", "+", (a, b) => a + b, (a, b) => a + b),
        Binary("sub", "-", (a, b) => a - b, (a, b) => a - b),
        Binary("mul", "*", (a, b) => a * b, (a, b) => a * b),
        Binary("div", "/", (a, b) => a / b, (a, b) => a / b),
        Unary("neg", "-", x => -x, x => -x),
        Unary("tanh", "Tanh", Dsl.Ops.Tanh, x => x.tanh()),
        Unary("exp", "Exp", Dsl.Ops.Exp, x => x.exp(), isSmooth: false),
        Unary("rsqrt", "Rsqrt", Dsl.Ops.Rsqrt, x => x.rsqrt(), isSmooth: false),
        Unary("sqrt", "Sqrt", Dsl.Ops.Sqrt, x => x.sqrt(), isSmooth: false),
        Unary("log", "Log", Dsl.Ops.Log, x => x.log(), isSmooth: false),
        Unary("sigmoid", "Sigmoid", Dsl.Ops.Sigmoid, x => x.sigmoid()),
        Unary("relu", "Relu", Dsl.Ops.Relu, x => x.relu()),
        Unary("silu", "Silu", Dsl.Ops.Silu, x => x * x.sigmoid()),
        Unary("gelu", "Gelu", Dsl.Ops.Gelu, x => 0.5 * x * (1 + (x / Math.Sqrt(2)).erf())),
        Unary("gelu_tanh", "GeluTanh", Dsl.Ops.GeluTanh, x => 0.5 * x * (1 + (Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)).tanh())),

        new("row_mean", (_, t) => t[0].IsStatistic ? null : t[0].Kind switch { ValueKind.Rows => ValueType.Rows(1), Heads => ValueType.Heads(t[0].A, 1), _ => null },
            (_, x) => Dsl.Ops.RowMean(x[0]), (_, x) => $"RowMean({x[0]})", (x, _) => x[0].mean([-1], keepdim: true)),
        new("rms_norm", (_, t) => Normed(t), (s, x) => Dsl.Ops.RmsNorm(x[0], x[1], s.Number), (s, x) => $"RmsNorm({x[0]}, {x[1]}, {Number(s.Number)})",
            (x, a) => x[0] * ((x[0] * x[0]).mean([-1], keepdim: true) + a.Double("eps")).rsqrt() * (1 + x[1])),
        new("layer_norm", (_, t) => Normed(t), (s, x) => x.Length == 2 ? Dsl.Ops.LayerNorm(x[0], x[1], s.Number) : Dsl.Ops.LayerNorm(x[0], x[1], x[2], s.Number),
            (s, x) => $"LayerNorm({string.Join(", ", x)}, {Number(s.Number)})", (x, a) =>
            {
                var centred = x[0] - x[0].mean([-1], keepdim: true);
                var y = centred * ((centred * centred).mean([-1], keepdim: true) + a.Double("eps")).rsqrt() * x[1];
                return x.Length == 2 ? y : y + x[2];
            }),
        new("positions", (_, _) => ValueType.Ids, (_, _) => Dsl.Ops.Positions(), (_, _) => "Positions()"),
        new("embedding", (_, t) => t[0].Kind == Ids && t[1].Kind == Matrix ? ValueType.Rows(t[1].B).WithWholeChunks() : null,
            (_, x) => Dsl.Ops.Embedding(x[0], x[1]), (_, x) => $"Embedding({x[0]}, {x[1]})", (x, _) => x[1].index_select(0, x[0])),
        new("linear", (_, t) => Linear(t[0], t[1])?.WithWholeChunks(), (_, x) => Dsl.Ops.Linear(x[0], x[1]), (_, x) => $"Linear({x[0]}, {x[1]})", (x, _) => x[0].matmul(x[1].t())),
        new("split_heads", (s, t) => t[0].Kind == ValueKind.Rows && t[0].A % s.Count!.Value == 0 ? ValueType.Heads(s.Count.Value, t[0].A / s.Count.Value).WithWholeChunks() : null,
            (s, x) => Dsl.Ops.SplitHeads(x[0], s.Count!.Value), (s, x) => $"SplitHeads({x[0]}, {N(s.Count!.Value)})", (x, a) => x[0].view(x[0].shape[0], a.Int("heads"), -1)),
        new("merge_heads", (_, t) => t[0].Kind == Heads ? ValueType.Rows(t[0].A * t[0].B).WithWholeChunks() : null,
            (_, x) => Dsl.Ops.MergeHeads(x[0]), (_, x) => $"MergeHeads({x[0]})",
            (x, _) => x[0].reshape(x[0].shape[0], -1)),
        new("rope", (_, t) => t[0].Kind == Heads && t[0].B % 2 == 0 ? t[0] : null, (s, x) => Dsl.Ops.Rope(x[0], s.Number), (s, x) => $"Rope({x[0]}, {Number(s.Number)})"),
        new("attention", (_, t) => t[0].Kind == Heads && t[1].Kind == Heads && t[1] == t[2] && t[0].B == t[1].B
            && t[0].A % t[1].A == 0 && t[0].B is >= 16 and <= 256 && t[0].B % (t[0].B <= 96 ? 16 : 32) == 0 ? t[0] : null,
            (s, x) => s.Score switch
            {
                null => Dsl.Ops.Attention(x[0], x[1], x[2], s.Number, window: s.Count),
                { ReadsPosition: true } score => Dsl.Ops.Attention(x[0], x[1], x[2], s.Number, (z, at) => Run(score, z, at), s.Count),
                { } score => Dsl.Ops.Attention(x[0], x[1], x[2], s.Number, z => Run(score, z, null), s.Count),
            },
            (s, x) => $"Attention({x[0]}, {x[1]}, {x[2]}, {Number(s.Number)}"
                + $"{(s.Score is { } score ? (score.ReadsPosition ? ", (z, at) => " : ", z => ") + Print(score, 0) : "")}"
                + $"{(s.Count is { } window ? ", window: " + N(window) : "")})"),
    ];

    static readonly Dictionary<string, OpRow> ByName = Rows.ToDictionary(r => r.Name);

    public static IReadOnlyList<string> Names { get; } = [.. Rows.Select(r => r.Name)];

    public static IReadOnlyList<string> Smooth { get; } = [.. Rows.Where(r => r.IsSmooth).Select(r => r.Name)];

    public static OpRow Find(string op) => ByName.TryGetValue(op, out var row) ? row : throw new ArgumentException($"fuzz: OpTable has no row for the op {op}; add one.");

    static OpRow Unary(string name, string function, Func<Dsl.Tensor, Dsl.Tensor> record, Func<Tensor, Tensor> torch, bool isSmooth = true) =>
        new(name, (_, t) => ValueType.Broadcast(t[0], t[0]), (_, x) => record(x[0]), (_, x) => function == "-" ? "-" + x[0] : $"{function}({x[0]})",
            (x, _) => torch(x[0]), isSmooth);

    static OpRow Binary(string name, string sign, Func<Dsl.Tensor, Dsl.Tensor, Dsl.Tensor> record, Func<Tensor, Tensor, Tensor> torch) =>
        new(name, (_, t) => ValueType.Broadcast(t[0], t[1]), (_, x) => record(x[0], x[1]), (_, x) => $"{x[0]} {sign} {x[1]}", (x, _) => torch(x[0], x[1]));

    static ValueType? Linear(ValueType x, ValueType w) => (x.Kind, w.Kind) switch
    {
        (ValueKind.Rows, Matrix) when x.A == w.B => ValueType.Rows(w.A),
        (ValueKind.Rows, LoraA) when x.A == w.A => ValueType.Rank(w.Name),
        (Rank, LoraB) when x.Name == w.Name => ValueType.Rows(w.A),
        _ => null,
    };

    static ValueType? Normed(ValueType[] t) =>
        !t[0].IsStatistic && t[0].Kind is ValueKind.Rows or Heads && t.Skip(1).All(w => w == ValueType.Vector(t[0].Kind == Heads ? t[0].B : t[0].A)) ? t[0] : null;

    static Dsl.Tensor Run(Score score, Dsl.Tensor z, Dsl.ScorePosition? at) => score switch
    {
        Score.Argument => z,
        Score.Distance => at!.Distance,
        Score.Head => at!.Head,
        Score.Constant c => c.Value,
        Score.Call call => Find(call.Op).Record(new Step(call.Op, []), [.. call.Inputs.Select(i => Run(i, z, at))]),
        _ => throw new InvalidOperationException($"fuzz: a score of type {score.GetType().Name}"),
    };

    static string Print(Score score, int depth) => score switch
    {
        Score.Argument => "z",
        Score.Distance => "at.Distance",
        Score.Head => "at.Head",
        Score.Constant c => Number(c.Value),
        Score.Call call when call.Op is "add" or "sub" or "mul" or "div" && depth > 0 => "(" + Print(call, 0) + ")",
        Score.Call call => Find(call.Op).Text(new Step(call.Op, []), [.. call.Inputs.Select(i => Print(i, 1))]),
        _ => throw new InvalidOperationException($"fuzz: a score of type {score.GetType().Name}"),
    };

    public static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture) is var text && text.AsSpan().IndexOfAny(".EN") < 0 ? text + ".0" : text;

    static string N(int value) => value.ToString(CultureInfo.InvariantCulture);
}
