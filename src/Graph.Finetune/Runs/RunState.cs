using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Graph.Runtime.Optimizers;

namespace Graph.Finetune.Runs;

/// <summary>A run between two steps.</summary>
public sealed record RunState(RunPosition Position, TrainState Train)
{
    /// <summary>What decides when it ends and which checkpoint is the best.</summary>
    public EvaluationState Evaluations { get; init; } = EvaluationState.None;

    /// <summary>The last step, where its evaluation was due and is still to be done: a signal or a fault came while it ran. Null: nothing is owed.</summary>
    public StepReport? Owed { get; init; }

    const string First = ".exp_avg", Second = ".exp_avg_sq", A = ".lora_A", B = ".lora_B", Scales = ".absmax";

    /// <summary>
    /// The optimizer's tensors by name: {linear}.lora_A.exp_avg f32 [Rank, In] and exp_avg_sq, and those of lora_B [Out, Rank];
    /// as 8-bit codes they are u8, beside f32 [blocks] of the name with .absmax.
    /// Of trained weights they are {tensor of the schedule}.exp_avg and exp_avg_sq, of one dimension. The masters are files of their own.
    /// </summary>
    public IReadOnlyList<SafetensorsTensor> OptimizerTensors() =>
    [
        .. Train.Adapters.SelectMany(a => new[] { (Name: a.Linear + A, Matrix: a.A, Rows: a.Rank), (Name: a.Linear + B, Matrix: a.B, Rows: a.B.Master.Length / a.Rank) })
            .SelectMany(m => new[] { (Name: m.Name + First, Moment: m.Matrix.FirstMoment, m.Rows), (Name: m.Name + Second, Moment: m.Matrix.SecondMoment, m.Rows) })
            .SelectMany(t => Tensors(t.Name, t.Moment, t.Rows)),
        .. Train.Weights.SelectMany(w => new[] { (Name: w.Tensor + First, Moment: w.Matrix.FirstMoment), (Name: w.Tensor + Second, Moment: w.Matrix.SecondMoment) })
            .SelectMany(t => (SafetensorsTensor[])(t.Moment switch
        {
            Fp32Moment fp32 => [new TrainedTensor(t.Name, [fp32.Values.Length], StoredType.F32, fp32.Values, 0).As(StoredType.F32)],
            Block8Moment block8 => [new SafetensorsTensor(t.Name, "U8", [block8.Codes.Length], block8.Codes),
                SafetensorsTensor.Of(t.Name + Scales, block8.Scales, block8.Scales.Length)],
            _ => throw new ArgumentException($"run: a moment of type {t.Moment.GetType().Name} cannot be written."),
        })),
    ];

    static SafetensorsTensor[] Tensors(string name, MomentState moment, int rows) => moment switch
    {
        Fp32Moment fp32 => [SafetensorsTensor.Of(name, fp32.Values, rows, fp32.Values.Length / rows)],
        Block8Moment block8 => [new(name, "U8", [rows, block8.Codes.Length / rows], block8.Codes), SafetensorsTensor.Of(name + Scales, block8.Scales, block8.Scales.Length)],
        _ => throw new ArgumentException($"run: a moment of type {moment.GetType().Name} cannot be written."),
    };

    /// <exception cref="InputException">A tensor is missing, is left over, or has another shape than its adapter.</exception>
    public static RunState Of(RunPosition position, int updates, int seed, LossScaleState lossScale, IReadOnlyList<AdapterModule> modules,
        IReadOnlyList<(string Tensor, float[] Values)> masters, SafetensorsFile optimizer)
    {
        var adapters = modules.Select(m => new AdapterState(m.Linear, m.Rank, Matrix(m.Linear + A, m.A, m.Rank), Matrix(m.Linear + B, m.B, m.B.Length / m.Rank))).ToArray();
        var weights = masters.Select(m => new WeightState(m.Tensor, Matrix(m.Tensor, m.Values, 0))).ToArray();
        var expected = adapters.SelectMany(a => new[] { a.A, a.B }).Concat(weights.Select(w => w.Matrix)).SelectMany(m => new[] { m.FirstMoment, m.SecondMoment })
            .Sum(m => m is Block8Moment ? 2 : 1);
        if (optimizer.Tensors.Count != expected)
            throw new InputException($"{optimizer.Path} has {optimizer.Tensors.Count} tensors, "
                + $"but the moments of {adapters.Length} adapters and {weights.Length} weights are {expected}; it is of another run.");
        return new RunState(position, new TrainState(updates, seed, position.DataPosition, adapters, lossScale) { Weights = weights });

        // 0 rows: one dimension.
        static long[] Shape(int count, int rows) => rows == 0 ? [count] : [rows, count / rows];

        MatrixState Matrix(string name, float[] master, int rows) => new(master, Moment(name + First, master.Length, rows), Moment(name + Second, master.Length, rows));

        MomentState Moment(string name, int count, int rows) => optimizer.Tensors.TryGetValue(name, out var entry) && entry.DType == "U8"
            ? new Block8Moment(Read<byte>(name, "U8", Shape(count, rows)), Read<float>(name + Scales, "F32", [(count + DynamicMap.BlockElements - 1) / DynamicMap.BlockElements]))
            : new Fp32Moment(Read<float>(name, "F32", Shape(count, rows)));

        T[] Read<T>(string name, string type, long[] shape) where T : unmanaged
        {
            if (!optimizer.Tensors.TryGetValue(name, out var entry)) throw new InputException($"{optimizer.Path} lacks the tensor {name}; it is of another run.");
            if (entry.DType != type || !entry.Shape.SequenceEqual(shape))
                throw new InputException($"{optimizer.Path}: {name} is {entry.DType}[{string.Join(",", entry.Shape)}] "
                    + $"but must be {type}[{string.Join(",", shape)}]; it is of another run.");
            var values = new T[shape.Aggregate(1L, (n, d) => n * d)];
            ReadWhole(optimizer, entry, values.AsSpan());
            return values;
        }
    }

    /// <summary>A whole tensor, which may have more bytes than a span.</summary>
    internal static void ReadWhole<T>(SafetensorsFile file, SafetensorsEntry entry, Span<T> to) where T : unmanaged
    {
        const int piece = 1 << 26;
        for (var at = 0; at < to.Length; at += piece) file.Read(entry, (long)at * Marshal.SizeOf<T>(), MemoryMarshal.AsBytes(to[at..Math.Min(to.Length, at + piece)]));
    }
}
