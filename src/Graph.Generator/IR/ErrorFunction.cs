using System;

namespace Graph.Generator.IR;

/// <summary>erf in fp64, for references: kernels have their own in fp32.</summary>
static class ErrorFunction
{
    public const double TwoOverSqrtPi = 1.1283791670955126;

    /// <summary>2/√π · e^(−x²) · Σₙ 2ⁿ·x^(2n+1) / (1·3·…·(2n+1)): every term has the sign of x, so nothing cancels. Beyond ±6 it is ±1 to the last bit.</summary>
    public static double Of(double x)
    {
        if (double.IsNaN(x)) return x;
        if (Math.Abs(x) > 6) return Math.Sign(x);
        double term = x, sum = x;
        for (var n = 1; Math.Abs(term) > 1e-17 * Math.Abs(sum); n++) sum += term *= 2 * x * x / (2 * n + 1);
        return TwoOverSqrtPi * Math.Exp(-x * x) * sum;
    }
}
