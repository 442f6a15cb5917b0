using System;

namespace Graph.Runtime.Cpu;

/// <summary>Functions of expressions that MathF has not, in fp32. Emitted C# calls them.</summary>
public static class CpuMath
{
    /// <summary>1 / (1 + e⁻ˣ): 0 where e⁻ˣ is infinite, so no x gives NaN but NaN.</summary>
    public static float Sigmoid(float x) => 1 / (1 + MathF.Exp(-x));

    /// <summary>max(x, 0), and NaN for NaN.</summary>
    public static float Relu(float x) => x < 0 ? 0 : x;

    /// <summary>1 where x &gt; 0, else 0: the slope of <see cref="Relu"/>.</summary>
    public static float Step(float x) => x > 0 ? 1 : 0;

    /// <summary>
    /// erf(x), relative error below 2·10⁻⁷: x + x·p(x²) near 0; 1 − e^q(|x|) with the sign of x elsewhere. Polynomials by minimax fit.
    /// Source: N. Juffa, "Hitting the error function", single precision without branches.
    /// </summary>
    public static float Erf(float x)
    {
        var (t, s) = (MathF.Abs(x), x * x);
        if (t > 0.927734375f)
        {
            var r = MathF.FusedMultiplyAdd(-1.72853470e-5f, t, 3.83197126e-4f);
            r = MathF.FusedMultiplyAdd(r, s, MathF.FusedMultiplyAdd(-3.88396438e-3f, t, 2.42546219e-2f));
            r = MathF.FusedMultiplyAdd(r, t, -1.06777877e-1f);
            r = MathF.FusedMultiplyAdd(r, t, -6.34846687e-1f);
            r = MathF.FusedMultiplyAdd(r, t, -1.28717512e-1f);
            r = MathF.FusedMultiplyAdd(r, t, -t);
            return MathF.CopySign(1 - MathF.Exp(r), x);
        }
        var p = MathF.FusedMultiplyAdd(-5.96761703e-4f, s, 4.99119423e-3f);
        p = MathF.FusedMultiplyAdd(p, s, -2.67681349e-2f);
        p = MathF.FusedMultiplyAdd(p, s, 1.12819925e-1f);
        p = MathF.FusedMultiplyAdd(p, s, -3.76125336e-1f);
        p = MathF.FusedMultiplyAdd(p, s, 1.28379166e-1f);
        return MathF.FusedMultiplyAdd(p, x, x);
    }
}
