using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// The schedule's text form: what the generator embeds, the snapshots show, and the runtime parses (<see cref="ScheduleReader"/>). One line per item;
/// Parse(Print(s)) prints the same bytes.
/// <code>
/// schedule 9b layers=42
/// adapters 0 in=3584 out=8192 model.layers.0.self_attn.q_proj:0:4096 model.layers.0.self_attn.k_proj:4096:2048
/// tensor layers.0.qkv activation act[T,8192] layer=0
/// tensor q_proj.weight+k_proj.weight weight act[6144,3584] parts=q_proj.weight:4096+k_proj.weight:2048
/// tensor rope.full_attention rope_table f32[129] theta=10000 layers=full_attention
/// forward
///   0 L0 gemm nt layers.0.xa = adapters.0.a * layers.0.h scale=1*lora_scale
///   1 L0 gemm nt layers.0.qkv = layers.0.h * q_proj.weight + layers.0.xa * adapters.0.b
///   2 L0 row k03_residual_rms out=2 inplace=0 layers.0.x layers.0.h[0:3584] ...
///   3 L-1 cross_entropy k09 dx=... loss=... x=... table=... labels=... inverse_labels=inv_labels sums=gemm_nt_k09,k09_from_sums
/// backward
/// recompute
/// recipe layers.0.qkv = 0 1
/// fusion epilogue 1 2 gemm_nt_k02_rope places=0
/// </code>
/// </summary>
public static class ScheduleText
{
    public static string Print(Schedule schedule)
    {
        var text = new StringBuilder();
        text.Append("schedule ").Append(schedule.Variant).Append(" layers=").Append(I(schedule.Layers)).Append(schedule.SharedScale ? " shared_scale" : "").Append('\n');
        foreach (var stack in schedule.Adapters)
        {
            text.Append("adapters ").Append(I(stack.Id)).Append(" in=").Append(I(stack.In)).Append(" out=").Append(I(stack.Out));
            foreach (var adapter in stack.Adapters) text.Append(' ').Append(adapter.Name).Append(':').Append(I(adapter.OutStart)).Append(':').Append(I(adapter.Out));
            text.Append('\n');
        }
        foreach (var tensor in schedule.Tensors) text.Append(Print(tensor)).Append('\n');
        foreach (var (section, launches) in new[] { ("forward", schedule.Forward), ("backward", schedule.Backward), ("recompute", schedule.Recompute) })
        {
            text.Append(section).Append('\n');
            foreach (var launch in launches) text.Append("  ").Append(Print(launch)).Append('\n');
        }
        foreach (var recipe in schedule.Recipes) text.Append("recipe ").Append(recipe.Tensor).Append(" =")
            .Append(string.Concat(recipe.Launches.Select(l => " " + I(l.Id)))).Append('\n');
        foreach (var fusion in schedule.Fusions) text.Append("fusion ").Append(Print(fusion)).Append('\n');
        return text.ToString();
    }

    static string Print(ScheduleTensor tensor)
    {
        var text = new StringBuilder("tensor ").Append(tensor.Name).Append(' ').Append(Lower(tensor.Kind)).Append(' ').Append(Lower(tensor.Type)).Append('[');
        text.Append(string.Join(",", (tensor.Tokens ? new[] { "T" } : new string[0]).Concat(tensor.Dims.Select(Print)))).Append(']');
        if (tensor.Layer >= 0) text.Append(" layer=").Append(I(tensor.Layer));
        if (tensor.Stack >= 0) text.Append(" stack=").Append(I(tensor.Stack));
        if (tensor.Boundary) text.Append(" boundary");
        if (tensor.Parts is { } parts) text.Append(" parts=").Append(string.Join("+", parts.Select(p => p.Name + ":" + I(p.Rows))));
        if (tensor.Rope is { } rope) text.Append(" theta=").Append(rope.Theta.ToString("R", CultureInfo.InvariantCulture))
            .Append(rope.Layers is { } layers ? " layers=" + layers : "");
        return text.ToString();
    }

    public static string Print(Extent e) => e.Stack < 0 ? I(e.Fixed) : "R" + I(e.Stack);

    public static string Print(View v) => v.Columns is { } c ? v.Tensor + "[" + I(c.Start) + ":" + I(c.End) + "]" : v.Tensor;

    public static string Print(Launch launch) => I(launch.Id) + " L" + I(launch.Layer) + " " + launch switch
    {
        GemmLaunch g => "gemm " + Lower(g.Layout) + " " + Print(g.D) + (g.Accumulate ? " += "
            : " = ") + string.Join(" + ", g.Segments.Select(s => Print(s.A) + " * " + Print(s.B)))
            + (g.Scale.IsOne ? "" : " scale=" + g.Scale),
        KernelLaunch k => Lower(k.Kind) + " " + k.Kernel + " out=" + I(k.Outputs) + " inplace=" + I(k.InPlace) + (k.Attention is { } a ? " " + Print(a)
            : "") + string.Concat(k.Arguments.Select(v => " " + Print(v))),
        CrossEntropyLaunch c => "cross_entropy " + c.Kernel + " dx=" + (c.DX is { } dx ? Print(dx) : "-") + " loss=" + Print(c.Loss)
            + " x=" + Print(c.X) + " table=" + Print(c.Table)
            + " labels=" + Print(c.Labels) + " inverse_labels=" + Lower(c.InverseLabels) + (c.Sums is { } sums ? " sums=" + sums.Product + "," + sums.Kernel
            : "") + (c.DTable is { } dtable ? " dtable=" + Print(dtable) : ""),
        DequantizeLaunch d => "dequantize " + Print(d.Weight) + " = " + Print(d.Packed),
        _ => throw new ArgumentException("schedule: unknown launch " + launch.GetType().Name),
    };

    // heads=16:8x256 products=2, then a window if there is one.
    static string Print(AttentionFacts a) =>
        "heads=" + I(a.Heads) + ":" + I(a.KvHeads) + "x" + I(a.HeadDim) + " products=" + I(a.Products) + (a.Window is { } window ? " window=" + I(window) : "");

    static string Print(Fusion fusion) => fusion switch
    {
        EpilogueFusion e => "epilogue " + I(e.First) + " " + I(e.Second) + " " + e.Kernel + " places=" + string.Join(",", e.Places.Select(I)),
        RankGradientsFusion r => "rank_gradients " + I(r.First) + " " + I(r.Second),
        ScoreGradientsFusion s => "score_gradients " + I(s.First) + " " + I(s.Second) + " " + s.Kernel,
        _ => throw new ArgumentException("schedule: unknown fusion " + fusion.GetType().Name),
    };

    /// <exception cref="FormatException">A line does not follow the grammar; the message has its number and text.</exception>
    public static Schedule Parse(string text) => new ScheduleReader().Read(text);

    /// <summary>Snake case: GradA is grad_a.</summary>
    public static string Lower<T>(T value) where T : struct =>
        string.Concat(value.ToString()!.Select((c, i) => char.IsUpper(c) ? (i > 0 ? "_" : "") + char.ToLowerInvariant(c) : c.ToString()));

    static string I(int value) => value.ToString(CultureInfo.InvariantCulture);
}
