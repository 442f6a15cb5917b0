using System;

namespace Graph.Finetune.Training;

public enum LearningRateShape { Constant, Linear, Cosine }

/// <summary>
/// The learning rate of step s of N (s from 0): peak · (s+1)/W in the W steps of warm-up;
/// then minimum + (peak − minimum) · f(p) with f = 1 (constant), 1−p (linear) or (1+cos πp)/2 (cosine).
/// p = (s−W)/(N−W) without restarts; with R of them the steps behind the warm-up are R+1 parts of one length, and p runs from 0 to 1 in each.
/// The first step after the warm-up has the peak; the last one is not yet at the minimum, so no step is wasted.
/// </summary>
public sealed record LearningRate(LearningRateShape Shape, double Peak, int Warmup, int Steps)
{
    /// <summary>What the rate falls towards.</summary>
    public double Minimum { get; init; }

    /// <summary>How often it begins to fall anew, from the peak.</summary>
    public int Restarts { get; init; }

    public double At(int step)
    {
        if (step < Warmup) return Peak * (step + 1) / Warmup;
        // In whole numbers, so that a part begins at 0 and not just before 1.
        var (done, length) = (step - Warmup, Steps - Warmup);
        var progress = length > 0 ? done * (Restarts + 1L) % length / (double)length : 0;
        return Minimum + (Peak - Minimum) * Shape switch
        {
            LearningRateShape.Linear => 1 - progress,
            LearningRateShape.Cosine => (1 + Math.Cos(Math.PI * progress)) / 2,
            _ => 1,
        };
    }
}
