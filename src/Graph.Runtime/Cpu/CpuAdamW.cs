using System;
using System.Collections.Generic;
using System.Numerics;
using Graph.Runtime.Optimizers;

namespace Graph.Runtime.Cpu;

/// <summary>
/// The optimizer kernels on the host, argument for argument those of adamw.cu, gradient_norm.cu and loss_sum.cu; the pitch of a segment table is its count. fp32, sums in double.
/// </summary>
static unsafe class CpuAdamW
{
    public static Dictionary<string, CpuKernelEntry> Kernels() => new()
    {
        ["gradient_norm_partials"] = new(Partials, false),
        ["gradient_norm"] = new(Norm, false),
        ["adamw"] = new(Update, false),
        ["adamw_8bit"] = new(Update8Bit, false),
        ["cast_adapters"] = new(Cast, false),
        ["scale_gradients"] = new(ScaleGradients, false),
        ["loss_sum"] = new(LossSum, false),
    };

    // partials, segments, chunks
    static void Partials(ReadOnlySpan<CpuView> a, int chunks)
    {
        foreach (var s in Segments(a[1]))
        {
            var count = (long)s.Rows * s.Columns;
            for (long first = 0, chunk = s.FirstChunk; first < count; first += AdamSegment.ChunkElements, chunk++)
            {
                var squares = new VectorSum();
                var last = Math.Min(count, first + AdamSegment.ChunkElements);
                // A chunk may begin and end inside a row of the gradient.
                for (long i = first, end; i < last; i = end)
                {
                    end = Math.Min(last, (i / s.Columns + 1) * s.Columns);
                    float* row = (float*)s.Gradient + i / s.Columns * s.GradientPitch + i % s.Columns;
                    for (var c = 0; c < end - i; c += Vector<float>.Count) squares.AddSquares(CpuVector.Load(row + c, (int)(end - i) - c));
                }
                a[0].Floats[chunk] = (float)squares.Total;
            }
        }
    }

    // scalars, partials, chunks
    static void Norm(ReadOnlySpan<CpuView> a, int chunks)
    {
        ref var s = ref *(ScalarBlock*)a[0].Floats;
        double squares = 0;
        for (var i = 0; i < chunks; i++) squares += a[1].Floats[i];
        var scale = s.LossScale;
        s.GradientNorm = (float)Math.Sqrt(squares) / scale;
        var finite = float.IsFinite(s.GradientNorm);
        s.ClipCoefficient = (s.Clip > 0 && finite ? MathF.Min(1, s.Clip / (s.GradientNorm + 1e-6f)) : 1) / scale;
        s.Skipped = finite ? 0 : 1;
        if (s.GrowthSteps <= 0) return;
        s.GoodSteps = finite ? s.GoodSteps + 1 : 0;
        if (!finite) s.LossScale = MathF.Max(0.5f * scale, 1);
        else if (s.GoodSteps >= s.GrowthSteps) (s.LossScale, s.GoodSteps) = (MathF.Min(2 * scale, MathF.ScaleB(1, 127)), 0);
    }

    // segments, scalars, chunks
    static void Update(ReadOnlySpan<CpuView> a, int chunks)
    {
        var s = *(ScalarBlock*)a[1].Floats;
        if (s.Skipped != 0) return;
        foreach (var segment in Segments(a[0]))
        {
            for (var row = 0; row < segment.Rows; row++)
            {
                var first = (long)row * segment.Columns;
                float* p = (float*)segment.Master + first, m = (float*)segment.FirstMoment + first, v = (float*)segment.SecondMoment + first;
                float* gradient = (float*)segment.Gradient + (long)row * segment.GradientPitch, copy = (float*)segment.Copy + (long)row * segment.CopyPitch;
                for (var c = 0; c < segment.Columns; c += Vector<float>.Count)
                {
                    var left = segment.Columns - c;
                    var g = s.ClipCoefficient * CpuVector.Load(gradient + c, left);
                    var moment = CpuVector.Load(m + c, left);
                    moment += s.OneMinusBeta1 * (g - moment);
                    var second = s.Beta2 * CpuVector.Load(v + c, left) + s.OneMinusBeta2 * g * g;
                    var master = CpuVector.Load(p + c, left) * (1 - s.LearningRate * s.WeightDecay);
                    master -= s.LearningRate / s.BiasCorrection1 * (moment / (Vector.SquareRoot(second) / new Vector<float>(s.SqrtBiasCorrection2) + new Vector<float>(s.Epsilon)));
                    CpuVector.Store(moment, m + c, left);
                    CpuVector.Store(second, v + c, left);
                    CpuVector.Store(master, p + c, left);
                    CpuVector.Store(master, copy + c, left);
                }
            }
        }
    }

