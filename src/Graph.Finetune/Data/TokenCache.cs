using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Finetune.Data;

/// <summary>
/// Tokens of blocks that were tokenized before, one file per block, named by the SHA-256 of the block's bytes, the tokenizer and what the labels are.
/// An entry ends with the SHA-256 of what is before, so a damaged one is not used. Nothing fails for the cache: what cannot be read or written is tokenized again.
/// </summary>
/// <param name="folder">Made when the first entry is written, for this user alone.</param>
public sealed class TokenCache(string folder)
{
    const int Version = 2;
    const long SpareBytes = 4L << 30;
    static readonly TimeSpan Unused = TimeSpan.FromDays(30);

    enum Labels : byte { Ids, Runs, Listed }

    public static string Key(ReadOnlySpan<byte> block, string tokenizer, LossOn lossOn)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{Version} {tokenizer} {lossOn}\n"));
        hash.AppendData(block);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The entry; null: there is none, or it is damaged.</summary>
    public IReadOnlyList<Example>? Find(string key)
    {
        try
        {
            var path = PathOf(key);
            if (!File.Exists(path)) return null;
            var bytes = File.ReadAllBytes(path);
            if (bytes.Length < SHA256.HashSizeInBytes
                || !SHA256.HashData(bytes.AsSpan(..^SHA256.HashSizeInBytes)).AsSpan().SequenceEqual(bytes.AsSpan(^SHA256.HashSizeInBytes..))) return null;
            // Entries that are used stay.
            if (DateTime.UtcNow - File.GetLastWriteTimeUtc(path) > TimeSpan.FromDays(1)) File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
            return Read(bytes);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            return null;
        }
    }

    /// <summary>Keeps an entry, where the disk has more than 4 GiB to spare.</summary>
    public void Store(string key, IReadOnlyList<Example> examples)
    {
        try
        {
            var path = PathOf(key);
            var parent = Path.GetDirectoryName(path)!;
            if (OperatingSystem.IsWindows()) Directory.CreateDirectory(parent);
            else Directory.CreateDirectory(parent, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            if (new DriveInfo(parent).AvailableFreeSpace < SpareBytes) return;
            var aside = $"{path}.{Guid.NewGuid():N}.partial";
            File.WriteAllBytes(aside, Write(examples));
            File.Move(aside, path, overwrite: true);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e) || e is ArgumentException)
        {
            // The next run tokenizes the block again.
        }
    }

    /// <summary>Removes what no run used for 30 days.</summary>
    public void Tidy()
    {
        try
        {
            if (!Directory.Exists(folder)) return;
            foreach (var file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
            {
                if (DateTime.UtcNow - File.GetLastWriteTimeUtc(file) > Unused) File.Delete(file);
            }
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            // What cannot be removed stays.
        }
    }

    string PathOf(string key) => Path.Combine(folder, key[..2], key);

    // Per example: line, number of ids, kind of labels, ids; then nothing, or the lengths of runs without and with labels in turn, or all labels.
    static byte[] Write(IReadOnlyList<Example> examples)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write(examples.Count);
        foreach (var (ids, labels, line) in examples)
        {
            var (kind, runs) = ids.AsSpan().SequenceEqual(labels) ? (Labels.Ids, null) : Runs(ids, labels) is { } found ? (Labels.Runs, found) : (Labels.Listed, null);
            writer.Write(line);
            writer.Write(ids.Length);
            writer.Write((byte)kind);
            writer.Write(MemoryMarshal.AsBytes(ids.AsSpan()));
            if (runs is not null) writer.Write(runs.Count);
            if (runs is not null) writer.Write(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(runs)));
            if (kind == Labels.Listed) writer.Write(MemoryMarshal.AsBytes(labels.AsSpan()));
        }
        writer.Flush();
        stream.Write(SHA256.HashData(stream.GetBuffer().AsSpan(0, (int)stream.Length)));
        return stream.ToArray();
    }

    static IReadOnlyList<Example> Read(byte[] bytes)
    {
        using var reader = new BinaryReader(new MemoryStream(bytes));
        var examples = new Example[reader.ReadInt32()];
        for (var i = 0; i < examples.Length; i++)
        {
            var (line, count, kind) = (reader.ReadInt32(), reader.ReadInt32(), (Labels)reader.ReadByte());
            var ids = Numbers(count);
            examples[i] = new Example(ids, kind switch { Labels.Ids => ids, Labels.Runs => Masked(ids, Numbers(reader.ReadInt32())), _ => Numbers(count) }, line);
        }
        return examples;

        int[] Numbers(int count)
        {
            var numbers = new int[count];
            reader.BaseStream.ReadExactly(MemoryMarshal.AsBytes(numbers.AsSpan()));
            return numbers;
        }
    }

    static List<int>? Runs(int[] ids, int[] labels)
    {
        var (runs, masked, at) = (new List<int>(), true, 0);
        for (var t = 0; t < ids.Length; t++)
        {
            if (labels[t] != -100 && labels[t] != ids[t]) return null;
            if (labels[t] == -100 == masked) continue;
            runs.Add(t - at);
            (at, masked) = (t, !masked);
        }
        runs.Add(ids.Length - at);
        return runs;
    }

    static int[] Masked(int[] ids, int[] runs)
    {
        var labels = (int[])ids.Clone();
        for (int i = 0, at = 0; i < runs.Length; at += runs[i++])
        {
            if (i % 2 == 0) labels.AsSpan(at, runs[i]).Fill(-100);
        }
        return labels;
    }
}
