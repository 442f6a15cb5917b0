using System;
using System.IO;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Bytes of one compiled kernel, in the cache and in an executable's archive:
/// "GRAPHKRN", version, SHA-256 of all that follows, then key, architecture, kind, log and image, each with its length. Little endian.
/// </summary>
internal static class KernelImageFile
{
    const int Version = 1, HeaderBytes = 8 + 4 + 32;

    static ReadOnlySpan<byte> Magic => "GRAPHKRN"u8;

    internal static byte[] Write(KernelKey key, CompiledKernel kernel)
    {
        using var stream = new MemoryStream();
        stream.Write(new byte[HeaderBytes]);
        using (var writer = new BinaryWriter(stream, Encoding.UTF8, leaveOpen: true))
        {
            writer.Write(key.Hex);
            writer.Write(kernel.Architecture);
            writer.Write((byte)kernel.Kind);
            writer.Write(kernel.Log);
            writer.Write(kernel.Image.Length);
            writer.Write(kernel.Image);
        }
        var bytes = stream.ToArray();
        Magic.CopyTo(bytes);
        BitConverter.TryWriteBytes(bytes.AsSpan(8), Version);
        SHA256.HashData(bytes.AsSpan(HeaderBytes), bytes.AsSpan(12, 32));
        return bytes;
    }

    /// <summary>The kernel, or null when the bytes are not whole, were changed, or are another key's: an entry that was renamed must not run under a wrong name.</summary>
    internal static CompiledKernel? Read(KernelKey key, string architecture, byte[] bytes)
    {
        if (bytes.Length <= HeaderBytes || !bytes.AsSpan(0, 8).SequenceEqual(Magic) || BitConverter.ToInt32(bytes, 8) != Version) return null;
        if (!SHA256.HashData(bytes.AsSpan(HeaderBytes)).AsSpan().SequenceEqual(bytes.AsSpan(12, 32))) return null;
        using var reader = new BinaryReader(new MemoryStream(bytes, HeaderBytes, bytes.Length - HeaderBytes), Encoding.UTF8);
        if (reader.ReadString() != key.Hex || reader.ReadString() != architecture) return null;
        var kind = (ImageKind)reader.ReadByte();
        var log = reader.ReadString();
        var image = reader.ReadBytes(reader.ReadInt32());
        return new CompiledKernel(architecture, kind, image, log, CompilerLog.Functions(log), CompilerLog.Warnings(log));
    }
}
