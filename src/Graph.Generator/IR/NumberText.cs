using System.Globalization;

namespace Graph.Generator.IR;

/// <summary>Numbers as source text: invariant, round-trip, and the same in C# and CUDA C.</summary>
public static class NumberText
{
    /// <summary>An fp32 literal, for example 0.0625f or 72.134750f: nine digits identify every float.</summary>
    public static string Float(double value)
    {
        var text = ((float)value).ToString("G9", CultureInfo.InvariantCulture);
        return text.IndexOfAny(new[] { '.', 'E', 'N', 'I' }) < 0 ? text + ".0f" : text + "f";
    }

    public static string Int(int value) => value.ToString(CultureInfo.InvariantCulture);
}
