using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Tests;

/// <summary>
/// A small model written as the compiler would: x₀ = embedding; per layer h = norm(x)·w, [a|b] = two adapted linears of h, x' = x + tanh(a)·b; cross entropy with a tied table.
/// Each layer is one group of two linears, so B is block-diagonal and both adapters share S and G.
/// </summary>
static class TinySchedule
{
    public const int Hidden = 64;
    public const int Vocabulary = 96;
    public const double Epsilon = 1e-6;

    public static Schedule Parse(int layers = 3) => ScheduleText.Parse(Text(layers));

    public static string Text(int layers)
    {
        const int H = Hidden, F = 2 * Hidden;
        var text = new StringBuilder();
        text.Append($"schedule tiny layers={layers}\n");
        for (var i = 0; i < layers; i++) text.Append($"group {i} in={H} layers.{i}.a:{H} layers.{i}.b:{H}\n");
        text.Append($"tensor table weight act[{Vocabulary},{H}]\n");
        foreach (var name in new[] { "ids", "labels" }) text.Append($"tensor {name} input i32[T]\n");
        text.Append("tensor lora_scale scalar f32[]\ntensor inv_labels scalar f32[]\n");
        for (var i = 0; i < layers; i++)
        {
            text.Append($"tensor layers.{i}.norm weight act[{H}] layer={i}\n");
            text.Append($"tensor group.{i} group act[{F}+R{i},{H}+R{i}] layer={i} group={i}\n");
            text.Append($"tensor grad_a.{i} grad_a f32[R{i},{H}] layer={i} group={i}\ntensor grad_b.{i} grad_b f32[{F},R{i}] layer={i} group={i}\n");
            text.Append($"tensor layers.{i}.h activation act[T,{H}+R{i}] layer={i}\ntensor layers.{i}.u activation act[T,{F}] layer={i}\n");
            text.Append($"tensor layers.{i}.du gradient act[T,{F}+R{i}] layer={i}\ntensor layers.{i}.dh gradient act[T,{H}] layer={i}\n");
        }
        for (var i = 0; i <= layers; i++) text.Append($"tensor x.{i} activation act[T,{H}] boundary\ntensor dx.{i} gradient act[T,{H}]\n");
        text.Append("tensor loss activation f32[T]\n");

        text.Append("forward\n  L-1 kernel embedding out=1 inplace=0 x.0 ids table\n");
        for (var i = 0; i < layers; i++)
            text.Append($"  {Norm(i)}\n  {S(i)}\n  {Up(i)}\n  L{i} kernel glu_add out=1 inplace=0 x.{i + 1} x.{i} layers.{i}.u[:,0:{H}] layers.{i}.u[:,{H}:{F}]\n");
        text.Append($"  L-1 cross_entropy cross_entropy dx=dx.{layers} loss=loss x=x.{layers} table=table labels=labels inverse_labels=inv_labels\n");

        text.Append("backward\n");
        for (var i = layers - 1; i >= 0; i--)
            text.Append($"  L{i} kernel glu_adjoint out=2 inplace=0 layers.{i}.du[:,0:{H}] layers.{i}.du[:,{H}:{F}] dx.{i + 1} layers.{i}.u[:,0:{H}] layers.{i}.u[:,{H}:{F}]\n"
                + $"  L{i} gemm nn layers.{i}.du[:,{F}:{F}+R{i}] = layers.{i}.du[:,0:{F}] group.{i}[0:{F},{H}:{H}+R{i}] scale=lora_scale\n"
                + $"  L{i} gemm tn grad_b.{i} += layers.{i}.du[:,0:{F}] layers.{i}.h[:,{H}:{H}+R{i}]\n"
                + $"  L{i} gemm tn grad_a.{i} += layers.{i}.du[:,{F}:{F}+R{i}] layers.{i}.h[:,0:{H}]\n"
                + $"  L{i} gemm nn layers.{i}.dh = layers.{i}.du group.{i}[:,0:{H}]\n"
                + $"  L{i} kernel norm_adjoint out=1 inplace=0 dx.{i} dx.{i + 1} layers.{i}.dh x.{i} layers.{i}.norm\n");
        for (var i = 0; i < layers; i++)
            text.Append($"recipe layers.{i}.h\n  {Norm(i)}\n  {S(i)}\nrecipe layers.{i}.u\n  {Up(i)}\n");
        return text.ToString();

        string Norm(int i) => $"L{i} kernel norm out=1 inplace=0 layers.{i}.h[:,0:{H}] x.{i} layers.{i}.norm";
        string S(int i) => $"L{i} gemm nt layers.{i}.h[:,{H}:{H}+R{i}] = layers.{i}.h[:,0:{H}] group.{i}[{F}:{F}+R{i},0:{H}] scale=lora_scale";
        string Up(int i) => $"L{i} gemm nt layers.{i}.u = layers.{i}.h group.{i}[0:{F},:]";
    }

    public static IEnumerable<string> Names(IEnumerable<Launch> launches) => launches.Select(ScheduleText.Print);
}
