using System;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace Graph.Runtime.Cpu;

/// <summary>
/// Functions of fp32 vectors, lane by lane. Each lane's result is the same whatever the other lanes hold and however wide a vector is. NaN in gives NaN out.
/// </summary>
public static class CpuMath
{
    // Adding it leaves the rounded integer in the low bits of a float.
    const float Rounder = 12582912;

    /// <summary>e^x within 2 ulp; denormal results included, 0 below −104, ∞ above 88.7229. Polynomial of Cephes' expf on |r| ≤ ln 2 / 2.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Exp(Vector<float> x)
    {
        var (p, shifted) = ExpLess1(Clamp(x, -104, 89));
        p += Vector<float>.One;
        // 2^n in two factors, so that neither overflows where the result does not, and denormals are rounded once.
        var power = shifted - Vector.AsVectorInt32(All(Rounder));
        var half = Vector.ShiftRightArithmetic(power, 1);
        return p * Power(half) * Power(power - half);
    }

    /// <summary>
    /// tanh x within 2e-7 relative, ±1 from |x| = 9.1: m / (m + 2) of m = e^2|x| − 1, with the sign of x. A quotient of polynomials is shorter, but off by 2.5e-7 near ±1,
    /// where 1 − tanh² magnifies it; here most of m's error cancels.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Tanh(Vector<float> x)
    {
        var t = Vector.Abs(x);
        // NaN is in the operand that the minimum gives then.
        var (p, shifted) = ExpLess1(Vector.MinNative(All(20), t + t));
        // 2^n·(p + 1) − 1: an exponent of 1 and n added to it, since Rounder's low bits are 0.
        var power = Vector.AsVectorSingle(Vector.ShiftLeft(shifted, 23) + Vector.AsVectorInt32(Vector<float>.One));
        var m = Vector.FusedMultiplyAdd(power, p, power - Vector<float>.One);
        return m / (m + All(2)) | x & All(-0f);
    }

    // p and n of e^x = (p + 1)·2^n, n in the low bits of Rounder + n.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static (Vector<float> P, Vector<int> Shifted) ExpLess1(Vector<float> x)
    {
        var shifted = Vector.FusedMultiplyAdd(x, All(1.44269504f), All(Rounder));
        var n = shifted - All(Rounder);
        // ln 2 in two parts, the first with few bits: n times it is exact.
        var r = Vector.FusedMultiplyAdd(n, All(2.12194440e-4f), Vector.FusedMultiplyAdd(n, All(-0.693359375f), x));
        var p = Vector.FusedMultiplyAdd(All(1.9875691500e-4f), r, All(1.3981999507e-3f));
        p = Vector.FusedMultiplyAdd(p, r, All(8.3334519073e-3f));
        p = Vector.FusedMultiplyAdd(p, r, All(4.1665795894e-2f));
        p = Vector.FusedMultiplyAdd(p, r, All(1.6666665459e-1f));
        p = Vector.FusedMultiplyAdd(p, r, All(5.0000001201e-1f));
        return (Vector.FusedMultiplyAdd(p, r * r, r), Vector.AsVectorInt32(shifted));
    }

    /// <summary>1 / √x, each of the two rounded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Rsqrt(Vector<float> x) => Vector<float>.One / Vector.SquareRoot(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Sqrt(Vector<float> x) => Vector.SquareRoot(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Log(Vector<float> x) => Vector.Log(x);

    /// <summary>1 / (1 + e⁻ˣ): 0 where e⁻ˣ is infinite, so no x gives NaN but NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Sigmoid(Vector<float> x) => Vector<float>.One / (Vector<float>.One + Exp(-x));

    /// <summary>max(x, 0), and NaN for NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Relu(Vector<float> x) => Vector.ConditionalSelect(Vector.LessThan(x, Vector<float>.Zero), Vector<float>.Zero, x);

    /// <summary>1 where x &gt; 0, else 0: the slope of <see cref="Relu"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Step(Vector<float> x) => Vector.ConditionalSelect(Vector.GreaterThan(x, Vector<float>.Zero), Vector<float>.One, Vector<float>.Zero);

    /// <summary>
    /// erf(x), relative error below 4·10⁻⁷: x + x·p(x²) near 0; 1 − e^q(|x|) with the sign of x elsewhere. Polynomials by minimax fit.
    /// Source: N. Juffa, "Hitting the error function", single precision without branches.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Erf(Vector<float> x)
    {
        var (t, s) = (Vector.Abs(x), x * x);
        var r = Vector.FusedMultiplyAdd(All(-1.72853470e-5f), t, All(3.83197126e-4f));
        r = Vector.FusedMultiplyAdd(r, s, Vector.FusedMultiplyAdd(All(-3.88396438e-3f), t, All(2.42546219e-2f)));
        r = Vector.FusedMultiplyAdd(r, t, All(-1.06777877e-1f));
        r = Vector.FusedMultiplyAdd(r, t, All(-6.34846687e-1f));
        r = Vector.FusedMultiplyAdd(r, t, All(-1.28717512e-1f));
        r = Vector.FusedMultiplyAdd(r, t, -t);
        var far = Vector<float>.One - Exp(r);
        far = Vector.ConditionalSelect(Vector.LessThan(x, Vector<float>.Zero), -far, far);
        var p = Vector.FusedMultiplyAdd(All(-5.96761703e-4f), s, All(4.99119423e-3f));
        p = Vector.FusedMultiplyAdd(p, s, All(-2.67681349e-2f));
        p = Vector.FusedMultiplyAdd(p, s, All(1.12819925e-1f));
        p = Vector.FusedMultiplyAdd(p, s, All(-3.76125336e-1f));
        p = Vector.FusedMultiplyAdd(p, s, All(1.28379166e-1f));
        return Vector.ConditionalSelect(Vector.GreaterThan(t, All(0.927734375f)), far, Vector.FusedMultiplyAdd(p, x, x));
    }

    /// <summary>x in every lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> All(float x) => new(x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector<float> Power(Vector<int> n) => Vector.AsVectorSingle(Vector.ShiftLeft(n + new Vector<int>(127), 23));

    // Comparisons with NaN are false, so NaN stays.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector<float> Clamp(Vector<float> x, float low, float high)
    {
        x = Vector.ConditionalSelect(Vector.LessThan(x, All(low)), All(low), x);
        return Vector.ConditionalSelect(Vector.GreaterThan(x, All(high)), All(high), x);
    }
}
