using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Graph.Runtime.Cuda;
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
public sealed record DataSettings(IReadOnlyList<DataSource> Files, string? Tokenizer, int Seq, int BatchTokens, DataLayout Layout)
{
    public LossOn LossOn { get; init; }
    public OverLength OverLength { get; init; }

    /// <summary>Files of as many bytes in all are held in memory; larger ones are read in windows of a quarter of it.</summary>
    public long HeldBytes { get; init; } = DataSet.HeldBytes;
}

/// <summary>A place in the order of the data: micro-batches of a window of an epoch that are done.</summary>
public sealed record DataPlace(int Epoch, int Window, int Batch)
{
    public static DataPlace Start { get; } = new(0, 0, 0);
}

/// <summary>The micro-batches of one optimizer step.</summary>
/// <param name="Epoch">Passes over the data that are done after this step, with the part of the running one.</param>
/// <param name="Tokens">Tokens of documents, padding apart.</param>
/// <param name="Position">Micro-batches taken from the data after this step.</param>
public sealed record StepBatches(double Epoch, int Tokens, long Position, IReadOnlyList<MicroBatch> Batches)
{
    /// <summary>Where the data goes on after this step.</summary>
    public DataPlace Place { get; init; } = DataPlace.Start;
}

/// <summary>
/// The data of a run, and the order in which steps see it, a function of the seed and the files.
/// An epoch is one window where the files are held in memory, else many: their blocks are shuffled and cut into windows of about
/// a quarter of what may be held. A window's examples are shuffled and packed. A step never reaches into the next epoch, so the last one of an epoch may be smaller.
/// </summary>
public sealed class TrainData : IDisposable
{
    readonly DataSet set;
    readonly DataSettings settings;
    // Until the steps begin with it.
    (int Seed, PackedData Packed)? first;

    TrainData(DataSet set, DataSettings settings) => (this.set, this.settings) = (set, settings);

    /// <summary>The files are not held in memory: a line that cannot be used ends the run when it is its turn.</summary>
    public bool IsStreamed => !set.IsHeld;

    /// <summary>Of what was read so far; all of it where it is held.</summary>
    public DataCounts Counts => set.Counts;

    /// <summary>What is small is read and checked.</summary>
    /// <exception cref="InputException">A file or line cannot be used, or there is no tokenizer for text.</exception>
    /// <exception cref="UsageException">Documents may be longer than the model has positions.</exception>
    public static TrainData Load(DataSettings settings, ModelSource source)
    {
        source.RequirePositions(settings.Seq);
        var path = settings.Tokenizer ?? source.Tokenizer;
        var tokenizer = path is null ? null : SentencePieceTokenizer.Find(path);
        if (tokenizer is not null && tokenizer.Count > source.Vocabulary)
            throw new InputException($"the tokenizer in '{path}' has {tokenizer.Count} ids but {source.Model.Name} has {source.Vocabulary}; give the tokenizer of this model.");
        var data = Open(settings, tokenizer, new DataOptions(settings.Layout == DataLayout.Concat ? null : settings.Seq, source.Tables, settings.LossOn, settings.OverLength));
        data.TemplateNote = path is null ? null : ChatTemplate.Note(path);
        return data;
    }

    /// <summary>That the tokenizer's chat template is not Gemma's, as a sentence; null: it is, or there is none.</summary>
    public string? TemplateNote { get; private set; }

    /// <exception cref="InputException">As in <see cref="Load"/>.</exception>
    public static TrainData Open(DataSettings settings, SentencePieceTokenizer? tokenizer, DataOptions options)
    {
        var cache = KernelCache.DefaultFolder(Environment.GetEnvironmentVariable) is { } kernels ? new TokenCache(Path.Combine(Path.GetDirectoryName(kernels)!, "tokens")) : null;
        var set = new DataSet([.. settings.Files.Select(f => f.Path)], tokenizer, options, cache, settings.HeldBytes);
        try
        {
            if (!set.IsHeld) cache?.Tidy();
            for (var file = 0; set.IsHeld && file < settings.Files.Count; file++)
            {
                var blocks = set.Read([.. Enumerable.Range(0, set.BlocksOf(file)).Select(b => new BlockAt(file, b))]);
                if (blocks.Sum(b => b.Counts.Lines) == 0) throw new InputException($"{settings.Files[file].Path} holds no example; every line must be a JSON object.");
                if (!blocks.Any(b => b.Examples.Any(e => e.Learns)))
                    throw new InputException($"{settings.Files[file].Path} has no label but -100 in any line, so there is nothing to learn from.");
            }
        }
        catch
        {
            set.Dispose();
            throw;
        }
        return new TrainData(set, settings);
    }

