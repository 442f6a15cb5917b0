namespace Graph.Dsl;

/// <summary>
/// A value of the traced graph. It has a place in the trace and no numbers:
/// shapes and dtypes are the generator's business, which reports what does not fit on the line that wrote it.
/// The operators are element by element in fp32. They broadcast scalars; [H] along [T,H]; [T,1], one value per token, along [T,H] and [T,N,D]; [T,N,1], one value per head
/// and token, [D], [N,D] and [N,1]
/// along [T,N,D]. Errors: GRAPH003 where two shapes do not broadcast.
/// Comparing tensors, or branching on one, is an error (GRAPH006, GRAPH002): nothing is known of it while tracing.
/// </summary>
public sealed class Tensor
{
    internal Tensor(int id) => Id = id;

    /// <summary>The op's number in the trace.</summary>
    public int Id { get; }

    /// <summary>A number as a scalar, fp32.</summary>
    [Op("const")] public static implicit operator Tensor(double value) => Recorder.Add("const", [], ("value", value));

    /// <summary>a + b.</summary>
    [Op("add")] public static Tensor operator +(Tensor a, Tensor b) => Recorder.Add("add", [a, b]);

    /// <summary>a − b.</summary>
    [Op("sub")] public static Tensor operator -(Tensor a, Tensor b) => Recorder.Add("sub", [a, b]);

    /// <summary>a · b, element by element.</summary>
    [Op("mul")] public static Tensor operator *(Tensor a, Tensor b) => Recorder.Add("mul", [a, b]);

    /// <summary>a / b, element by element.</summary>
    [Op("div")] public static Tensor operator /(Tensor a, Tensor b) => Recorder.Add("div", [a, b]);

    /// <summary>−x.</summary>
    [Op("neg")] public static Tensor operator -(Tensor x) => Recorder.Add("neg", [x]);
}
