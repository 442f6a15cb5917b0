using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// How a rotary embedding reaches beyond the positions that a model was trained on: other frequencies than f_i = 1/θ^(2i/D), and with YaRN a factor of sine and
/// cosine. Everything is fp32 in the order of transformers (modeling_rope_utils.py, 5.0), but powers, which are double and rounded once.
/// </summary>
public abstract record RopeScaling
{
    /// <summary>f32[D/2 + 1], as the kernels read it: frequencies, then the factor.</summary>
    /// <param name="longest">Tokens of the longest document of the run; only <see cref="DynamicRope"/> depends on it.</param>
    public float[] Table(double theta, int headDim, int longest)
    {
        var (frequencies, factor) = Scale(theta, headDim, longest);
        return [.. frequencies, factor];
    }

    protected abstract (float[] Frequencies, float Factor) Scale(double theta, int headDim, int longest);

    /// <summary>All tables of a plan, with the names of their tensors.</summary>
    public static IEnumerable<(string Name, float[] Table)> Tables(ExecutionPlan plan) =>
        from tensor in plan.Shapes.Schedule.Tensors
        where tensor.Kind == TensorKind.RopeTable
        let scaling = plan.Options.Ropes.GetValueOrDefault(tensor.Name) ?? Unscaled
        select (tensor.Name, scaling.Table(tensor, plan.Options.LongestDocument ?? plan.Options.Tokens));

    public static RopeScaling Unscaled { get; } = new LinearRope(1);

    /// <summary>Of a tensor of kind <see cref="TensorKind.RopeTable"/>.</summary>
    public float[] Table(ScheduleTensor tensor, int longest) => Table(tensor.Rope!.Theta, 2 * (tensor.Dims[0].Fixed - 1), longest);

    /// <summary>θ^(2i/D).</summary>
    protected static float[] Periods(double theta, int headDim) => [.. Enumerable.Range(0, headDim / 2).Select(i => (float)Math.Pow(theta, 2.0 * i / headDim))];
}

/// <summary>Positions divided by a factor: f_i / Factor. Factor 1 is the embedding as it is.</summary>
public sealed record LinearRope(double Factor) : RopeScaling
{
    protected override (float[] Frequencies, float Factor) Scale(double theta, int headDim, int longest) => ([.. Periods(theta, headDim).Select(p => 1 / p / (float)Factor)], 1);
}

/// <summary>
/// "NTK-aware": a larger θ for documents longer than the model was trained on, θ · (Factor · L / MaxPositions − (Factor − 1))^(D / (D − 2)) with L = max(longest,
/// MaxPositions). transformers takes L from each batch; a run has one, that of the longest document which it may meet.
/// </summary>
public sealed record DynamicRope(double Factor, int MaxPositions) : RopeScaling
{
    protected override (float[] Frequencies, float Factor) Scale(double theta, int headDim, int longest)
    {
        var stretched = Factor * Math.Max(longest, MaxPositions) / MaxPositions - (Factor - 1);
        return ([.. Periods(theta * Math.Pow(stretched, headDim / (headDim - 2.0)), headDim).Select(p => 1 / p)], 1);
    }
}

/// <summary>
/// YaRN (arXiv 2309.00071): pairs that turn more than BetaFast times in OriginalPositions keep their frequency, those that turn less than BetaSlow times have it
/// divided by Factor, and between the two it is blended along a ramp. Truncate: the ramp's ends are whole pairs. Sine and cosine are multiplied by AttentionFactor.
/// </summary>
public sealed record YarnRope(double Factor, double OriginalPositions, double AttentionFactor, double BetaFast = 32, double BetaSlow = 1, bool Truncate = true) : RopeScaling
{
    protected override (float[] Frequencies, float Factor) Scale(double theta, int headDim, int longest)
    {
        double low = Pair(BetaFast), high = Pair(BetaSlow);
        if (Truncate) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        (low, high) = (Math.Max(low, 0), Math.Min(high, headDim - 1));
        if (low == high) high += 0.001;
        return ([.. Periods(theta, headDim).Select((period, i) =>
        {
            var kept = 1 - Math.Clamp((float)(i - (float)low) / (float)(high - low), 0, 1);
            return 1 / ((float)Factor * period) * (1 - kept) + 1 / period * kept;
        })], (float)AttentionFactor);

        // The pair, as a fraction, that turns so often.
        double Pair(double turns) => headDim * Math.Log(OriginalPositions / (turns * 2 * Math.PI)) / (2 * Math.Log(theta));
    }
}

/// <summary>
/// Llama 3.1: wavelengths above OriginalPositions / LowFrequency are stretched by Factor, those below
/// OriginalPositions / HighFrequency stay, and between the two they are blended.
/// </summary>
public sealed record Llama3Rope(double Factor, double LowFrequency, double HighFrequency, double OriginalPositions) : RopeScaling
{
    protected override (float[] Frequencies, float Factor) Scale(double theta, int headDim, int longest) => ([.. Periods(theta, headDim).Select(period =>
    {
        float f = 1 / period, wavelength = (float)(2 * Math.PI) / f;
        if (wavelength < OriginalPositions / HighFrequency) return f;
        if (wavelength > OriginalPositions / LowFrequency) return f / (float)Factor;
        var smooth = ((float)OriginalPositions / wavelength - (float)LowFrequency) / (float)(HighFrequency - LowFrequency);
        return (1 - smooth) * f / (float)Factor + smooth * f;
    })], 1);
}
