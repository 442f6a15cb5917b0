namespace Graph.Runtime.Cpu;

/// <summary>A traced pointwise function of a raw score q·k or a raw logit, scale included, in natural units.</summary>
public interface IScore
{
    static abstract float Value(float s);
    static abstract void ValueAndDerivative(float s, out float z, out float dz);
}
