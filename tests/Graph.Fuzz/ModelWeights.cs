using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Execution;

namespace Graph.Fuzz;

/// <summary>The weights of a random model as a checkpoint in fp32.</summary>
sealed class ModelWeights(int seed, IReadOnlyDictionary<string, int[]> shapes) : IWeightSource
{
    readonly Dictionary<string, float[]> made = [];

    public StoredTensor Describe(string name) =>
        shapes.TryGetValue(name, out var shape) ? new StoredTensor(StoredType.F32, shape) : throw new KeyNotFoundException($"fuzz: the model has no weight '{name}'.");

    public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
    {
        if (!made.TryGetValue(name, out var values)) made.Add(name, values = Values.Of(seed, name, shapes[name]));
        var columns = shapes[name][^1];
        return MemoryMarshal.AsBytes(values.AsSpan(row * columns, rows * columns));
    }
}
