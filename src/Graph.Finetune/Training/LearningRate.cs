using System;

namespace Graph.Finetune.Training;

public enum LearningRateShape { Constant, Linear, Cosine }

/// <summary>
/// The learning rate of step s of N (s from 0): peak · (s+1)/W in the W steps of warm-up; then, with p = (s−W)/(N−W), peak · 1 (constant), peak · (1−p) (linear) or peak · (1+cos πp)/2 (cosine).
/// The first step after the warm-up has the peak; the last one is not yet 0, so no step is wasted.
/// </summary>
public sealed record LearningRate(LearningRateShape Shape, double Peak, int Warmup, int Steps)
{
    public double At(int step)
    {
        if (step < Warmup) return Peak * (step + 1) / Warmup;
        var progress = Steps > Warmup ? (double)(step - Warmup) / (Steps - Warmup) : 0;
        return Shape switch
        {
            LearningRateShape.Linear => Peak * (1 - progress),
            LearningRateShape.Cosine => Peak * (1 + Math.Cos(Math.PI * progress)) / 2,
            _ => Peak,
        };
    }
}
