using System.Numerics;

namespace Graph.Runtime.Cpu;

/// <summary>
/// A traced pointwise function, lane by lane: of a raw score q·k, scale included, in natural units, with the distance q − k ≥ 0 of its tokens and the query head's number;
/// or of a raw logit, with both 0. It is also called for pairs that are not visible (distance below 0); what it gives there is dropped.
/// </summary>
public interface IScore
{
    static abstract Vector<float> Value(Vector<float> s, Vector<float> distance, float head);

    /// <summary>The value z and its derivative with respect to s.</summary>
    static abstract void ValueAndDerivative(Vector<float> s, Vector<float> distance, float head, out Vector<float> z, out Vector<float> dz);
}
