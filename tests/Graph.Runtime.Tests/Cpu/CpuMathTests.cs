using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using Graph.Runtime.Cpu;
using Xunit;

namespace Graph.Runtime.Tests;

public unsafe class CpuMathTests
{
    // A prime step through the bits of all floats: every exponent, both signs, infinities and NaN.
    static IEnumerable<float> Floats() => Enumerable.Range(0, (int)(uint.MaxValue / 60_013)).Select(i => BitConverter.UInt32BitsToSingle((uint)i * 60_013));

    static float One(Func<Vector<float>, Vector<float>> function, float x, int lane = 0)
    {
        // The other lanes hold values that overflow or are NaN.
        Span<float> values = stackalloc float[Vector<float>.Count];
        for (var i = 0; i < values.Length; i++) values[i] = i == lane ? x : i % 2 == 0 ? float.NaN : 1e30f;
        return function(new Vector<float>(values))[lane];
    }

    [Fact]
    public void Exp_AllExponents_IsWithinTwoUlp()
    {
        foreach (var x in Floats().Concat(Enumerable.Range(0, 20_000).Select(i => -105 + i * 0.01f)))
        {
            var (exact, value) = (Math.Exp(x), One(CpuMath.Exp, x));
            if (float.IsNaN(x) || float.IsInfinity((float)exact)) Assert.Equal((float)exact, value);
            else Assert.True(Math.Abs(value - exact) <= 2 * ((double)MathF.BitIncrement((float)exact) - (float)exact), $"exp({x:G9}) is {value:G9}, not {exact:G9}");
        }
    }

    [Fact]
    public void Tanh_AllExponents_IsNearAsRoundingAllows()
    {
        foreach (var x in Floats().Concat(Enumerable.Range(0, 20_000).Select(i => -10 + i * 0.001f)))
        {
            var (exact, value) = (Math.Tanh(x), One(CpuMath.Tanh, x));
            // 1e-45: the smallest float is not exact to less than itself.
            if (float.IsNaN(x)) Assert.True(float.IsNaN(value));
            else Assert.True(Math.Abs(value - exact) <= 2e-7 * Math.Abs(exact) + 1e-45 && Math.Abs(value) <= 1, $"tanh({x:G9}) is {value:G9}, not {exact:G9}");
        }
    }

    [Theory]
    [InlineData(0f), InlineData(1f), InlineData(float.PositiveInfinity), InlineData(float.NegativeInfinity), InlineData(float.NaN)]
    [InlineData(88.7f), InlineData(88.8f), InlineData(-104f), InlineData(9f)]
    public void Functions_EveryLane_IsWhatMathSays(float x)
    {
        for (var lane = 0; lane < Vector<float>.Count; lane++)
        {
            Near(MathF.Exp(x), One(CpuMath.Exp, x, lane));
            Near(MathF.Tanh(x), One(CpuMath.Tanh, x, lane));
            Near(1 / MathF.Sqrt(x), One(CpuMath.Rsqrt, x, lane));
        }

        static void Near(float expected, float actual)
        {
            if (float.IsFinite(expected)) Assert.Equal(expected, actual, 3e-7f * MathF.Abs(expected));
            else Assert.Equal(expected, actual);
        }
    }

    [Fact]
    public void LoadAndStore_EndOfARow_LeaveTheRestAlone()
    {
        for (var left = 1; left < 2 * Vector<float>.Count; left++)
        {
            var kept = Math.Min(left, Vector<float>.Count);
            float[] from = [.. Enumerable.Range(1, left).Select(i => (float)i), .. Enumerable.Repeat(float.NaN, Vector<float>.Count)],
                to = [.. Enumerable.Repeat(9f, 3 * Vector<float>.Count)];
            var sum = new VectorSum();
            fixed (float* pf = from, pt = to)
            {
                var x = CpuVector.Load(pf, left);
                CpuVector.Store(x, pt, left);
                sum.Add(x + Vector<float>.One, left);
                Assert.Equal(Enumerable.Repeat(0f, Vector<float>.Count - kept), Enumerable.Range(kept, Vector<float>.Count - kept).Select(i => x[i]));
            }
            Assert.Equal(from[..kept], to[..kept]);
            Assert.All(to[kept..], t => Assert.Equal(9, t));
            Assert.Equal(kept + from.Take(kept).Sum(), sum.Total);
        }
    }
}
