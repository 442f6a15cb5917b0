using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Finetune.Data;

/// <summary>Lengths of documents and how well they fill micro-batches.</summary>
/// <param name="Lengths">Tokens of each document, sorted.</param>
/// <param name="MicroBatches">That they are packed into.</param>
/// <param name="BatchTokens">Tokens of one.</param>
/// <param name="PackedTokens">Tokens of documents in them.</param>
public sealed record DataStatistics(IReadOnlyList<int> Lengths, long MicroBatches, int BatchTokens, long PackedTokens)
{
    /// <summary>The part of the micro-batches' tokens that are documents'.</summary>
    public double Efficiency => MicroBatches == 0 ? 0 : PackedTokens / ((double)MicroBatches * BatchTokens);

    public double Mean => Lengths.Count == 0 ? 0 : Lengths.Average();

    /// <summary>The length that a part of the documents does not exceed.</summary>
    public int Percentile(double part) => Lengths.Count == 0 ? 0 : Lengths[Math.Clamp((int)Math.Ceiling(part * Lengths.Count) - 1, 0, Lengths.Count - 1)];

    /// <summary>Documents of From to To tokens, by powers of two, from the shortest document's on.</summary>
    public IEnumerable<(int From, int To, int Count)> Histogram()
    {
        if (Lengths.Count == 0) yield break;
        for (var from = 1; from <= Lengths[^1]; from *= 2)
        {
            if (2 * from > Lengths[0]) yield return (from, 2 * from - 1, Lengths.Count(l => l >= from && l < 2 * from));
        }
    }
}
