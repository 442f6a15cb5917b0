using System.Runtime.InteropServices;

namespace Graph.Runtime.Optimizers;

/// <summary>
/// One trainable matrix, 64 bytes, as segments.cu declares it: p, m, v contiguous fp32 [Rows, Columns] (m and v: or codes with their scales
/// behind them, adamw_8bit.cu); gradient and rounded copy are rectangles of pitched matrices. Chunks never cross a segment.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct AdamSegment
{
    /// <summary>Elements of one chunk of work.</summary>
    public const int ChunkElements = 4096;

    public long Master, FirstMoment, SecondMoment, Gradient, Copy;
    public int Rows, Columns, GradientPitch, CopyPitch, FirstChunk, Unused;
}

/// <summary>Run-time scalars on the device, all fp32, as segments.cu declares them.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct ScalarBlock
{
    public float LoraScale, InverseLabels;
    public float LossWeight;
    public float LearningRate, Beta1, OneMinusBeta1, Beta2, OneMinusBeta2, Epsilon, WeightDecay;
    public float BiasCorrection1, SqrtBiasCorrection2;
    public float Clip, GrowthSteps;
    public float GradientNorm, ClipCoefficient, LossSum;
    public float Skipped;
    public float LossScale, GoodSteps;
}
