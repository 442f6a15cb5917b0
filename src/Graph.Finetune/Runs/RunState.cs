using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Runs;

/// <summary>A run between two steps.</summary>
public sealed record RunState(RunPosition Position, TrainState Train)
{
    const string First = ".exp_avg", Second = ".exp_avg_sq", A = ".lora_A", B = ".lora_B";

    /// <summary>The optimizer's tensors by name: {linear}.lora_A.exp_avg f32 [Rank, In] and exp_avg_sq, and those of lora_B [Out, Rank]. The masters are the adapter's own file.</summary>
    public IReadOnlyList<SafetensorsTensor> OptimizerTensors() =>
    [
        .. Train.Adapters.SelectMany(a => new[] { (Name: a.Linear + A, Matrix: a.A, Rows: a.Rank), (Name: a.Linear + B, Matrix: a.B, Rows: a.B.Master.Length / a.Rank) })
            .SelectMany(m => new[] { (Name: m.Name + First, Values: m.Matrix.FirstMoment, m.Rows), (Name: m.Name + Second, Values: m.Matrix.SecondMoment, m.Rows) })
            .Select(t => SafetensorsTensor.Of(t.Name, t.Values, t.Rows, t.Values.Length / t.Rows)),
    ];

    /// <exception cref="InputException">A tensor is missing, is left over, or has another shape than its adapter.</exception>
    public static RunState Of(RunPosition position, int updates, int seed, AdapterFile adapter, SafetensorsFile optimizer)
    {
        var adapters = adapter.Modules.Select(m => new AdapterState(m.Linear, m.Rank, Matrix(m.Linear + A, m.A, m.Rank), Matrix(m.Linear + B, m.B, m.B.Length / m.Rank))).ToArray();
        if (optimizer.Tensors.Count != 4 * adapters.Length) throw new InputException($"{optimizer.Path} has {optimizer.Tensors.Count} tensors, but {adapters.Length} adapters have {4 * adapters.Length} moments; it is of another run.");
        return new RunState(position, new TrainState(updates, seed, position.DataPosition, adapters));

        MatrixState Matrix(string name, float[] master, int rows) => new(master, Moment(name + First, master.Length, rows), Moment(name + Second, master.Length, rows));

        float[] Moment(string name, int count, int rows)
        {
            if (!optimizer.Tensors.TryGetValue(name, out var entry)) throw new InputException($"{optimizer.Path} lacks the tensor {name}; it is of another run.");
            if (entry.DType != "F32" || entry.Shape is not [var r, var c] || r != rows || r * c != count)
                throw new InputException($"{optimizer.Path}: {name} is {entry.DType}[{string.Join(",", entry.Shape)}] but must be F32[{rows},{count / rows}]; it is of another run.");
            var values = new float[count];
            optimizer.Read(entry, 0, MemoryMarshal.AsBytes(values.AsSpan()));
            return values;
        }
    }
}
