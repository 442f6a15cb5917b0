using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Tests;

/// <summary>
/// A small model written as the compiler would: x₀ = embedding; per layer h = norm(x)·w, [a|b] = two adapted linears of h, x' = x + tanh(a)·b; cross entropy with a tied table.
/// The two linears of a layer are one stack, so B is block-diagonal and both adapters share S and G.
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
        for (var i = 0; i < layers; i++) text.Append($"adapters {i} in={H} out={F} layers.{i}.a:0:{H} layers.{i}.b:{H}:{H}\n");
        text.Append($"tensor table weight act[{Vocabulary},{H}]\n");
        foreach (var name in new[] { "ids", "labels" }) text.Append($"tensor {name} input i32[T]\n");
        text.Append("tensor lora_scale scalar f32[]\ntensor inv_labels scalar f32[]\n");
        for (var i = 0; i < layers; i++)
        {
            text.Append($"tensor layers.{i}.norm weight act[{H}] layer={i}\n");
            text.Append($"tensor layers.{i}.w weight act[{F},{H}] layer={i} parts=layers.{i}.a.weight:{H}+layers.{i}.b.weight:{H}\n");
            text.Append($"tensor a.{i} adapter_a act[R{i},{H}] stack={i}\ntensor b.{i} adapter_b act[{F},R{i}] stack={i}\n");
            text.Append($"tensor grad_a.{i} grad_a f32[R{i},{H}] layer={i} stack={i}\ntensor grad_b.{i} grad_b f32[{F},R{i}] layer={i} stack={i}\n");
            text.Append($"tensor layers.{i}.h activation act[T,{H}] layer={i}\n"
                + $"tensor layers.{i}.s activation act[T,R{i}] layer={i}\ntensor layers.{i}.u activation act[T,{F}] layer={i}\n");
            text.Append($"tensor layers.{i}.du gradient act[T,{F}] layer={i}\n"
                + $"tensor layers.{i}.g gradient act[T,R{i}] layer={i}\ntensor layers.{i}.dh gradient act[T,{H}] layer={i}\n");
        }
        for (var i = 0; i <= layers; i++) text.Append($"tensor x.{i} activation act[T,{H}] boundary\ntensor dx.{i} gradient act[T,{H}]\n");
        text.Append("tensor loss activation f32[T]\n");

        var id = 0;
        text.Append($"forward\n  {id++} L-1 row embedding out=1 inplace=0 x.0 ids table\n");
        for (var i = 0; i < layers; i++)
            text.Append($"  {id++} L{i} row norm out=1 inplace=0 layers.{i}.h x.{i} layers.{i}.norm\n"
                + $"  {id++} L{i} gemm nt layers.{i}.s = layers.{i}.h * a.{i} scale=1*lora_scale\n"
                + $"  {id++} L{i} gemm nt layers.{i}.u = layers.{i}.h * layers.{i}.w + layers.{i}.s * b.{i}\n"
                + $"  {id++} L{i} row glu_add out=1 inplace=0 x.{i + 1} x.{i} layers.{i}.u[0:{H}] layers.{i}.u[{H}:{F}]\n");
        text.Append($"  {id++} L-1 cross_entropy cross_entropy dx=dx.{layers} loss=loss x=x.{layers} table=table labels=labels inverse_labels=inv_labels\n");

        text.Append("backward\n");
        var fusions = new StringBuilder();
        for (var i = layers - 1; i >= 0; i--)
        {
            text.Append($"  {id++} L{i} row glu_adjoint out=2 inplace=0 layers.{i}.du[0:{H}] layers.{i}.du[{H}:{F}] dx.{i + 1} layers.{i}.u[0:{H}] layers.{i}.u[{H}:{F}]\n");
            fusions.Append($"fusion rank_gradients {id} {id + 1}\n");
            text.Append($"  {id++} L{i} gemm nn layers.{i}.g = layers.{i}.du * b.{i} scale=1*lora_scale\n"
                + $"  {id++} L{i} gemm tn grad_b.{i} += layers.{i}.du * layers.{i}.s\n"
                + $"  {id++} L{i} gemm tn grad_a.{i} += layers.{i}.g * layers.{i}.h\n"
                + $"  {id++} L{i} gemm nn layers.{i}.dh = layers.{i}.du * layers.{i}.w + layers.{i}.g * a.{i}\n"
                + $"  {id++} L{i} row norm_adjoint out=1 inplace=0 dx.{i} dx.{i + 1} layers.{i}.dh x.{i} layers.{i}.norm\n");
        }
        text.Append("recompute\n");
        for (var i = 0; i < layers; i++) text.Append($"recipe layers.{i}.h = {4 * i + 1}\nrecipe layers.{i}.s = {4 * i + 2}\nrecipe layers.{i}.u = {4 * i + 3}\n");
        return text.Append(fusions).ToString();
    }

    public static IEnumerable<string> Names(IEnumerable<Launch> launches) => launches.Select(ScheduleText.Print);
}
