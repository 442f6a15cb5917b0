using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Compiled kernels appended to an executable file, so that it needs no NVRTC and no cache. Loaders of ELF and PE files ignore bytes after the image.
/// Layout from the end: 8 bytes magic, 8 bytes length of all that was appended, SHA-256 of the index, 8 bytes length of the index,
/// the index (key, offset from the archive's start, length), before it the entries.
/// </summary>
public sealed class CubinArchive
{
    const int TrailerBytes = 8 + 8 + 32 + 8;

    readonly string file;
    readonly long start;
    readonly IReadOnlyDictionary<string, (long Offset, int Length)> index;

    CubinArchive(string file, long start, IReadOnlyDictionary<string, (long, int)> index) => (this.file, this.start, this.index) = (file, start, index);

    static ReadOnlySpan<byte> Magic => "GRAPHCUB"u8;

    public int Count => index.Count;

    /// <summary>The archive of this process's executable, or null.</summary>
    public static CubinArchive? OfThisProcess() => Environment.ProcessPath is { } path ? Open(path) : null;

    /// <summary>The archive at the end of a file, or null when there is none or it is damaged.</summary>
    public static CubinArchive? Open(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read);
        if (ReadTrailer(stream) is not { } trailer) return null;
        stream.Position = stream.Length - TrailerBytes - trailer.IndexLength;
        var bytes = new byte[trailer.IndexLength];
        stream.ReadExactly(bytes);
        if (!SHA256.HashData(bytes).AsSpan().SequenceEqual(trailer.IndexHash)) return null;
        using var reader = new BinaryReader(new MemoryStream(bytes), Encoding.UTF8);
        var count = reader.ReadInt32();
        var index = new Dictionary<string, (long, int)>(count);
        for (var i = 0; i < count; i++) index.Add(reader.ReadString(), (reader.ReadInt64(), reader.ReadInt32()));
        return new CubinArchive(file, stream.Length - trailer.ArchiveLength, index);
    }

    /// <summary>The kernel stored under the key, or null when there is none or its bytes were changed.</summary>
    public CompiledKernel? Find(KernelKey key, string architecture)
    {
        if (!index.TryGetValue(key.Hex, out var entry)) return null;
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read);
        stream.Position = start + entry.Offset;
        var bytes = new byte[entry.Length];
        stream.ReadExactly(bytes);
        return KernelImageFile.Read(key, architecture, bytes);
    }

    /// <summary>
    /// Writes the entries behind the executable's own bytes, replacing an archive that was there. The file is
    /// written beside itself and renamed: a running executable cannot be written to.
    /// </summary>
    public static void Append(string executable, IReadOnlyList<KeyValuePair<KernelKey, CompiledKernel>> entries)
    {
        var temporary = executable + ".new";
        using (var source = new FileStream(executable, FileMode.Open, FileAccess.Read, FileShare.Read))
        using (var target = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            CopyFirst(source, target, source.Length - (ReadTrailer(source)?.ArchiveLength ?? 0));
            var start = target.Position;
            using var index = new MemoryStream();
            using var writer = new BinaryWriter(index, Encoding.UTF8);
            writer.Write(entries.Count);
            // Ordered by key: the same kernels give the same file.
            foreach (var (key, kernel) in entries.OrderBy(e => e.Key.Hex, StringComparer.Ordinal))
            {
                var bytes = KernelImageFile.Write(key, kernel);
                writer.Write(key.Hex);
                writer.Write(target.Position - start);
                writer.Write(bytes.Length);
                target.Write(bytes);
            }
            writer.Flush();
            var indexBytes = index.ToArray();
            target.Write(indexBytes);
            target.Write(BitConverter.GetBytes((long)indexBytes.Length));
            target.Write(SHA256.HashData(indexBytes));
            target.Write(BitConverter.GetBytes(target.Position + 16 - start));
            target.Write(Magic);
        }
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(temporary, File.GetUnixFileMode(executable));
        File.Move(temporary, executable, overwrite: true);
    }

    sealed record Trailer(int IndexLength, byte[] IndexHash, long ArchiveLength);

    static Trailer? ReadTrailer(FileStream stream)
    {
        if (stream.Length < TrailerBytes) return null;
        var bytes = new byte[TrailerBytes];
        stream.Position = stream.Length - TrailerBytes;
        stream.ReadExactly(bytes);
        var (indexLength, archiveLength) = (BitConverter.ToInt64(bytes, 0), BitConverter.ToInt64(bytes, 40));
        var whole = bytes.AsSpan(48).SequenceEqual(Magic) && archiveLength <= stream.Length && indexLength >= 0 && indexLength <= int.MaxValue
            && indexLength + TrailerBytes <= archiveLength;
        return whole ? new Trailer((int)indexLength, bytes[8..40], archiveLength) : null;
    }

    static void CopyFirst(FileStream source, FileStream target, long count)
    {
        source.Position = 0;
        var buffer = new byte[1 << 20];
        while (count > 0)
        {
            var read = source.Read(buffer, 0, (int)Math.Min(buffer.Length, count));
            if (read == 0) throw new EndOfStreamException($"archive: {source.Name} ended {count} bytes early");
            target.Write(buffer, 0, read);
            count -= read;
        }
    }
}
