using System;
using System.Collections.Generic;
using Graph.Runtime.Planning;

namespace Graph.Runtime.Cpu;

/// <summary>Rows of tokens with a label there and back, argument for argument the kernels of label_rows.cu (<see cref="LabelRows"/>).</summary>
static unsafe class CpuLabelRows
{
    public static Dictionary<string, CpuKernelEntry> Kernels() => new()
    {
        [LabelRows.Gather] = new(Gather, true),
        [LabelRows.Scatter] = new(Scatter, true),
    };

    // rows of x, labels; x of all tokens, labels of all tokens, tokens (pitch: columns)
    static void Gather(ReadOnlySpan<CpuView> a, int rows)
    {
        for (var i = 0; i < rows; i++)
        {
            var token = a[4].Ints[i];
            a[1].Ints[i] = token < 0 ? -1 : a[3].Ints[token];
            if (token >= 0) Row(a[2].Row(token), a[4].Pitch).CopyTo(Row(a[0].Row(i), a[4].Pitch));
        }
    }

    // dX (null: none), loss of all tokens; rows of dX, losses, places (pitch: columns)
    static void Scatter(ReadOnlySpan<CpuView> a, int rows)
    {
        for (var t = 0; t < rows; t++)
        {
            var place = a[4].Ints[t];
            a[1].Floats[t] = place < 0 ? 0 : a[3].Floats[place];
            if (a[0].Floats == null) continue;
            var to = Row(a[0].Row(t), a[4].Pitch);
            if (place < 0) to.Clear();
            else Row(a[2].Row(place), a[4].Pitch).CopyTo(to);
        }
    }

    static Span<float> Row(float* row, int columns) => new(row, columns);
}
