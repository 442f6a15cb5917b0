using System.Collections.Generic;

namespace Graph.Runtime.Execution;

/// <summary>AdamW's constants, as torch.optim.AdamW names them. Clip: largest gradient norm, 0 for no clipping.</summary>
public sealed record AdamOptions(double Beta1 = 0.9, double Beta2 = 0.999, double Epsilon = 1e-8, double WeightDecay = 0.01, double Clip = 1.0);

/// <summary>What one optimizer step did. Loss: mean over the labels of all its micro-batches. Skipped: the gradient norm was not finite and nothing changed.</summary>
public sealed record StepResult(double Loss, double GradientNorm, bool Skipped, double Milliseconds);

/// <summary>One moment of a matrix as the optimizer stores it, row-major.</summary>
public abstract record MomentState;

public sealed record Fp32Moment(float[] Values) : MomentState;

/// <summary>Codes of <see cref="Optimizers.DynamicMap"/>, one an element, and the scale of each block of them.</summary>
public sealed record Block8Moment(byte[] Codes, float[] Scales) : MomentState;

/// <summary>A matrix of an adapter, fp32 row-major, with its moments.</summary>
public sealed record MatrixState(float[] Master, MomentState FirstMoment, MomentState SecondMoment);

/// <summary>A [Rank, In] and B [Out, Rank] of one linear.</summary>
public sealed record AdapterState(string Linear, int Rank, MatrixState A, MatrixState B);

/// <summary>Everything that training changes, as one value.</summary>
/// <param name="Step">Optimizer updates done.</param>
/// <param name="DataPosition">Micro-batches taken from the data so far.</param>
public sealed record TrainState(int Step, int Seed, long DataPosition, IReadOnlyList<AdapterState> Adapters);
