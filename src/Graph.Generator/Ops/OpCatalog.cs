using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Ops;

/// <summary>From the DSL's op names to typed ops. The names and attributes are the table in docs/architecture.md.</summary>
public static class OpCatalog
{
    /// <summary>The op a trace line names; `attention` has none of its own: Import folds its score function into it.</summary>
    public static Op Create(string op, IReadOnlyList<KeyValuePair<string, object?>> attributes)
    {
        object? Get(string name)
        {
            foreach (var attribute in attributes) if (attribute.Key == name) return attribute.Value;
            throw new ShapeError(op + ": has no attribute " + name);
        }
        string Text(string name) => (string)Get(name)!;
        int Int(string name) => Convert.ToInt32(Get(name));
        double Double(string name) => Convert.ToDouble(Get(name));
        return op switch
        {
            "input" => new Input(Text("name")),
            "param" => new Param(Text("name"), TensorType.Act(attributes.Skip(1).Select(a => (Dim)Convert.ToInt32(a.Value)).ToArray())),
            "lora_a" => new Adapter(Text("name"), true, Int("dim")),
            "lora_b" => new Adapter(Text("name"), false, Int("dim")),
            "lora_scale" => new RunScalar(StepScalar.LoraScale),
            "const" => new Const(Double("value")),
            "typed_const" => new TypedConst(Double("value")),
            "add" => new Binary(BinaryKind.Add),
            "sub" => new Binary(BinaryKind.Sub),
            "mul" => new Binary(BinaryKind.Mul),
            "div" => new Binary(BinaryKind.Div),
            "neg" => new Unary(UnaryKind.Neg),
            "tanh" => new Unary(UnaryKind.Tanh),
            "exp" => new Unary(UnaryKind.Exp),
            "rsqrt" => new Unary(UnaryKind.Rsqrt),
            "sqrt" => new Unary(UnaryKind.Sqrt),
            "log" => new Unary(UnaryKind.Log),
            "sigmoid" => new Unary(UnaryKind.Sigmoid),
            "relu" => new Unary(UnaryKind.Relu),
            "silu" => new Silu(),
            "gelu" => new Gelu(),
            "gelu_tanh" => new GeluTanh(),
            "row_mean" => new RowMean(),
            "rms_norm" => new RmsNorm(Double("eps")),
            "layer_norm" => new LayerNorm(Double("eps")),
            "positions" => new Input("positions"),
            "embedding" => new Embedding(),
            "linear" => new MatMul(GemmLayout.Nt),
            "split_heads" => new Heads(Int("heads")),
            "merge_heads" => new Heads(0),
            "rope" => new Rope(Double("theta"), (string?)Get("layers")),
            "score_input" => new ScoreArgument("input"),
            "score_distance" => new ScoreArgument("distance"),
            "score_head" => new ScoreArgument("head"),
            _ => throw new ShapeError(op + ": is not an op of this compiler"),
        };
    }

    /// <summary>Attributes that no shape depends on, or that would be taken for something else.</summary>
    /// <exception cref="ShapeError">A value is out of range; the message has it.</exception>
    public static void CheckAttributes(string op, IReadOnlyList<KeyValuePair<string, object?>> attributes)
    {
        if (op == "param" && attributes.Count == 1) throw new ShapeError("param: '" + attributes[0].Value + "' has no dimensions; give its shape in the checkpoint");
        var dims = op == "param" ? attributes.Select(a => a.Value).OfType<int>().ToArray() : Array.Empty<int>();
        if (dims.All(d => d > 0) && dims.Aggregate(1.0, (count, d) => count * d) > int.MaxValue)
            throw new ShapeError("param: '" + attributes[0].Value + "' is [" + string.Join(",", dims.Select(NumberText.Int)) + "]; a weight has at most 2,147,483,647 elements");
        foreach (var attribute in attributes)
        {
            var bad = attribute.Value switch
            {
                int i => i < 1 ? "must be at least 1" : null,
                double d when double.IsNaN(d) || double.IsInfinity(d) => "must be a number",
                double d => attribute.Key is "theta" or "eps" && d <= 0 ? "must be positive" : null,
                string s => s.Length == 0 ? "must not be empty" : s.Any(c => c <= ' ' || ",:[]{}=".IndexOf(c) >= 0) ? "must have no spaces and none of , : [ ] { } =" : null,
                null => attribute.Key is "window" or "layers" ? null : "must not be null",
                _ => null,
            };
            if (bad is not null)
                throw new ShapeError(op + ": " + attribute.Key + " is "
                    + (attribute.Value is { } v ? Convert.ToString(v, System.Globalization.CultureInfo.InvariantCulture) : "null") + "; it " + bad);
        }
    }

    /// <summary>The type of one traced op.</summary>
    /// <exception cref="ShapeError">The inputs do not fit; the message is a sentence with their types.</exception>
    public static TensorType Infer(string op, IReadOnlyList<TensorType> inputs, IReadOnlyList<KeyValuePair<string, object?>> attributes)
    {
        if (op != "attention") return WithWholeChunks(op, Create(op, attributes).Infer(inputs));
        if (inputs.Count != 4 || !inputs[3].IsScalar)
            throw new ShapeError("attention: the score function must return one number per score, but returns " + inputs[inputs.Count - 1]);
        var o = new Attention(new ScoreFunction(Expr.Var("s"), 0)).Infer(inputs.Take(3).ToArray());
        return Attention.HeadDimError(o.Shape[2].Size) is { } error ? throw new ShapeError(error) : o;
    }

    /// <summary>Kernels read 8 neighbouring columns at a time, and rows of [T,N,D] begin every D columns.</summary>
    static TensorType WithWholeChunks(string op, TensorType type) =>
        !type.IsPerToken || type.DType == DType.I32 || type.Shape.Last.IsRank || type.Shape.Last.Size % 8 == 0 || type.IsRowScalar && type.DType == DType.F32 ? type
            : throw new ShapeError(op + ": the result is " + type + "; kernels read 8 columns at a time, so the last dimension must be a multiple of 8");
}
