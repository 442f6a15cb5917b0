using System;
using System.Collections.Immutable;

namespace Graph.Finetune.Training;

/// <summary>What a person who watches a run sees of it: the last step and what the steps before add up to.</summary>
/// <param name="Loss">Mean of the losses, a step's weight falling by a tenth every two steps.</param>
/// <param name="Curve">That mean after some of the steps, evenly spread, the last one included.</param>
/// <param name="Evaluation">The last one.</param>
/// <param name="Best">The lowest one.</param>
/// <param name="Pace">Milliseconds of a step, evaluations and saves included; 0 before the first.</param>
public sealed record RunProgress(StepReport? Last, SmoothedLoss Loss, ImmutableList<double> Curve, (int Step, double Loss)? Evaluation, (int Step, double Loss)? Best,
    int Skipped, double Pace)
{
    /// <summary>Points of the curve at most; of more, every second one goes and from then on only every second step makes one.</summary>
    const int MostPoints = 120;

    int every = 1, steps;
    double milliseconds;

    public static RunProgress None { get; } = new(null, SmoothedLoss.None, [], null, null, 0, 0);

    public RunProgress After(StepReport report)
    {
        var loss = Loss.After(report.Loss);
        var (count, curve, step) = (steps + 1, Curve, every);
        if (count % step == 0 && double.IsFinite(loss.Value)) curve = curve.Add(loss.Value);
        if (curve.Count > MostPoints) (curve, step) = ([.. Half(curve)], step * 2);
        // The first step of a start has what is made ready once.
        var time = count == 1 ? 0 : milliseconds + report.Milliseconds;
        var evaluation = report.EvaluationLoss is { } e ? (report.Step, e) : Evaluation;
        var best = report.EvaluationLoss is { } now && now < (Best?.Loss ?? double.PositiveInfinity) ? (report.Step, now) : Best;
        return new RunProgress(report, loss, curve, evaluation, best, Skipped + (report.Skipped ? 1 : 0), count == 1 ? report.Milliseconds
            : time / (count - 1)) { every = step, steps = count, milliseconds = time };
    }

    /// <summary>What is left until the last step.</summary>
    public TimeSpan Left(int steps) => Last is null ? TimeSpan.Zero : TimeSpan.FromMilliseconds(Pace * (steps - Last.Step));

    static System.Collections.Generic.IEnumerable<double> Half(ImmutableList<double> curve)
    {
        for (var i = 1; i < curve.Count; i += 2) yield return curve[i];
    }
}

/// <summary>Σ βⁿ⁻ⁱ·lossᵢ / Σ βⁿ⁻ⁱ with β = 0.95: about the last twenty steps. A loss that is not finite is left out.</summary>
public readonly record struct SmoothedLoss(double Sum, double Weight)
{
    const double Beta = 0.95;

    public static SmoothedLoss None => default;

    /// <summary>NaN before the first.</summary>
    public double Value => Sum / Weight;

    public SmoothedLoss After(double loss) => double.IsFinite(loss) ? new(Beta * Sum + loss, Beta * Weight + 1) : this;
}
