using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Runtime.Execution;

/// <summary>T tokens as the device reads them. Labels are shifted already: labels[t] is the token after t, or -100. DocStart and DocEnd bound t's document, half-open.</summary>
public sealed record MicroBatch(int[] Ids, int[] Labels, int[] Positions, int[] DocStart, int[] DocEnd)
{
    public int LabelCount => Labels.Count(l => l >= 0);

    /// <summary>Tokens of the longest document.</summary>
    public int LongestDocument => DocStart.Zip(DocEnd, (start, end) => end - start).DefaultIfEmpty().Max();

    /// <summary>Documents side by side; what is left up to <paramref name="tokens"/> are short documents without labels, none longer than the longest document, so that
    /// no position is new.</summary>
    /// <exception cref="ArgumentException">The documents are longer than T, or ids and labels differ in length.</exception>
    public static MicroBatch Pack(int tokens, IReadOnlyList<(int[] Ids, int[] Labels)> documents)
    {
        var batch = new MicroBatch(new int[tokens], new int[tokens], new int[tokens], new int[tokens], new int[tokens]);
        var start = 0;
        foreach (var (ids, labels) in documents)
        {
            if (ids.Length != labels.Length) throw new ArgumentException($"micro-batch: a document has {ids.Length} ids but {labels.Length} labels.");
            if (start + ids.Length > tokens)
                throw new ArgumentException($"micro-batch: documents of {documents.Sum(d => d.Ids.Length)} tokens do not fit in {tokens}; pack fewer.");
            batch.Place(start, start + ids.Length);
            ids.CopyTo(batch.Ids, start);
            labels.CopyTo(batch.Labels, start);
            start += ids.Length;
        }
        Array.Fill(batch.Labels, -100, start, tokens - start);
        var slack = Math.Min(ExecutionPlan.SlackTokens, documents.Select(d => d.Ids.Length).Where(n => n > 0).DefaultIfEmpty(ExecutionPlan.SlackTokens).Max());
        for (; start < tokens; start += slack) batch.Place(start, Math.Min(start + slack, tokens));
        return batch;
    }

    /// <summary>The array of a schedule's input tensor, or of one of <see cref="LabelRows"/>.</summary>
    public int[] this[string input] => input switch
    {
        "ids" => Ids,
        "labels" => Labels,
        "positions" => Positions,
        "doc_start" => DocStart,
        "doc_end" => DocEnd,
        LabelRows.Rows => RowsWithLabel(),
        LabelRows.Places => PlacesAmongThem(),
        LabelRows.Count => [LabelCount],
        _ => throw new ArgumentException($"micro-batch: the schedule asks for an input '{input}'; there are ids, labels, positions, doc_start and doc_end."),
    };

    /// <summary>Pairs of a query and a key that it sees: those of its document up to itself, at most <paramref name="window"/> of them.</summary>
    public long AttendedPairs(int? window) => Positions.Sum(p => Math.Min(p + 1L, window ?? long.MaxValue));

    int[] RowsWithLabel()
    {
        var rows = new int[Labels.Length];
        Array.Fill(rows, -1);
        for (int t = 0, count = 0; t < rows.Length; t++)
            if (Labels[t] >= 0) rows[count++] = t;
        return rows;
    }

    int[] PlacesAmongThem()
    {
        var places = new int[Labels.Length];
        for (int t = 0, count = 0; t < places.Length; t++) places[t] = Labels[t] >= 0 ? count++ : -1;
        return places;
    }

    void Place(int start, int end)
    {
        for (var t = start; t < end; t++) (Positions[t], DocStart[t], DocEnd[t]) = (t - start, start, end);
    }
}
