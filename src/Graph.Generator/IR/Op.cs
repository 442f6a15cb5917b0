using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.Schedules;

namespace Graph.Generator.IR;

/// <summary>
/// A shape or dtype does not fit, or no pass can compile it; the message is a sentence with the values. Reported on the user's line: while tracing on the call,
/// from a pass on the op that
/// <paramref name="origin"/> numbers in the trace (<see cref="Node.Origin"/>; -1: on the class).
/// </summary>
public sealed class ShapeError(string message, int origin = -1) : Exception(message)
{
    public int Origin => origin;
}

/// <summary>
/// An operation; its attributes are the fields of the derived record. One file per op holds its inference,
/// its adjoint (in other ops), its lowering, and an fp64 reference in plain loops.
/// </summary>
public abstract record Op(string Name)
{
    /// <exception cref="ShapeError">The inputs do not fit.</exception>
    public abstract TensorType Infer(IReadOnlyList<TensorType> inputs);

    /// <summary>
    /// Appends the gradient of every input for which <paramref name="needed"/> is set; others stay null.
    /// <paramref name="y"/> is the node in the builder's graph, <paramref name="dy"/> its gradient.
    /// </summary>
    public virtual int?[] Adjoint(GraphBuilder g, Node y, int dy, bool[] needed) =>
        throw new InvalidOperationException(Name + ": has no adjoint, but a trainable parameter lies behind it");

    /// <summary>Rewrites a composite op into primitives; null for a primitive.</summary>
    public virtual int? Expand(GraphBuilder g, IReadOnlyList<int> inputs) => null;

    /// <summary>The result in fp64 by plain loops: what tests compare kernels and adjoints with. Row-major; T and ranks come from <paramref name="sizes"/>.</summary>
    public abstract double[] Reference(ReferenceSizes sizes, IReadOnlyList<TensorType> types, IReadOnlyList<double[]> inputs);

    /// <summary>Attributes for the .graph text, for example "eps=1E-06".</summary>
    public virtual string Attributes => "";

    protected ShapeError Error(string what) => new(Name + ": " + what);

    protected void Expect(IReadOnlyList<TensorType> inputs, int count)
    {
        if (inputs.Count != count) throw Error("takes " + count + " tensors but got " + inputs.Count);
    }
}

/// <summary>The sizes behind T and ranks while a reference runs, and the step inputs that some ops read beside their operands.</summary>
public sealed record ReferenceSizes(int Tokens, int Rank, int[] Positions, int[] DocStart, double LoraScale = 1)
{
    public double Scale(ScaleFactor scale) => scale.Constant * Math.Pow(LoraScale, scale.LoraScales);
    public int Of(Dim dim) => dim.IsTokens ? Tokens : dim.IsRank ? Rank * dim.Size : dim.Size;
    public int Count(TensorType type) => type.Shape.Aggregate(1, (n, d) => n * Of(d));
    public int Columns(TensorType type) => type.Shape.Skip(1).Aggregate(1, (n, d) => n * Of(d));
}
