using System;
using System.Collections.Generic;
using System.Threading.Tasks;

namespace Graph.Runtime.Cpu;

/// <summary>
/// Gradients of weights that are no products, argument for argument the kernels of token_sum.cu and
/// embedding_gradient.cu. Both add to what is there; the order of sums depends on no thread.
/// </summary>
public static unsafe class CpuGradients
{
    const int Width = 64;

    /// <summary>d f32[columns]; x [rows, heads · columns].</summary>
    public static void TokenSum(ReadOnlySpan<CpuView> a, int rows, int columns, int heads)
    {
        CpuView d = a[0], x = a[1];
        Parallel.For(0, (columns + Width - 1) / Width, part =>
        {
            var (first, count) = (part * Width, Math.Min(Width, columns - part * Width));
            Span<double> sums = stackalloc double[Width];
            sums.Clear();
            for (var t = 0; t < rows; t++)
                for (var head = 0; head < heads; head++)
                {
                    float* from = x.Row(t) + head * columns + first;
                    for (var c = 0; c < count; c++) sums[c] += from[c];
                }
            for (var c = 0; c < count; c++) d.Floats[first + c] += (float)sums[c];
        });
    }

    /// <summary>d f32[vocabulary, columns]; dy [rows, columns]; ids i32[rows].</summary>
    public static void Embedding(ReadOnlySpan<CpuView> a, int rows, int columns)
    {
        CpuView d = a[0], dy = a[1], ids = a[2];
        var tokens = new Dictionary<int, List<int>>();
        for (var t = 0; t < rows; t++)
        {
            if (!tokens.TryGetValue(ids.Ints[t], out var list)) tokens[ids.Ints[t]] = list = [];
            list.Add(t);
        }
        Parallel.ForEach(tokens, id =>
        {
            float* to = d.Row(id.Key);
            for (var c = 0; c < columns; c++)
            {
                double sum = 0;
                foreach (var t in id.Value) sum += dy.Row(t)[c];
                to[c] += (float)sum;
            }
        });
    }
}
