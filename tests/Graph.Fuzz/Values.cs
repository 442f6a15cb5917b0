using System;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Fuzz;

/// <summary>
/// Weights, adapters, ids and labels of a random model, from its seed and names alone. Linked into the GPU tests, so that a pack holds no weights.
/// All values are bf16 numbers: a run in bf16 or fp32 starts from the same ones (fp16 too, but for the smallest).
/// </summary>
static class Values
{
    /// <summary>
    /// Embedding tables (".embed") have deviation 1, other matrices 1/√columns, so that a linear keeps its input's size; norms and vectors have 0.5. Matrices
    /// of adapters are as matrices, B half of that:
    /// an adapter changes what its linear gives, and neither drowns the other.
    /// </summary>
    public static float[] Of(int seed, string name, params int[] shape)
    {
        var random = new Random(Hash(seed, name));
        var columns = Math.Max(1, shape[^1]);
        var deviation = shape.Length == 1 ? 0.5 : name.EndsWith(".embed", StringComparison.Ordinal) ? 1
            : (name.EndsWith(".lora_B", StringComparison.Ordinal) ? 0.5 : 1) / Math.Sqrt(columns);
        return [.. Enumerable.Range(0, shape.Aggregate(1, (n, d) => n * d)).Select(_ => Bf16((float)(deviation * Normal(random))))];
    }

    /// <summary>Ids and labels of one document.</summary>
    public static (int[] Ids, int[] Labels) Document(int seed, int microBatch, int document, int length, int ids, int labels, double unlabelled)
    {
        var random = new Random(Hash(seed, $"document {microBatch} {document}"));
        var values = Enumerable.Range(0, length).Select(_ => random.Next(ids)).ToArray();
        // The first token of the first document has a label: a step needs one.
        return (values, [.. values.Select((_, t) => random.NextDouble() < unlabelled && (microBatch, document, t) != (0, 0, 0) ? -100 : random.Next(labels))]);
    }

    /// <summary>How rotations of layers of this type are scaled; null: not at all.</summary>
    public static RopeScaling? Rope(string? layers) => layers switch
    {
        null => null,
        "linear" => new LinearRope(3),
        _ => new YarnRope(4, 64, 1.25),
    };

    public static float Bf16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle(bits + 0x7FFF + ((bits >> 16) & 1) & 0xFFFF0000);
    }

    // A string's own hash differs from run to run.
    public static int Hash(int seed, string name) => (int)(name.Aggregate((uint)seed * 2654435761u ^ 2166136261u, (hash, c) => (hash ^ c) * 16777619u) & int.MaxValue);

    // At most 3.5 deviations, so that no single value decides a model.
    static double Normal(Random random)
    {
        while (true)
        {
            var value = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            if (Math.Abs(value) <= 3.5) return value;
        }
    }
}
