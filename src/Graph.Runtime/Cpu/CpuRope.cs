using System;
using System.Numerics;

namespace Graph.Runtime.Cpu;

/// <summary>
/// Rotary embedding in place, half-split: (x[i], x[i+D/2]) turned by position · f_i, or back when inverse, and multiplied by a factor. Angles are fp32, as transformers
/// computes them. Arguments: x, positions, the D/2 frequencies with the factor behind them.
/// </summary>
public static unsafe class CpuRope
{
    public static void Run(ReadOnlySpan<CpuView> args, int rows, int heads, int headDim, bool inverse)
    {
        var half = headDim / 2;
        float* frequencies = args[2].Floats, sines = stackalloc float[half], cosines = stackalloc float[half];
        var factor = frequencies[half];
        for (var t = 0; t < rows; t++)
        {
            for (var i = 0; i < half; i++)
            {
                (sines[i], cosines[i]) = MathF.SinCos(args[1].Ints[t] * frequencies[i]);
                (sines[i], cosines[i]) = (sines[i] * (inverse ? -factor : factor), cosines[i] * factor);
            }
            for (var x = args[0].Row(t); x < args[0].Row(t) + heads * headDim; x += headDim)
                for (var i = 0; i < half; i += Vector<float>.Count)
                {
                    var left = half - i;
                    Vector<float> sine = CpuVector.Load(sines + i, left), cosine = CpuVector.Load(cosines + i, left);
                    Vector<float> first = CpuVector.Load(x + i, left), second = CpuVector.Load(x + half + i, left);
                    CpuVector.Store(first * cosine - second * sine, x + i, left);
                    CpuVector.Store(second * cosine + first * sine, x + half + i, left);
                }
        }
    }
}
