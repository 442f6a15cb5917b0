using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Data;

/// <summary>A line that cannot be used. Line: in its block, from 1. Rest: the sentence after the file and the line's number.</summary>
public sealed record LineFault(int Line, string Rest);

/// <summary>What was counted over lines.</summary>
/// <param name="Lines">That hold an example.</param>
/// <param name="TooLong">Of them longer than --seq.</param>
/// <param name="TooLongTokens">Tokens of those.</param>
/// <param name="KeptTokens">Tokens that they still have.</param>
/// <param name="Examples">Left after the long ones were dropped, cut or split.</param>
/// <param name="Silent">Examples without a label.</param>
public sealed record DataCounts(long Lines, long TooLong, long TooLongTokens, long KeptTokens, long Examples, long Silent, long Tokens, long Labels)
{
    public static DataCounts None { get; } = new(0, 0, 0, 0, 0, 0, 0, 0);

    public static DataCounts operator +(DataCounts a, DataCounts b) =>
        new(a.Lines + b.Lines, a.TooLong + b.TooLong, a.TooLongTokens + b.TooLongTokens, a.KeptTokens + b.KeptTokens, a.Examples + b.Examples,
            a.Silent + b.Silent, a.Tokens + b.Tokens, a.Labels + b.Labels);

    /// <summary>What was left out or cut, and what teaches nothing, as sentences.</summary>
    /// <param name="firstSilent">Where the first example without a label is, if that is known.</param>
    public IEnumerable<string> Sentences(int? seq, OverLength overLength, string? firstSilent)
    {
        if (TooLong > 0)
        {
            var (they, became) = overLength switch
            {
                OverLength.Drop => ("were dropped", ""),
                OverLength.Truncate => ("were truncated", ""),
                _ => ("were split", $" into {Examples - Lines + TooLong} documents"),
            };
            yield return $"{TooLong} of {Lines} lines are longer than --seq {seq} and {they}{became}" + (TooLongTokens > KeptTokens
                ? $": {TooLongTokens - KeptTokens} of their {TooLongTokens} tokens are left out" : "");
        }
        if (Silent > 0) yield return $"{Silent} of {Examples} examples have no label and teach nothing{(firstSilent is null ? "" : $"; the first is {firstSilent}")}";
    }
}

/// <summary>The examples of a block, and what is wrong in it.</summary>
public sealed record DataBlock(IReadOnlyList<Example> Examples, IReadOnlyList<LineFault> Faults, DataCounts Counts)
{
    /// <summary>Parses and tokenizes lines; their lengths and ids are not looked at yet.</summary>
    internal static (IReadOnlyList<Example> Examples, IReadOnlyList<LineFault> Faults) Parse(ReadOnlyMemory<byte> lines, LineParser parser)
    {
        var (examples, faults) = (new List<Example>(), new List<LineFault>());
        foreach (var (line, bytes) in JsonLinesFile.Lines(lines))
        {
            try
            {
                using var fields = LineParser.Object(bytes);
                examples.Add(parser.Parse(line, fields.RootElement));
            }
            catch (LineException e)
            {
                faults.Add(new LineFault(line, e.Message));
            }
        }
        return (examples, faults);
    }

    /// <summary>Holds examples against the model's tables and the longest document.</summary>
    public static DataBlock Of(IReadOnlyList<Example> parsed, IReadOnlyList<LineFault> faults, DataOptions options)
    {
        var (examples, wrong) = (new List<Example>(parsed.Count), new List<LineFault>(faults));
        var (tooLong, tooLongTokens, keptTokens) = (0L, 0L, 0L);
        foreach (var example in parsed)
        {
            if ((EmbeddingTables.Fault(options.Tables, "ids", example.Ids) ?? EmbeddingTables.Fault(options.Tables, "labels", example.Labels)) is { } noRow)
            {
                wrong.Add(new LineFault(example.Line, $"has {noRow}."));
                continue;
            }
            if (example.Ids.Length <= (options.MaxTokens ?? int.MaxValue))
            {
                examples.Add(example);
                continue;
            }
            var most = options.MaxTokens!.Value;
            if (options.OverLength == OverLength.Error)
            {
                wrong.Add(new LineFault(example.Line,
                    $"has {example.Ids.Length} tokens but --seq is {most}; "
                        + "raise --seq, shorten the line, choose --over-length drop, truncate or split, or cut all lines into rows with --concat."));
                continue;
            }
            Example[] parts = options.OverLength switch
            {
                OverLength.Drop => [],
                OverLength.Truncate => [Part(example, 0, most)],
                _ => [.. Enumerable.Range(0, (example.Ids.Length + most - 1) / most).Select(i => Part(example, i * most, Math.Min(example.Ids.Length, (i + 1) * most)))],
            };
            (tooLong, tooLongTokens, keptTokens) = (tooLong + 1, tooLongTokens + example.Ids.Length, keptTokens + parts.Sum(p => (long)p.Ids.Length));
            examples.AddRange(parts);
        }
        var counts = new DataCounts(parsed.Count - (wrong.Count - faults.Count), tooLong, tooLongTokens,
            keptTokens, examples.Count, examples.Count(e => !e.Learns), examples.Sum(e => (long)e.Ids.Length),
            examples.Sum(e => (long)e.Labels.AsSpan(1).Length - e.Labels.AsSpan(1).Count(-100)));
        return new DataBlock(examples, [.. wrong.OrderBy(f => f.Line)], counts);
    }

    static Example Part(Example e, int from, int to) => ReferenceEquals(e.Ids, e.Labels) && e.Ids[from..to] is var ids ? new Example(ids, ids, e.Line)
        : new Example(e.Ids[from..to], e.Labels[from..to], e.Line);
}
