using System.Collections.Generic;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// What the head needs beside the schedule's tensors to skip tokens without a label: inputs of a micro-batch that say where the others are,
/// scratch in which those lie one after the other, and the kernels
/// that take them there and back. All of it is asked for by name, like a tensor.
/// </summary>
public static class LabelRows
{
    /// <summary>i32[T]: the tokens that have a label, in order, then -1.</summary>
    public const string Rows = "cross_entropy.label_rows";

    /// <summary>i32[T]: where token t is among them, or -1. A token looks for its row, so that no order of writes matters.</summary>
    public const string Places = "cross_entropy.label_places";

    /// <summary>i32: how many there are. Products read it on the device.</summary>
    public const string Count = "cross_entropy.label_count";

    /// <summary>act[T,H]: x of those tokens, and dX in its place once a chunk's logits exist. Rows beyond the count hold anything.</summary>
    public const string X = "cross_entropy.x";

    /// <summary>i32[T]: their labels, then -1.</summary>
    public const string Labels = "cross_entropy.labels";

    /// <summary>f32[T]: their losses, then 0.</summary>
    public const string Losses = "cross_entropy.losses";

    /// <summary>Arguments: x and labels of those tokens; x, labels, rows. The pitch of rows is the number of columns.</summary>
    public const string Gather = "gather_label_rows";

    /// <summary>Arguments: dX (0: none) and loss of all tokens; dX and losses of those with a label, places. The pitch of places is the number of columns.</summary>
    public const string Scatter = "scatter_label_rows";

    /// <summary>Staged with every micro-batch, in this order behind the schedule's inputs.</summary>
    public static IReadOnlyList<(string Name, int Count)> Inputs(int tokens) => [(Rows, tokens), (Places, tokens), (Count, 1)];

    /// <summary>Scratch of a head beside its logits, in bytes.</summary>
    public static IReadOnlyList<(string Name, long Bytes)> Scratch(Shapes shapes, CrossEntropyLaunch head) =>
    [
        (X, (long)shapes.Tokens * TensorLayout.RowPitch(shapes.Resolve(head.X).Columns) * TensorLayout.Size(ElementType.Act, shapes.Act)), (Labels, 4L * shapes.Tokens),
            (Losses, 4L * shapes.Tokens),
    ];
}
