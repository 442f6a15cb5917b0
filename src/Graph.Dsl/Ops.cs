using System;
using System.Linq;
using System.Runtime.CompilerServices;

namespace Graph.Dsl;

/// <summary>
/// The ops a model is made of.
/// T is the number of tokens of a micro-batch and R the rank of an adapter, both chosen at run time; every other size is a number. "act" is the run's activation type
/// (bf16 or fp16 on CUDA, fp32 on the CPU). Shapes and dtypes are checked while the generator traces: GRAPH003 on the line of the call, with the values.
/// </summary>
public static class Ops
{
    /// <summary>A frozen checkpoint tensor. → act[dims]. Errors: a dimension below 1; the same name with other dimensions.</summary>
    /// <param name="name">The tensor's name in the checkpoint, for example "model.norm.weight".</param>
    /// <param name="dims">Its shape, [out, in] for a linear.</param>
    [Op("param")] public static Tensor Param(string name, params int[] dims) =>
        Recorder.Add("param", [], [("name", name), .. dims.Select((d, i) => ("dim" + i, (object?)d))]);

    /// <summary>A of the adapter of one linear, kaiming-uniform(√5) at first. → f32[R, dim], trainable.</summary>
    /// <param name="name">The linear's name in the checkpoint, without ".weight".</param>
    /// <param name="dim">The linear's input features.</param>
    [Op("lora_a")] public static Tensor LoraA(string name, int dim) => Recorder.Add("lora_a", [], ("name", name), ("dim", dim));

    /// <summary>B of the adapter of one linear, zero at first. → f32[dim, R], trainable.</summary>
    /// <param name="name">The linear's name in the checkpoint, without ".weight".</param>
    /// <param name="dim">The linear's output features.</param>
    [Op("lora_b")] public static Tensor LoraB(string name, int dim) => Recorder.Add("lora_b", [], ("name", name), ("dim", dim));

    /// <summary>α / r (or α / √r) of a linear's adapter, chosen at run time. → f32 scalar.</summary>
    /// <param name="name">The linear's name in the checkpoint, without ".weight".</param>
    [Op("lora_scale")] public static Tensor LoraScale(string name) => Recorder.Add("lora_scale", [], ("name", name));

    /// <summary>
    /// A number rounded to the activation type, for what a reference implementation keeps in that type: transformers multiplies the embedding by bf16(√H). → scalar.
    /// </summary>
    [Op("typed_const")] public static Tensor TypedConst(double value) => Recorder.Add("typed_const", [], ("value", value));

    /// <summary>tanh(x), fp32. → as x.</summary>
    [Op("tanh")] public static Tensor Tanh(Tensor x) => Recorder.Add("tanh", [x]);

    /// <summary>eˣ, fp32. → as x.</summary>
    [Op("exp")] public static Tensor Exp(Tensor x) => Recorder.Add("exp", [x]);

    /// <summary>1/√x, fp32. → as x.</summary>
    [Op("rsqrt")] public static Tensor Rsqrt(Tensor x) => Recorder.Add("rsqrt", [x]);

    /// <summary>√x, fp32. → as x.</summary>
    [Op("sqrt")] public static Tensor Sqrt(Tensor x) => Recorder.Add("sqrt", [x]);

    /// <summary>The natural logarithm, fp32. → as x.</summary>
    [Op("log")] public static Tensor Log(Tensor x) => Recorder.Add("log", [x]);

    /// <summary>1 / (1 + e⁻ˣ), fp32; no finite x overflows, in value or derivative. → as x.</summary>
    [Op("sigmoid")] public static Tensor Sigmoid(Tensor x) => Recorder.Add("sigmoid", [x]);

    /// <summary>max(x, 0), fp32; its derivative at 0 is 0. → as x.</summary>
    [Op("relu")] public static Tensor Relu(Tensor x) => Recorder.Add("relu", [x]);

    /// <summary>x · sigmoid(x), fp32; no finite x overflows, in value or derivative. → as x. Source: torch.nn.functional.silu.</summary>
    [Op("silu")] public static Tensor Silu(Tensor x) => Recorder.Add("silu", [x]);

    /// <summary>0.5·x·(1 + erf(x/√2)), fp32. → as x. Source: transformers, "gelu"; for gelu_pytorch_tanh see <see cref="GeluTanh"/>.</summary>
    [Op("gelu")] public static Tensor Gelu(Tensor x) => Recorder.Add("gelu", [x]);

    /// <summary>0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), fp32. → as x. Source: transformers, gelu_pytorch_tanh.</summary>
    [Op("gelu_tanh")] public static Tensor GeluTanh(Tensor x) => Recorder.Add("gelu_tanh", [x]);

    /// <summary>
    /// The mean over the last dimension, fp32: x [T,H] → f32[T,1], or x [T,N,D] → f32[T,N,1], a mean per head. Errors: the dimension is an adapter's rank, or longer than
    /// 8,192; x is such a mean already.
    /// </summary>
    [Op("row_mean")] public static Tensor RowMean(Tensor x) => Recorder.Add("row_mean", [x]);

    /// <summary>
    /// x · rsqrt(mean(x²) + eps) · (1 + w) over the last dimension: x act[T,H], w act[H] → act[T,H], or x act[T,N,D], w act[D] → act[T,N,D], each head by itself. All in
    /// fp32, one rounding at the end;
    /// the checkpoint stores the weight minus one. Errors: w has not one value per column of x's last dimension; RowMean's. Source: transformers, Gemma2RMSNorm; Gemma3's
    /// q_norm and k_norm.
    /// </summary>
    [Op("rms_norm")] public static Tensor RmsNorm(Tensor x, Tensor w, double eps) => Recorder.Add("rms_norm", [x, w], ("eps", eps));