    /// <summary>
    /// What tells this data from other data: of what is held the SHA-256 of ids and labels in their order,
    /// whatever files and tokenizer they come from; of other files their sizes and samples
    /// (<see cref="DataSet.Sample"/>); and the weights.
    /// </summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        if (IsStreamed) hash.AppendData(Encoding.UTF8.GetBytes(set.Sample()));
        for (var file = 0; file < settings.Files.Count; file++)
        {
            if (settings.Files.Any(f => f.Weight != 1))
                hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"file {file} weight {settings.Files[file].Weight}")));
            foreach (var example in set.Read(IsStreamed ? [] : BlocksOf(file)).SelectMany(b => b.Examples))
            {
                hash.AppendData(BitConverter.GetBytes(example.Ids.Length));
                hash.AppendData(MemoryMarshal.AsBytes(example.Ids.AsSpan()));
                hash.AppendData(MemoryMarshal.AsBytes(example.Labels.AsSpan()));
            }
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The micro-batches of the files' own order, each file once.</summary>
    public IEnumerable<PackedData> InOrder() => Cut([.. AllBlocks().Select(at => new BlockUse(at, 1))])
        .Select(window => Pack([.. set.Read([.. window.Select(u => u.At)]).SelectMany(b => b.Examples)]));

    /// <summary>The first window of the first epoch.</summary>
    /// <exception cref="InputException">It is all of the epoch and has no label.</exception>
    public PackedData First(int seed)
    {
        var windows = Windows(seed, 0);
        var packed = Window(seed, 0, 0, windows[0], default);
        if (windows.Count == 1) RequireLabels(packed.Learning.Count, 0);
        first = (seed, packed);
        return packed;
    }

    /// <summary>Steps of the first epochs. All of the data is read, and tokenized where the cache does not have it.</summary>
    /// <exception cref="InputException">An epoch has no label, or a line cannot be used.</exception>
    public int StepsOf(int epochs, int seed, int perStep)
    {
        var steps = 0;
        for (var epoch = 0; epoch < epochs; epoch++)
        {
            var batches = Windows(seed, epoch).Select((window, number) => Window(seed, epoch, number, window, default).Learning.Count).Sum();
            RequireLabels(batches, epoch);
            steps = checked(steps + (batches + perStep - 1) / perStep);
        }
        return steps;
    }

    /// <summary>All steps behind a place, without end. The window after the one that is used is read meanwhile.</summary>
    /// <param name="perStep">Micro-batches of a step.</param>
    /// <param name="position">Micro-batches taken before.</param>
    /// <exception cref="InputException">An epoch has no label, or a line cannot be used.</exception>
    public IEnumerable<StepBatches> Steps(int seed, int perStep, DataPlace from, long position = 0)
    {
        var step = new List<(PackedData Window, int Batch)>();
        var seen = from != DataPlace.Start with { Epoch = from.Epoch };
        foreach (var (epoch, window, windows, packed) in ReadAhead(seed, from))
        {
            seen |= packed.Learning.Count > 0;
            for (var i = epoch == from.Epoch && window == from.Window ? from.Batch : 0; i < packed.Learning.Count; i++)
            {
                step.Add((packed, packed.Learning[i]));
                if (step.Count == perStep) yield return Take(epoch, window, windows, i + 1, packed);
            }
            if (window + 1 < windows) continue;
            if (!seen) RequireLabels(0, epoch);
            if (step.Count > 0) yield return Take(epoch, window, windows, packed.Learning.Count, packed);
            seen = false;
        }

        StepBatches Take(int epoch, int window, int windows, int done, PackedData packed)
        {
            position += step.Count;
            var part = packed.Learning.Count == 0 ? 1 : (double)done / packed.Learning.Count;
            var batches = new StepBatches(windows == 1 ? epoch + part : epoch + (window + part) / windows, step.Sum(s => s.Window.TokensOf(s.Batch)),
                position, [.. step.Select(s => s.Window[s.Batch])])
            {
                Place = done < packed.Learning.Count ? new DataPlace(epoch, window, done)
                    : window + 1 < windows ? new DataPlace(epoch, window + 1, 0) : new DataPlace(epoch + 1, 0, 0),
            };
            step.Clear();
            return batches;
        }
    }

    /// <summary>What a window is part of, or is.</summary>
    public string Part => IsStreamed ? "window" : "epoch";

    /// <summary>How much there is, for people.</summary>
    public string Size(PackedData first) => IsStreamed
        ? $"{Bytes.Text(set.Bytes)} of data in {Windows(0, 0).Count} windows, {first.Learning.Count} micro-batches in the first"
        : $"{Counts.Examples} examples, {first.Learning.Count} micro-batches an epoch";

    /// <summary>What teaches nothing or was cut, as sentences. For a streamed set: of what was read so far.</summary>
    public IEnumerable<string> Notes() => Counts.Sentences(settings.Layout == DataLayout.Concat ? null : settings.Seq, settings.OverLength, IsStreamed ? null : FirstSilent());

    string? FirstSilent()
    {
        var blocks = AllBlocks().ToArray();
        var (at, example) = blocks.Zip(set.Read(blocks)).SelectMany(b => b.Second.Examples.Select(e => (b.First, Example: e))).FirstOrDefault(e => !e.Example.Learns);
        return example is null ? null : $"line {set.LineOf(at, example.Line)}" + (settings.Files.Count > 1 ? $" of {settings.Files[at.File].Path}" : "");
    }

    public void Dispose() => set.Dispose();

    /// <summary>A block in a window. Part: 1, or how many of its examples are used.</summary>
    readonly record struct BlockUse(BlockAt At, double Part);

    BlockAt[] BlocksOf(int file) => [.. Enumerable.Range(0, set.BlocksOf(file)).Select(block => new BlockAt(file, block))];

    IEnumerable<BlockAt> AllBlocks() => Enumerable.Range(0, settings.Files.Count).SelectMany(BlocksOf);

    IReadOnlyList<IReadOnlyList<BlockUse>> Windows(int seed, int epoch)
    {
        var uses = AllBlocks().SelectMany(at =>
        {
            var weight = settings.Files[at.File].Weight;
            var whole = (int)Math.Floor(weight);
            return Enumerable.Repeat(new BlockUse(at, 1), whole).Concat(weight > whole ? [new BlockUse(at, weight - whole)] : []);
        }).ToArray();
        return set.IsHeld ? [uses] : Cut(Packing.Shuffle(uses, seed, epoch, -1));
    }

    IReadOnlyList<IReadOnlyList<BlockUse>> Cut(IReadOnlyList<BlockUse> uses)
    {
        if (set.IsHeld) return [uses];
        var (windows, window, bytes) = (new List<IReadOnlyList<BlockUse>>(), new List<BlockUse>(), 0.0);
        foreach (var use in uses)
        {
            window.Add(use);
            bytes += set.BytesOf(use.At) * use.Part;
            // Smaller at first, so that steps begin soon.
            if (bytes < settings.HeldBytes / 4 >> Math.Max(0, 3 - windows.Count)) continue;
            windows.Add(window);
            (window, bytes) = ([], 0);
        }
        if (window.Count > 0) windows.Add(window);
        return windows;
    }

    PackedData Window(int seed, int epoch, int number, IReadOnlyList<BlockUse> window, CancellationToken stop)
    {
        var blocks = set.Read([.. window.Select(u => u.At)], stop);
        var examples = window.Zip(blocks)
            .SelectMany(u => u.First.Part == 1 ? u.Second.Examples : u.Second.Examples.Where((_, i) => IsUsed(i + u.First.At.Block + (long)epoch, u.First.Part)));
        return Pack(Packing.Shuffle([.. examples], seed, epoch, number));

        // Evenly over the examples, and the others in the epochs after.
        static bool IsUsed(long i, double part) => Math.Floor((i + 1) * part) > Math.Floor(i * part);
    }

    IEnumerable<(int Epoch, int Window, int Windows, PackedData Packed)> ReadAhead(int seed, DataPlace from)
    {
        using var stop = new CancellationTokenSource();
        var (epoch, number, windows) = (from.Epoch, from.Window, Windows(seed, from.Epoch));
        var next = Begin();
        try
        {
            while (true)
            {
                var (atEpoch, atNumber, of, packed) = (epoch, number, windows.Count, next.GetAwaiter().GetResult());
                if (++number == windows.Count) (epoch, number, windows) = (epoch + 1, 0, Windows(seed, epoch + 1));
                next = Begin();
                yield return (atEpoch, atNumber, of, packed);
            }
        }
        finally
        {
            stop.Cancel();
            // The files are in use until it has ended; how it ended is nobody's business any more.
            Task.WaitAny(next);
        }

        Task<PackedData> Begin()
        {
            var (e, n, window) = (epoch, number, windows[number]);
            var known = first is { } f && f.Seed == seed && e == 0 && n == 0 ? f.Packed : null;
            first = null;
            return known is not null ? Task.FromResult(known) : Task.Run(() => Window(seed, e, n, window, stop.Token));
        }
    }

    static void RequireLabels(int batches, int epoch)
    {
        if (batches == 0)
            throw new InputException($"no micro-batch of epoch {epoch + 1} has a label, so there is nothing to learn from; "
                + "raise --seq, so that prompts and answers stay together, or check the data's labels.");
    }

    PackedData Pack(IReadOnlyList<Example> examples) => settings.Layout switch
    {
        DataLayout.Concat => Joined(Packing.Concat(examples, settings.BatchTokens, settings.Seq)),
        DataLayout.OnePerRow => Packing.OnePerRow(examples, settings.BatchTokens, settings.Seq),
        _ => Packing.PackDocuments(examples, settings.BatchTokens, settings.Seq),
    };

    // The last window of a streamed epoch may be too small for a row.
    PackedData Joined(PackedData rows) => rows.Count > 0 || IsStreamed ? rows
        : throw new InputException($"all examples together have {rows.LeftOver} tokens, which fill no row of {settings.Seq}; lower --seq or give more data.");
}
