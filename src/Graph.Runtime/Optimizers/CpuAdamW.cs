using System;
using System.Collections.Generic;

namespace Graph.Runtime.Optimizers;

/// <summary>The optimizer kernels on the host, argument for argument those of adamw.cu, gradient_norm.cu and loss_sum.cu; the pitch of a segment table is its count. fp32, sums in double.</summary>
static unsafe class CpuAdamW
{
    public static Dictionary<string, CpuKernelEntry> Kernels() => new()
    {
        ["gradient_norm_partials"] = new(Partials, false),
        ["gradient_norm"] = new(Norm, false),
        ["adamw"] = new(Update, false),
        ["cast_adapters"] = new(Cast, false),
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
                double squares = 0;
                for (var i = first; i < Math.Min(count, first + AdamSegment.ChunkElements); i++)
                {
                    var g = Gradient(s, i);
                    squares += (double)g * g;
                }
                a[0].Floats[chunk] = (float)squares;
            }
        }
    }

    // scalars, partials, chunks
    static void Norm(ReadOnlySpan<CpuView> a, int chunks)
    {
        ref var s = ref *(ScalarBlock*)a[0].Floats;
        double squares = 0;
        for (var i = 0; i < chunks; i++) squares += a[1].Floats[i];
        s.GradientNorm = (float)Math.Sqrt(squares);
        var finite = float.IsFinite(s.GradientNorm);
        s.ClipCoefficient = s.Clip > 0 && finite ? MathF.Min(1, s.Clip / (s.GradientNorm + 1e-6f)) : 1;
        s.Skipped = finite ? 0 : 1;
    }

    // segments, scalars, chunks
    static void Update(ReadOnlySpan<CpuView> a, int chunks)
    {
        var s = *(ScalarBlock*)a[1].Floats;
        if (s.Skipped != 0) return;
        foreach (var segment in Segments(a[0]))
        {
            float* p = (float*)segment.Master, m = (float*)segment.FirstMoment, v = (float*)segment.SecondMoment;
            for (var i = 0; i < segment.Rows * segment.Columns; i++)
            {
                var g = s.ClipCoefficient * Gradient(segment, i);
                p[i] *= 1 - s.LearningRate * s.WeightDecay;
                m[i] += s.OneMinusBeta1 * (g - m[i]);
                v[i] = s.Beta2 * v[i] + s.OneMinusBeta2 * g * g;
                p[i] -= s.LearningRate / s.BiasCorrection1 * (m[i] / (MathF.Sqrt(v[i]) / s.SqrtBiasCorrection2 + s.Epsilon));
                Copy(segment, i);
            }
        }
    }

    // segments, chunks
    static void Cast(ReadOnlySpan<CpuView> a, int chunks)
    {
        foreach (var segment in Segments(a[0]))
            for (var i = 0; i < segment.Rows * segment.Columns; i++) Copy(segment, i);
    }

    // scalars, loss, rows
    static void LossSum(ReadOnlySpan<CpuView> a, int rows)
    {
        ref var s = ref *(ScalarBlock*)a[0].Floats;
        double sum = 0;
        for (var i = 0; i < rows; i++) sum += a[1].Floats[i];
        s.LossSum += (float)(sum * s.InverseLabels);
    }

    static ReadOnlySpan<AdamSegment> Segments(CpuView view) => new(view.Floats, view.Pitch);
    static float Gradient(in AdamSegment s, long i) => ((float*)s.Gradient)[i / s.Columns * s.GradientPitch + i % s.Columns];
    static void Copy(in AdamSegment s, long i) => ((float*)s.Copy)[i / s.Columns * s.CopyPitch + i % s.Columns] = ((float*)s.Master)[i];
}
