using System;
using System.Collections.Generic;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Runtime.Cuda;

/// <summary>What makes two compilations the same: SHA-256 over length-prefixed parts, so that no two lists of parts hash alike.</summary>
public readonly record struct KernelKey(string Hex)
{
    /// <summary>Key in an executable's archive: its cubins were built on purpose, so whichever NVRTC built them is right.</summary>
    public static KernelKey ForArchive(string text, string architecture, IReadOnlyList<string> options) => Of([text, architecture, .. options]);

    /// <summary>Key in the user's cache: another NVRTC makes other code.</summary>
    public static KernelKey ForCache(string text, string architecture, IReadOnlyList<string> options, string nvrtcVersion) =>
        Of([text, architecture, .. options, "nvrtc " + nvrtcVersion]);

    static KernelKey Of(ReadOnlySpan<string> parts)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in parts)
        {
            var bytes = Encoding.UTF8.GetBytes(part);
            hash.AppendData(BitConverter.GetBytes((long)bytes.Length));
            hash.AppendData(bytes);
        }
        return new KernelKey(Convert.ToHexStringLower(hash.GetHashAndReset()));
    }
}
