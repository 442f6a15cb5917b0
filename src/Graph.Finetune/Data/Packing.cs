using System;
using System.Collections;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Data;

/// <summary>
/// Micro-batches of T tokens, each built when it is asked for; documents with labels that are not shifted yet.
/// LeftOver: tokens that fill no row and are in none of them (only <see cref="Packing.Concat"/>).
/// </summary>
public sealed class PackedData(int tokens, IReadOnlyList<IReadOnlyList<(int[] Ids, int[] Labels)>> batches, int leftOver = 0) : IReadOnlyList<MicroBatch>
{
    public int LeftOver => leftOver;
    public int Count => batches.Count;
    public MicroBatch this[int index] => MicroBatch.Pack(tokens, [.. batches[index].Select(d => (d.Ids, Packing.Shift(d.Labels)))]);

    /// <summary>Tokens of documents, padding apart.</summary>
    public long Tokens => Enumerable.Range(0, Count).Sum(i => (long)TokensOf(i));

    /// <summary>Tokens of one micro-batch's documents that have labels. Padding that fills a row is a document without.</summary>
    public int TokensOf(int index) => batches[index].Where(d => Packing.Learns(d.Labels)).Sum(d => d.Ids.Length);

    /// <summary>Tokens of each document that has labels.</summary>
    public IEnumerable<int> Lengths => batches.SelectMany(b => b.Where(d => Packing.Learns(d.Labels)).Select(d => d.Ids.Length));

    public bool HasLabels(int index) => batches[index].Any(d => Packing.Learns(d.Labels));

    /// <summary>Numbers of the micro-batches with a label; one without has nothing to learn from.</summary>
    public IReadOnlyList<int> Learning { get; } = [.. Enumerable.Range(0, batches.Count).Where(i => batches[i].Any(d => Packing.Learns(d.Labels)))];

    public IEnumerator<MicroBatch> GetEnumerator() => Enumerable.Range(0, Count).Select(i => this[i]).GetEnumerator();
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>
/// Examples → micro-batches of T tokens. The order of the examples alone decides the result. Here labels are shifted: the row of token t gets the label of token t + 1.
/// </summary>
public static class Packing
{
    /// <summary>Whole documents side by side, by first-fit-decreasing over all of them.</summary>
    /// <exception cref="UsageException">T is smaller than the longest document may be.</exception>
    /// <exception cref="InputException">An example is longer than <paramref name="seq"/>.</exception>
    public static PackedData PackDocuments(IReadOnlyList<Example> examples, int batchTokens, int seq)
    {
        RequireRow(batchTokens, seq);
        foreach (var example in examples) RequireLength(example, seq);
        return new PackedData(batchTokens, [.. FirstFit.Decreasing([.. examples.Select(e => e.Ids.Length)], batchTokens)
            .Select(bin => bin.Select(i => (examples[i].Ids, examples[i].Labels)).ToArray())]);
    }

    /// <summary>
    /// Pretraining style: all examples joined, then cut every <paramref name="seq"/> tokens; each row is a
    /// document of its own, and a batch holds T / seq of them. What fills no row is LeftOver.
    /// </summary>
    /// <exception cref="UsageException">T is smaller than a row.</exception>
    public static PackedData Concat(IEnumerable<Example> examples, int batchTokens, int seq)
    {
        RequireRow(batchTokens, seq);
        var rows = new List<(int[], int[])>();
        int[] ids = new int[seq], labels = new int[seq];
        var filled = 0;
        foreach (var example in examples)
        {
            for (var from = 0; from < example.Ids.Length;)
            {
                var count = Math.Min(seq - filled, example.Ids.Length - from);
                Array.Copy(example.Ids, from, ids, filled, count);
                Array.Copy(example.Labels, from, labels, filled, count);
                (from, filled) = (from + count, filled + count);
                if (filled < seq) continue;
                rows.Add((ids, labels));
                (ids, labels, filled) = (new int[seq], new int[seq], 0);
            }
        }
        return new PackedData(batchTokens, [.. rows.Chunk(batchTokens / seq)], filled);
    }

    /// <summary>Packing off: a row of <paramref name="seq"/> tokens per document, padded by a document of its own without labels.</summary>
    /// <exception cref="UsageException">T is smaller than a row.</exception>
    /// <exception cref="InputException">An example is longer than a row.</exception>
    public static PackedData OnePerRow(IEnumerable<Example> examples, int batchTokens, int seq)
    {
        RequireRow(batchTokens, seq);
        var rows = new List<(int[], int[])[]>();
        var paddings = new Dictionary<int, (int[], int[])>();
        foreach (var example in examples)
        {
            RequireLength(example, seq);
            var padding = seq - example.Ids.Length;
            rows.Add([(example.Ids, example.Labels),
                paddings.TryGetValue(padding, out var known) ? known : paddings[padding] = (new int[padding], Enumerable.Repeat(-100, padding).ToArray())]);
        }
        return new PackedData(batchTokens, [.. rows.Chunk(batchTokens / seq).Select(r => r.SelectMany(d => d).ToArray())]);
    }

    /// <summary>Another order for every epoch and part of it, the same for the same seed: Fisher-Yates on splitmix64, so that no library's generator decides.</summary>
    public static IReadOnlyList<T> Shuffle<T>(IReadOnlyList<T> items, int seed, int epoch, int part = 0)
    {
        var result = items.ToArray();
        var state = (((ulong)(uint)seed << 32) | (uint)epoch) ^ (ulong)(uint)part * 0xD1B54A32D192ED03;
        for (var i = result.Length - 1; i > 0; i--)
        {
            state += 0x9E3779B97F4A7C15;
            var x = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
            x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
            var j = (int)Math.BigMul(x ^ (x >> 31), (ulong)i + 1, out _);
            (result[i], result[j]) = (result[j], result[i]);
        }
        return result;
    }

    /// <summary>labels[t] of a row: the label of token t + 1, and -100 for the last, whose successor is not in the document.</summary>
    public static int[] Shift(int[] labels) => labels.Length == 0 ? [] : [.. labels.AsSpan(1), -100];

    /// <summary>A document has a label after the shift: the first token has nothing before it that could predict it.</summary>
    public static bool Learns(int[] labels) => labels.Length > 1 && labels.AsSpan(1).ContainsAnyExcept(-100);

    static void RequireRow(int batchTokens, int seq)
    {
        if (seq < 1 || batchTokens < seq) throw new UsageException($"--seq is {seq} and --batch-tokens {batchTokens}; a micro-batch must hold at least one sequence.");
    }

    static void RequireLength(Example example, int seq)
    {
        if (example.Ids.Length > seq)
            throw new InputException($"line {example.Line} of the data has {example.Ids.Length} tokens but --seq is {seq}; raise --seq or shorten the line.");
    }
}
