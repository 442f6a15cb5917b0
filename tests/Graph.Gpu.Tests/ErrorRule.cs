using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;

namespace Graph.Gpu.Tests;

/// <summary>
/// Errors of one output. Relative: L2 of the error by L2 of the reference. OfAllowed: how much of the allowed error it is, the worse of L2 and largest element; above 1 fails.
/// </summary>
readonly record struct Errors(double Relative, double OfAllowed, string Where);

/// <summary>
/// error ≤ factor × error of a composition of the same math in 16 bits, in L2 and in the largest element; the factor is 2 for outputs and 3 for gradients.
/// A composition is the fp32 reference run on inputs that were disturbed by up to 3/4 of a unit roundoff
/// (a program that stores between its ops rounds at least once more than a fused kernel), with scores
/// and logits rounded to 11 bits (which is what tanh.approx gives), and its outputs rounded once. The least error of all is that of rounding the reference itself.
/// fp32 sums in another order may differ by 4e-6 of the output's size.
/// </summary>
static class ErrorRule
{
    const double Fp32Order = 4e-6;

    /// <exception cref="CheckException">A value is not finite where the reference is.</exception>
    internal static Errors Of(string name, float[] reference, IReadOnlyList<float[]> compositions, float[] got, int factor, bool elem, int columns)
    {
        var (l2, max, at) = Distance(reference, got, false, name, columns);
        double l2Allowed = 0, maxAllowed = 0;
        foreach (var composition in compositions.Prepend(reference))
        {
            var (l2Other, maxOther, _) = Distance(reference, composition, elem, name + " (composition)", columns);
            (l2Allowed, maxAllowed) = (Math.Max(l2Allowed, l2Other), Math.Max(maxAllowed, maxOther));
        }
        var (size, largest, _) = Distance(reference, null, false, name, columns);
        l2Allowed = factor * l2Allowed + Fp32Order * size + 1e-30;
        maxAllowed = factor * maxAllowed + Fp32Order * largest + 1e-30;
        var share = Math.Max(l2 / l2Allowed, max / maxAllowed);
        return new Errors(size > 0 ? l2 / size : 0, share,
            $"{name}: L2 {l2:G3} of {l2Allowed:G3} allowed, largest {max:G3} of {maxAllowed:G3} at [{at / columns},{at % columns}] "
                + $"where {got[at]:G5} should be {reference[at]:G5}");
    }

    /// <summary>Distance to other values (null: zeros), which are rounded first if <paramref name="round"/>.</summary>
    static (double L2, double Max, int At) Distance(float[] reference, float[]? other, bool round, string name, int columns)
    {
        const int piece = 1 << 16;
        var parts = new (double Squares, double Max, int At, int Bad)[(reference.Length + piece - 1) / piece];
        Parallel.For(0, parts.Length, p =>
        {
            double squares = 0, max = 0;
            int at = 0, bad = -1;
            for (var i = p * piece; i < Math.Min(reference.Length, (p + 1) * piece); i++)
            {
                var value = other is null ? 0 : round ? Elem.Round(other[i]) : other[i];
                var error = Math.Abs((double)value - reference[i]);
                if (!double.IsFinite(error) && bad < 0) bad = i;
                squares += error * error;
                if (error > max) (max, at) = (error, i);
            }
            parts[p] = (squares, max, at, bad);
        });
        if (parts.Where(p => p.Bad >= 0).Select(p => p.Bad).DefaultIfEmpty(-1).First() is >= 0 and var wrong)
            throw new CheckException($"{name}[{wrong / columns},{wrong % columns}] is {other?[wrong]}, it should be {reference[wrong]:G5}");
        var worst = parts.DefaultIfEmpty().MaxBy(p => p.Max);
        return (Math.Sqrt(parts.Sum(p => p.Squares)), worst.Max, worst.At);
    }
}
