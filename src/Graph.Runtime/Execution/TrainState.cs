using System.Collections.Generic;

namespace Graph.Runtime.Execution;

/// <summary>
/// What the loss is multiplied by before the backward, so that small gradients are not 0 in fp16; divided out again in fp32 before norm, clip and update. As
/// torch.amp.GradScaler: the scale halves with every step whose gradient is not finite, and doubles after <paramref name="GrowthSteps"/> others in a row.
/// </summary>
/// <param name="Start">A power of two.</param>
/// <param name="GrowthSteps">0: the scale stays.</param>
public sealed record LossScaling(float Start = 65536, int GrowthSteps = 2000)
{
    public static LossScaling None { get; } = new(1, 0);
}

/// <summary>
/// AdamW's constants, as torch.optim.AdamW names them. Clip: largest gradient norm, 0 for no clipping. LoraPlus: learning rate of B as a
/// multiple of A's. Scaling: null is <see cref="LossScaling"/>'s own values where activations are fp16, else none.
/// </summary>
public sealed record AdamOptions(double Beta1 = 0.9, double Beta2 = 0.999, double Epsilon = 1e-8, double WeightDecay = 0.01,
    double Clip = 1.0, LossScaling? Scaling = null, double LoraPlus = 1);

/// <summary>
/// What one optimizer step did. Loss: mean over the labels of all its micro-batches. Skipped: the gradient norm was not finite and no weight or moment changed.
/// LossScale: the one that the step left, 1 where there is none.
/// </summary>
public sealed record StepResult(double Loss, double GradientNorm, bool Skipped, double Milliseconds, double LossScale);

/// <summary>One moment of a matrix as the optimizer stores it, row-major.</summary>
public abstract record MomentState;

public sealed record Fp32Moment(float[] Values) : MomentState;

/// <summary>Codes of <see cref="Optimizers.DynamicMap"/>, one an element, and the scale of each block of them.</summary>
public sealed record Block8Moment(byte[] Codes, float[] Scales) : MomentState;

/// <summary>A matrix that is trained, fp32 row-major, with its moments.</summary>
public sealed record MatrixState(float[] Master, MomentState FirstMoment, MomentState SecondMoment);

/// <summary>A [Rank, In] and B [Out, Rank] of one linear.</summary>
public sealed record AdapterState(string Linear, int Rank, MatrixState A, MatrixState B);

/// <summary>A weight that is trained, by its tensor in the schedule, which may be several of the checkpoint's under each other.</summary>
public sealed record WeightState(string Tensor, MatrixState Matrix);

/// <summary>Everything that training changes, as one value.</summary>
/// <param name="Step">Optimizer updates done.</param>
/// <param name="DataPosition">Micro-batches taken from the data so far.</param>
public sealed record TrainState(int Step, int Seed, long DataPosition, IReadOnlyList<AdapterState> Adapters, LossScaleState LossScale)
{
    /// <summary>Of a variant that trains its weights.</summary>
    public IReadOnlyList<WeightState> Weights { get; init; } = [];
}

/// <summary>Scale: a power of two. GoodSteps: steps since it changed or one was skipped.</summary>
public readonly record struct LossScaleState(float Scale, int GoodSteps);
