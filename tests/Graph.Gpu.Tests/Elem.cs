using System;
using System.Numerics;
using Graph.Runtime.Devices;

namespace Graph.Gpu.Tests;

/// <summary>The 16-bit type that references round to. One per process: a child process checks one type.</summary>
static class Elem
{
    internal static ActType Act { get; set; } = ActType.Bf16;

    /// <summary>Largest relative error of one rounding: 2^-8 of bf16, 2^-11 of fp16.</summary>
    internal static float UnitRoundoff => Act == ActType.Bf16 ? 1f / 256 : 1f / 2048;

    internal static float Round(float value) => Checking.FromElem(Checking.ToElem(value, Act), Act);

    internal static Vector<float> Round(Vector<float> values)
    {
        Span<float> rounded = stackalloc float[Vector<float>.Count];
        for (var i = 0; i < rounded.Length; i++) rounded[i] = Round(values[i]);
        return new Vector<float>(rounded);
    }

    /// <summary>
    /// Scores and logits between their ops, to 11 bits in both types: tanh.approx is that exact. Rounding them to
    /// bf16's 8 bits, as a plain bf16 program does, would allow errors of 13 % in P at a score of 40.
    /// </summary>
    internal static float RoundScore(float value) => float.IsFinite(value) ? MathF.ScaleB(MathF.Round(MathF.ScaleB(value, Shift(value))), -Shift(value)) : value;

    internal static Vector<float> RoundScore(Vector<float> values)
    {
        Span<float> rounded = stackalloc float[Vector<float>.Count];
        for (var i = 0; i < rounded.Length; i++) rounded[i] = RoundScore(values[i]);
        return new Vector<float>(rounded);
    }

    static int Shift(float value) => value == 0 ? 0 : 10 - Math.Max(-100, MathF.ILogB(value));
}
