namespace Graph.Finetune.Runs;

/// <summary>What the evaluations of a run have shown so far.</summary>
/// <param name="BestStep">Step with the lowest loss, the first of equal ones; 0: there was no finite loss.</param>
/// <param name="SinceBest">Evaluations since then.</param>
public sealed record EvaluationState(int BestStep, double BestLoss, int SinceBest)
{
    public static EvaluationState None { get; } = new(0, double.PositiveInfinity, 0);

    /// <summary>After one more evaluation. A loss that is not finite is no improvement.</summary>
    public EvaluationState After(int step, double loss) => double.IsFinite(loss) && loss < BestLoss ? new EvaluationState(step, loss, 0) : this with { SinceBest = SinceBest + 1 };
}
