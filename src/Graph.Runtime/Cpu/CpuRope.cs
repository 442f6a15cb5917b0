using System;

namespace Graph.Runtime.Cpu;

/// <summary>Rotary embedding in place, half-split: (x[i], x[i+D/2]) turned by position / θ^(2i/D), or back when inverse. Angles are fp32, as transformers computes them. Arguments: x, positions.</summary>
public static unsafe class CpuRope
{
    public static void Run(ReadOnlySpan<CpuView> args, int rows, int heads, int headDim, double theta, bool inverse)
    {
        var half = headDim / 2;
        Span<float> frequencies = stackalloc float[half];
        for (var i = 0; i < half; i++) frequencies[i] = 1f / MathF.Pow((float)theta, 2f * i / headDim);
        for (var t = 0; t < rows; t++)
            for (var i = 0; i < half; i++)
            {
                var (sine, cosine) = MathF.SinCos(args[1].Ints[t] * frequencies[i]);
                if (inverse) sine = -sine;
                for (var x = args[0].Row(t) + i; x < args[0].Row(t) + heads * headDim; x += headDim)
                    (x[0], x[half]) = (x[0] * cosine - x[half] * sine, x[half] * cosine + x[0] * sine);
            }
    }
}