    // segments, scalars, chunks
    static void Update8Bit(ReadOnlySpan<CpuView> a, int chunks)
    {
        const int block = DynamicMap.BlockElements;
        var s = *(ScalarBlock*)a[1].Floats;
        if (s.Skipped != 0) return;
        Span<float> m = stackalloc float[block], v = stackalloc float[block];
        foreach (var segment in Segments(a[0]))
        {
            var count = (long)segment.Rows * segment.Columns;
            var codes = (count + block - 1) / block * block;
            byte* mCodes = (byte*)segment.FirstMoment, vCodes = (byte*)segment.SecondMoment;
            float* p = (float*)segment.Master, mScales = (float*)(mCodes + codes), vScales = (float*)(vCodes + codes);
            for (long first = 0; first < count; first += block)
            {
                var (last, at) = ((int)Math.Min(block, count - first), first / block);
                var (mMost, vMost) = (0f, 0f);
                for (var e = 0; e < last; e++)
                {
                    var (row, column) = Math.DivRem(first + e, segment.Columns);
                    var g = s.ClipCoefficient * ((float*)segment.Gradient)[row * segment.GradientPitch + column];
                    m[e] = DynamicMap.Signed[mCodes[first + e]] * mScales[at];
                    m[e] += s.OneMinusBeta1 * (g - m[e]);
                    v[e] = s.Beta2 * (DynamicMap.Unsigned[vCodes[first + e]] * vScales[at]) + s.OneMinusBeta2 * g * g;
                    p[first + e] = p[first + e] * (1 - s.LearningRate * s.WeightDecay)
                        - s.LearningRate / s.BiasCorrection1 * (m[e] / (MathF.Sqrt(v[e]) / s.SqrtBiasCorrection2 + s.Epsilon));
                    ((float*)segment.Copy)[row * segment.CopyPitch + column] = p[first + e];
                    (mMost, vMost) = (MathF.Max(mMost, MathF.Abs(m[e])), MathF.Max(vMost, v[e]));
                }
                for (var e = 0; e < last; e++)
                {
                    mCodes[first + e] = mMost > 0 ? DynamicMap.Nearest(DynamicMap.Signed, m[e] / mMost) : (byte)0;
                    // What is above 0 keeps a code above 0: a root of 0 would make the next step a leap.
                    vCodes[first + e] = vMost > 0 ? Math.Max(DynamicMap.Nearest(DynamicMap.Unsigned, v[e] / vMost), v[e] > 0 ? (byte)1 : (byte)0) : (byte)0;
                }
                (mScales[at], vScales[at]) = (mMost, vMost);
            }
        }
    }

    // segments, chunks
    static void Cast(ReadOnlySpan<CpuView> a, int chunks)
    {
        foreach (var segment in Segments(a[0]))
            for (var row = 0; row < segment.Rows; row++)
                new ReadOnlySpan<float>((float*)segment.Master + (long)row * segment.Columns, segment.Columns)
                    .CopyTo(new Span<float>((float*)segment.Copy + (long)row * segment.CopyPitch, segment.Columns));
    }

    // scalars
    static void ScaleGradients(ReadOnlySpan<CpuView> a, int rows)
    {
        ref var s = ref *(ScalarBlock*)a[0].Floats;
        s.InverseLabels = s.LossWeight * s.LossScale;
    }

    // scalars, loss, rows
    static void LossSum(ReadOnlySpan<CpuView> a, int rows)
    {
        ref var s = ref *(ScalarBlock*)a[0].Floats;
        double sum = 0;
        for (var i = 0; i < rows; i++) sum += a[1].Floats[i];
        s.LossSum += (float)(sum * s.LossWeight);
    }

    static ReadOnlySpan<AdamSegment> Segments(CpuView view) => new(view.Floats, view.Pitch);
}
