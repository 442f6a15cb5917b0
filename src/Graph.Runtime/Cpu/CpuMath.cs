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
        x = Clamp(x, -104, 89);
        var shifted = Vector.FusedMultiplyAdd(x, All(1.44269504f), All(Rounder));
        var n = shifted - All(Rounder);
        // ln 2 in two parts, the first with few bits: n times it is exact.
        var r = Vector.FusedMultiplyAdd(n, All(2.12194440e-4f), Vector.FusedMultiplyAdd(n, All(-0.693359375f), x));
        var p = Vector.FusedMultiplyAdd(All(1.9875691500e-4f), r, All(1.3981999507e-3f));
        p = Vector.FusedMultiplyAdd(p, r, All(8.3334519073e-3f));
        p = Vector.FusedMultiplyAdd(p, r, All(4.1665795894e-2f));
        p = Vector.FusedMultiplyAdd(p, r, All(1.6666665459e-1f));
        p = Vector.FusedMultiplyAdd(p, r, All(5.0000001201e-1f));
        p = Vector.FusedMultiplyAdd(p, r * r, r) + Vector<float>.One;
        // 2^n in two factors, so that neither overflows where the result does not, and denormals are rounded once.
        var power = Vector.AsVectorInt32(shifted) - Vector.AsVectorInt32(All(Rounder));
        var half = Vector.ShiftRightArithmetic(power, 1);
        return p * Power(half) * Power(power - half);
    }

    /// <summary>tanh x within 5e-7 relative, ±1 from |x| = 9.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Tanh(Vector<float> x)
    {
        x = Clamp(x, -7.99881172f, 7.99881172f);
        var x2 = x * x;
        var p = Vector.FusedMultiplyAdd(All(-2.76076847742355e-16f), x2, All(2.00018790482477e-13f));
        p = Vector.FusedMultiplyAdd(p, x2, All(-8.60467152213735e-11f));
        p = Vector.FusedMultiplyAdd(p, x2, All(5.12229709037114e-08f));
        p = Vector.FusedMultiplyAdd(p, x2, All(1.48572235717979e-05f));
        p = Vector.FusedMultiplyAdd(p, x2, All(6.37261928875436e-04f));
        p = Vector.FusedMultiplyAdd(p, x2, All(4.89352455891786e-03f));
        var q = Vector.FusedMultiplyAdd(All(1.19825839466702e-06f), x2, All(1.18534705686654e-04f));
        q = Vector.FusedMultiplyAdd(q, x2, All(2.26843463243900e-03f));
        q = Vector.FusedMultiplyAdd(q, x2, All(4.89352518554385e-03f));
        return x * (p / q);
    }

    /// <summary>1 / √x, each of the two rounded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Rsqrt(Vector<float> x) => Vector<float>.One / Vector.SquareRoot(x);

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
