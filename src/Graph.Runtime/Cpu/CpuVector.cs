using System;
using System.Numerics;

namespace Graph.Runtime.Cpu;

/// <summary>fp32 loops over contiguous elements. The order of a sum depends on the vector width of the machine, never on the thread count.</summary>
static unsafe class CpuVector
{
    public static float Dot(float* a, float* b, int count)
    {
        var sum = Vector<float>.Zero;
        var i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count) sum = Vector.FusedMultiplyAdd(Vector.Load(a + i), Vector.Load(b + i), sum);
        var result = Vector.Sum(sum);
        for (; i < count; i++) result += a[i] * b[i];
        return result;
    }

    /// <summary>y += factor · x.</summary>
    public static void Add(float* y, float factor, float* x, int count)
    {
        var scale = new Vector<float>(factor);
        var i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count) Vector.FusedMultiplyAdd(scale, Vector.Load(x + i), Vector.Load(y + i)).Store(y + i);
        for (; i < count; i++) y[i] += factor * x[i];
    }

    /// <summary>y = exp(y − most); returns the sum, in fp64 over pieces of one vector each.</summary>
    public static double ExpSum(float* y, float most, int count)
    {
        var shift = new Vector<float>(most);
        double sum = 0;
        var i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
        {
            var e = Vector.Exp(Vector.Load(y + i) - shift);
            e.Store(y + i);
            sum += Vector.Sum(e);
        }
        for (; i < count; i++) sum += y[i] = MathF.Exp(y[i] - most);
        return sum;
    }

    public static void Clear(float* y, int count) => new Span<float>(y, count).Clear();
}