    /// <summary>
    /// (x − mean(x)) · rsqrt(mean((x − mean(x))²) + eps) · w + b over the last dimension: x act[T,H], w and b act[H] → act[T,H], or x act[T,N,D], w and b act[D] →
    /// act[T,N,D]. All in fp32, one rounding at the end.
    /// Errors: w or b has not one value per column of x's last dimension; RowMean's. Source: torch.nn.functional.layer_norm.
    /// </summary>
    [Op("layer_norm")] public static Tensor LayerNorm(Tensor x, Tensor w, Tensor b, double eps) => Recorder.Add("layer_norm", [x, w, b], ("eps", eps));

    /// <summary>LayerNorm without b.</summary>
    [Op("layer_norm")] public static Tensor LayerNorm(Tensor x, Tensor w, double eps) => Recorder.Add("layer_norm", [x, w], ("eps", eps));

    /// <summary>Each token's place in its document, from 0. → i32[T], to choose rows of a table: <c>Embedding(Positions(), table)</c>.</summary>
    [Op("positions")] public static Tensor Positions() => Recorder.Add("positions", []);

    /// <summary>
    /// table[ids]: ids i32[T], table act[V,H] → act[T,H]. A model may have several tables. Errors: before a step, an id that a table has no row for, or a document longer
    /// than a table of positions.
    /// </summary>
    [Op("embedding")] public static Tensor Embedding(Tensor ids, Tensor table) => Recorder.Add("embedding", [ids, table]);

    /// <summary>x·wᵀ: x act[T,K], w [N,K] → act[T,N]. fp32 accumulation, one rounding. Errors: the last dims differ.</summary>
    [Op("linear")] public static Tensor Linear(Tensor x, Tensor w) => Recorder.Add("linear", [x, w]);

    /// <summary>[T, N·D] → [T, N, D] with N = heads. Errors: the columns do not divide into that many heads.</summary>
    [Op("split_heads")] public static Tensor SplitHeads(Tensor x, int heads) => Recorder.Add("split_heads", [x], ("heads", heads));

    /// <summary>[T, N, D] → [T, N·D].</summary>
    [Op("merge_heads")] public static Tensor MergeHeads(Tensor x) => Recorder.Add("merge_heads", [x]);

    /// <summary>
    /// Rotary embedding: pairs (i, i + D/2) of every head turn by position / theta^(2i/D) radians, fp32; positions restart at each packed document. x act[T,N,D] → the same.
    /// Errors: D is odd; theta is not positive. Source: transformers, Gemma2RotaryEmbedding.
    /// </summary>
    /// <param name="x">Queries or keys.</param>
    /// <param name="theta">The base of the frequencies. A checkpoint whose config.json scales them (linear, dynamic, yarn, llama3) does so at run time.</param>
    /// <param name="layers">The layer's type in config.json ("full_attention"), where scaling may differ between types; null: it has one for all.</param>
    [Op("rope")] public static Tensor Rope(Tensor x, double theta, string? layers = null) => Recorder.Add("rope", [x], ("theta", theta), ("layers", layers));

    /// <summary>
    /// o = softmax over visible k of score(scale · q·kᵀ), times v: q act[T,N,D], k and v act[T,K,D] → act[T,N,D]; N is a multiple of K. Scores, softmax and sums in fp32.
    /// A key is visible when it is in the query's document, not after it, and fewer than <paramref name="window"/> tokens before it.
    /// Errors: shapes; D is not a multiple of 16 up to 96 or of 32 up to 256; a score that is not pointwise.
    /// Source: transformers, modeling_gemma2.py, eager_attention_forward.
    /// </summary>
    /// <param name="q">Queries.</param>
    /// <param name="k">Keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="scale">Multiplies the dot product before the score function sees it.</param>
    /// <param name="score">A pointwise function of one scaled dot product; its derivative is derived. null: identity. A score that is proven to stay within ±50
    /// (a softcap) takes no row maximum.</param>
    /// <param name="window">How many tokens a query sees, itself included; null: all of its document before it.</param>
    [Op("attention"), OverloadResolutionPriority(1)] public static Tensor Attention(Tensor q, Tensor k, Tensor v,
        double scale, Func<Tensor, Tensor>? score = null, int? window = null)
    {
        var z = Recorder.Add("score_input", [q]);
        return Recorder.Add("attention", [q, k, v, score?.Invoke(z) ?? z], ("scale", scale), ("window", window));
    }

    /// <summary>
    /// Attention whose score also depends on where the key is and on the head, as FlexAttention's score_mod does. ALiBi: <c>(z, at) => z - Exp((at.Head + 1) *
    /// (-8.0 / heads * Math.Log(2))) * at.Distance</c>.
    /// Shapes, dtypes and errors as without a position.
    /// </summary>
    /// <param name="q">Queries.</param>
    /// <param name="k">Keys.</param>
    /// <param name="v">Values.</param>
    /// <param name="scale">Multiplies the dot product before the score function sees it.</param>
    /// <param name="score">A pointwise function of one scaled dot product and its position; its derivative by the dot product is derived.</param>
    /// <param name="window">How many tokens a query sees, itself included; null: all of its document before it.</param>
    [Op("attention")] public static Tensor Attention(Tensor q, Tensor k, Tensor v, double scale, Func<Tensor, ScorePosition, Tensor> score, int? window = null)
    {
        var z = Recorder.Add("score_input", [q]);
        var at = new ScorePosition(Recorder.Add("score_distance", [q]), Recorder.Add("score_head", [q]));
        return Recorder.Add("attention", [q, k, v, score(z, at)], ("scale", scale), ("window", window));
    }
}
