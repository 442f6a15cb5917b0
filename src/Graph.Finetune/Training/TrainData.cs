using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Training;

public enum DataLayout
{
    /// <summary>Whole documents side by side.</summary>
    Packed,
    /// <summary>One document per row, padded.</summary>
    OnePerRow,
    /// <summary>Documents joined and cut.</summary>
    Concat,
}

/// <summary>How data becomes micro-batches.</summary>
/// <param name="Tokenizer">Directory or file; null: the model's own.</param>
public sealed record DataSettings(IReadOnlyList<string> Files, string? Tokenizer, int Seq, int BatchTokens, DataLayout Layout);

/// <summary>The micro-batches of one optimizer step.</summary>
/// <param name="Epoch">Passes over the data that are done after this step, with the part of the running one.</param>
/// <param name="Tokens">Tokens of documents, padding apart.</param>
/// <param name="Position">Micro-batches taken from the data after this step.</param>
public sealed record StepBatches(double Epoch, int Tokens, long Position, IReadOnlyList<MicroBatch> Batches);

/// <summary>All examples of a run in memory, and the order in which steps see them. A step never reaches into the next epoch, so the last one of an epoch may be smaller.</summary>
public sealed record TrainData(IReadOnlyList<Example> Examples, DataSettings Settings)
{
    /// <exception cref="InputException">A file or line cannot be used, or there is no tokenizer for text.</exception>
    /// <exception cref="UsageException">Documents may be longer than the model has positions.</exception>
    public static TrainData Load(DataSettings settings, ModelSource source)
    {
        source.RequirePositions(settings.Seq);
        var path = settings.Tokenizer ?? source.Tokenizer;
        var tokenizer = path is null ? null : SentencePieceTokenizer.Find(path);
        if (tokenizer is not null && tokenizer.Count > source.Vocabulary)
            throw new InputException($"the tokenizer in '{path}' has {tokenizer.Count} ids but {source.Model.Name} has {source.Vocabulary}; give the tokenizer of this model.");
        var options = new DataOptions(settings.Layout == DataLayout.Concat ? null : settings.Seq, source.Tables);
        return new TrainData([.. settings.Files.SelectMany(file => DataReader.Read(file, tokenizer, options))], settings);
    }

    /// <summary>SHA-256 of the ids and labels in their order: what is trained on, whatever files and tokenizer they come from.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var example in Examples)
        {
            hash.AppendData(BitConverter.GetBytes(example.Ids.Length));
            hash.AppendData(MemoryMarshal.AsBytes(example.Ids.AsSpan()));
            hash.AppendData(MemoryMarshal.AsBytes(example.Labels.AsSpan()));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The micro-batches of the files' own order.</summary>
    public PackedData InOrder() => Pack(Examples);

    /// <summary>The micro-batches of one epoch: the examples in an order that seed and epoch decide.</summary>
    public PackedData Epoch(int seed, int epoch) => Pack(Packing.Shuffle(Examples, seed, epoch));

    /// <summary>Steps of the first epochs.</summary>
    /// <exception cref="InputException">An epoch has no label.</exception>
    public int StepsOf(int epochs, int seed, int perStep) => Enumerable.Range(0, epochs).Sum(e => (Learning(Epoch(seed, e), e).Length + perStep - 1) / perStep);

    /// <summary>All steps from the first epoch on, without end.</summary>
    /// <param name="perStep">Micro-batches of a step.</param>
    /// <param name="skip">Steps to pass over, none of whose batches is built.</param>
    /// <exception cref="InputException">An epoch has no label.</exception>
    public IEnumerable<StepBatches> Steps(int seed, int perStep, int skip = 0)
    {
        long position = 0;
        for (var (epoch, step) = (0, 0); ; epoch++)
        {
            var packed = Epoch(seed, epoch);
            var done = 0;
            var learning = Learning(packed, epoch);
            foreach (var chunk in learning.Chunk(perStep))
            {
                done += chunk.Length;
                position += chunk.Length;
                if (++step > skip) yield return new StepBatches(epoch + (double)done / learning.Length, chunk.Sum(packed.TokensOf), position, [.. chunk.Select(i => packed[i])]);
            }
        }
    }

    /// <summary>What teaches nothing, as sentences: examples without a label, and micro-batches of an epoch that have none (long prompts that --concat cut apart).</summary>
    public IEnumerable<string> WithoutLabels(PackedData epoch)
    {
        var lines = Examples.Where(e => e.LabelCount == 0).Select(e => e.Line).ToArray();
        if (lines.Length > 0) yield return $"{lines.Length} of {Examples.Count} examples have no label and teach nothing; the first is line {lines[0]}";
        var batches = Enumerable.Range(0, epoch.Count).Count(i => !epoch.HasLabels(i));
        if (batches > 0) yield return $"{batches} of {epoch.Count} micro-batches of the first epoch have no label and are passed over";
    }

    /// <summary>Numbers of the micro-batches with a label; one without has nothing to learn from.</summary>
    /// <exception cref="InputException">None of the epoch has one.</exception>
    public static int[] Learning(PackedData packed, int epoch)
    {
        int[] learning = [.. Enumerable.Range(0, packed.Count).Where(packed.HasLabels)];
        return learning.Length > 0 ? learning : throw new InputException($"no micro-batch of epoch {epoch + 1} has a label, so there is nothing to learn from; raise --seq, so that prompts and answers stay together, or check the data's labels.");
    }

    PackedData Pack(IReadOnlyList<Example> examples) => Settings.Layout switch
    {
        DataLayout.Concat => Packing.Concat(examples, Settings.BatchTokens, Settings.Seq),
        DataLayout.OnePerRow => Packing.OnePerRow(examples, Settings.BatchTokens, Settings.Seq),
        _ => Packing.PackDocuments(examples, Settings.BatchTokens, Settings.Seq),
    };
}
