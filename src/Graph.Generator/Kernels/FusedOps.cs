using System.Globalization;
using Graph.Generator.IR;

namespace Graph.Generator.Kernels;

/// <summary>
/// What is read and written for one token: elements of the activation type, and fp32 or i32 numbers. Vectors that all tokens share are not counted. Of rows of a
/// rank: for one of its columns.
/// </summary>
public readonly record struct Traffic(int Elements, int Numbers)
{
    public static Traffic operator +(Traffic a, Traffic b) => new(a.Elements + b.Elements, a.Numbers + b.Numbers);

    /// <summary>On CUDA, where an element has 2 bytes.</summary>
    public int Bytes => Elements * 2 + Numbers * 4;
}

/// <summary>What a launch was fused of, for the header of its kernel.</summary>
/// <param name="Ops">The traced ops in words, in order: "RMSNorm norm", "residual sum", "gradient of GELU".</param>
/// <param name="Kept">Which values pass from one op to another and are not stored, as the end of a sentence; empty: none.</param>
/// <param name="Apart">What a kernel for each op would read and write.</param>
/// <param name="Lines">The ops as lines of a graph's text.</param>
public sealed record FusedOps(EquatableArray<string> Ops, string Kept, Traffic Apart, EquatableArray<string> Lines)
{
    /// <summary>A kernel that no graph was fused to.</summary>
    public static readonly FusedOps None = OfLines();

    /// <summary>A launch that is one op.</summary>
    public static FusedOps OfLines(params string[] lines) => new(default, "", default, lines);

    /// <summary>The ops as the beginning of a sentence.</summary>
    public string Words
    {
        get
        {
            if (Ops.Count == 0) return "Row values";
            var words = string.Join(" + ", Ops);
            return char.ToUpperInvariant(words[0]) + words.Substring(1);
        }
    }

    /// <summary>1 head, 2 heads.</summary>
    internal static string Count(int count, string noun) => Number(count) + " " + noun + (count == 1 ? "" : "s");

    /// <summary>12,345: numbers as sentences have them.</summary>
    internal static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
