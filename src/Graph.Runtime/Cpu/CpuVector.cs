using System;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace Graph.Runtime.Cpu;

/// <summary>fp32 loops over contiguous elements. The order of a sum depends on the vector width of the machine, never on the thread count.</summary>
public static unsafe class CpuVector
{
    /// <summary>The next elements of a row of which `left` are left; lanes past the end are 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Load(float* from, int left) => left >= Vector<float>.Count ? Vector.Load(from) : LoadEnd(from, left);

    /// <summary>Stores the lanes of which the row has `left` left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector<float> x, float* to, int left)
    {
        if (left >= Vector<float>.Count) x.Store(to);
        else StoreEnd(x, to, left);
    }

    /// <summary>x where the row goes on, `other` past its end.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Keep(Vector<float> x, int left, float other) =>
        left >= Vector<float>.Count ? x : Vector.ConditionalSelect(Vector.LessThan(Vector<float>.Indices, new Vector<float>(left)), x, new Vector<float>(other));

    [MethodImpl(MethodImplOptions.NoInlining)]
    static Vector<float> LoadEnd(float* from, int left)
    {
        var padded = stackalloc float[Vector<float>.Count];
        new ReadOnlySpan<float>(from, left).CopyTo(new Span<float>(padded, left));
        return Vector.Load(padded);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static void StoreEnd(Vector<float> x, float* to, int left)
    {
        for (var i = 0; i < left; i++) to[i] = x[i];
    }

    internal static float Dot(float* a, float* b, int count)
    {
        var sum = Vector<float>.Zero;
        for (var i = 0; i < count; i += Vector<float>.Count) sum = Vector.FusedMultiplyAdd(Load(a + i, count - i), Load(b + i, count - i), sum);
        return Vector.Sum(sum);
    }

    internal static void Scale(float* y, float factor, int count)
    {
        for (var i = 0; i < count; i += Vector<float>.Count) Store(Load(y + i, count - i) * new Vector<float>(factor), y + i, count - i);
    }

    internal static void Clear(float* y, int count) => new Span<float>(y, count).Clear();
}

/// <summary>A sum of vectors in fp64, one chain per lane.</summary>
public struct VectorSum
{
    Vector<double> low, high;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(Vector<float> x)
    {
        Vector.Widen(x, out var first, out var second);
        (low, high) = (low + first, high + second);
    }

    /// <summary>Adds the lanes of which the row has `left` left.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(Vector<float> x, int left) => Add(CpuVector.Keep(x, left, 0));

    /// <summary>Adds squares, themselves in fp64.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void AddSquares(Vector<float> x)
    {
        Vector.Widen(x, out var first, out var second);
        (low, high) = (low + first * first, high + second * second);
    }

    public readonly double Total => Vector.Sum(low + high);

    /// <summary>The lanes' own sums.</summary>
    public readonly void Lanes(Span<double> sums)
    {
        low.CopyTo(sums);
        high.CopyTo(sums[Vector<double>.Count..]);
    }
}
