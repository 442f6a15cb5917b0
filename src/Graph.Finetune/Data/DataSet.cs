using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Graph.Finetune.Tokenization;

namespace Graph.Finetune.Data;

/// <summary>A file of examples, and how often an epoch has each of them: 2 is twice, 0.5 every second one, another half in the next epoch.</summary>
public sealed record DataSource(string Path, double Weight = 1)
{
    public static implicit operator DataSource(string path) => new(path);
}

/// <summary>A block of one of the files.</summary>
public readonly record struct BlockAt(int File, int Block);

/// <summary>
/// Files of examples, read block by block. Small ones are held as tokens once they are read;
/// of others only what is asked for is in memory, and tokens come from the cache where they were made before.
/// Safe for several threads at once.
/// </summary>
public sealed class DataSet : IDisposable
{
    /// <summary>Files of as many bytes in all are held in memory.</summary>
    public const long HeldBytes = 64 << 20;

    const int ShownLines = 200;

    readonly IDataFile[] files;
    readonly SentencePieceTokenizer? tokenizer;
    readonly DataOptions options;
    readonly LineParser parser;
    readonly TokenCache? cache;
    readonly DataBlock?[][] held;
    readonly bool[][] counted;
    readonly Lock counting = new();
    DataCounts counts = DataCounts.None;

    /// <param name="cache">Where tokens of files that are not held are kept; null: nowhere.</param>
    /// <param name="heldBytes">In place of <see cref="HeldBytes"/>; a block has a 64th of it.</param>
    /// <param name="hold">Small files are held.</param>
    /// <exception cref="InputException">A file is missing or cannot be read.</exception>
    public DataSet(IReadOnlyList<string> paths, SentencePieceTokenizer? tokenizer, DataOptions options, TokenCache? cache = null, long heldBytes = HeldBytes, bool hold = true)
    {
        (this.tokenizer, this.options, parser) = (tokenizer, options, new LineParser(tokenizer, options));
        var opened = new List<IDataFile>();
        try
        {
            foreach (var path in paths) opened.Add(DataFile.Open(path, (int)Math.Clamp(heldBytes / 64, 1, JsonLinesFile.DefaultBlockBytes)));
        }
        catch
        {
            opened.ForEach(f => f.Dispose());
            throw;
        }
        files = [.. opened];
        Bytes = files.Sum(f => Enumerable.Range(0, f.Blocks).Sum(f.BytesOf));
        IsHeld = hold && Bytes <= heldBytes;
        this.cache = IsHeld ? null : cache;
        held = [.. files.Select(f => new DataBlock?[IsHeld ? f.Blocks : 0])];
        counted = [.. files.Select(f => new bool[f.Blocks])];
    }

    public long Bytes { get; }

    /// <summary>All of it may be in memory at once.</summary>
    public bool IsHeld { get; }

    /// <summary>Of the blocks that were read so far, each once.</summary>
    public DataCounts Counts
    {
        get
        {
            lock (counting) return counts;
        }
    }

    public int BlocksOf(int file) => files[file].Blocks;
    public long BytesOf(BlockAt at) => files[at.File].BytesOf(at.Block);

    /// <summary>Blocks in their order, each read by one of several threads.</summary>
    /// <exception cref="InputException">A line cannot be used; the sentence has the numbers of all of them.</exception>
    public IReadOnlyList<DataBlock> Read(IReadOnlyList<BlockAt> blocks, CancellationToken stop = default)
    {
        var read = ReadWithFaults(blocks, stop);
        Require(blocks.Zip(read, (at, block) => (at, block)));
        return read;
    }

    /// <summary>As <see cref="Read(IReadOnlyList{BlockAt}, CancellationToken)"/>, where lines that cannot be used are no error.</summary>
    public IReadOnlyList<DataBlock> ReadWithFaults(IReadOnlyList<BlockAt> blocks, CancellationToken stop = default)
    {
        var read = new DataBlock[blocks.Count];
        try
        {
            Parallel.For(0, blocks.Count,
                new ParallelOptions { MaxDegreeOfParallelism = Math.Min(16, Environment.ProcessorCount), CancellationToken = stop }, i => read[i] = Read(blocks[i]));
        }
        catch (AggregateException e) when (e.InnerExceptions.FirstOrDefault(inner => inner is InputException) is { } fault)
        {
            throw new InputException(fault.Message);
        }
        return read;
    }

    /// <summary>One block, with its faults.</summary>
    public DataBlock Read(BlockAt at)
    {
        if (IsHeld && Volatile.Read(ref held[at.File][at.Block]) is { } known) return known;
        var lines = files[at.File].Load(at.Block);
        var key = cache is null || tokenizer is null ? null : TokenCache.Key(lines.Span, tokenizer.Fingerprint, options.LossOn);
        var (examples, faults) = key is not null && cache!.Find(key) is { } found ? (found, []) : Parse();
        var block = DataBlock.Of(examples, faults, options);
        if (IsHeld) Volatile.Write(ref held[at.File][at.Block], block);
        lock (counting)
        {
            if (!counted[at.File][at.Block]) counts += block.Counts;
            counted[at.File][at.Block] = true;
        }
        return block;

        (IReadOnlyList<Example>, IReadOnlyList<LineFault>) Parse()
        {
            var parsed = DataBlock.Parse(lines, parser);
            if (key is not null && parsed.Faults.Count == 0) cache!.Store(key, parsed.Examples);
            return parsed;
        }
    }

    /// <summary>The number of a block's line in its file, from 1.</summary>
    public long LineOf(BlockAt at, int line) => files[at.File].LinesBefore(at.Block) + line;

    /// <summary>A fault as a sentence with file and line.</summary>
    public string Sentence(BlockAt at, LineFault fault) => $"{files[at.File].At(LineOf(at, fault.Line))} {fault.Rest}";

    /// <exception cref="InputException">A block has a fault.</exception>
    public void Require(IEnumerable<(BlockAt At, DataBlock Block)> blocks)
    {
        var faults = blocks.SelectMany(b => b.Block.Faults.Select(fault => (b.At, Fault: fault))).OrderBy(f => (f.At.File, f.At.Block)).ToArray();
        if (faults.Length == 0) return;
        var first = Sentence(faults[0].At, faults[0].Fault);
        if (faults.Length == 1) throw new InputException(first);
        var others = faults.Skip(1).Where(f => f.At.File == faults[0].At.File).ToArray();
        var elsewhere = faults.Length - 1 - others.Length;
        var numbers = string.Join(", ", others.Take(ShownLines).Select(f => LineOf(f.At, f.Fault.Line).ToString(CultureInfo.InvariantCulture)))
            + (others.Length > ShownLines ? " and more" : "");
        throw new InputException($"{first.TrimEnd('.')}; {faults.Length - 1} more lines cannot be used{(others.Length > 0 ? $": {numbers}" : "")}"
            + $"{(elsewhere > 0 ? $"; {elsewhere} of them are in other files" : "")}; data inspect says what is wrong with each.");
    }

    /// <summary>What tells these files from others, without reading all of them: sizes and samples, the tokenizer, and how lines become examples.</summary>
    public string Sample()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{tokenizer?.Fingerprint} {options.LossOn} {options.OverLength} {options.MaxTokens}"));
        foreach (var file in files)
        {
            hash.AppendData(BitConverter.GetBytes(Enumerable.Range(0, file.Blocks).Sum(file.BytesOf)));
            file.AddSample(hash);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    public void Dispose()
    {
        foreach (var file in files) file.Dispose();
    }
}
