using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;

namespace Graph.Finetune;

/// <summary>How much memory the machine has for page-locked blocks, which the system cannot take back.</summary>
static class HostMemory
{
    /// <summary>Left to everything else: so much, and an eighth of what is available. A run that page-locked all of 125 GiB but 2 was killed when it saved.</summary>
    public const long Reserve = 2L << 30;

    /// <summary>What is available less the reserve, in bytes.</summary>
    public static long Available() => Available(Read) is var available ? Math.Max(0, available - available / 8 - Reserve) : 0;

    /// <summary>
    /// MemAvailable of the kernel, or what the process's memory cgroup, or one above it, has left if that is less; pages of files that it caches count as left. Where
    /// neither can be read: what .NET may use.
    /// </summary>
    /// <param name="read">A file's text; null: it is not there.</param>
    public static long Available(Func<string, string?> read)
    {
        var kernel = Field(read("/proc/meminfo"), "MemAvailable:") is { } kilobytes ? kilobytes * 1024 : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        return Groups(read("/proc/self/cgroup") ?? "").Select(group => Left(read, group)).OfType<long>().Append(kernel).Min();
    }

    // Folders of the group and of those above it. Version 2 has one hierarchy, with an empty list of controllers; version 1 one for memory.
    static IEnumerable<(string Folder, bool Version2)> Groups(string text)
    {
        foreach (var parts in text.Split('\n').Select(line => line.Split(':', 3)).Where(parts => parts.Length == 3))
        {
            var version2 = parts[1] == "";
            if (!version2 && !parts[1].Split(',').Contains("memory")) continue;
            var root = version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
            // In a container the path is often that of the host, and the root is the container's own group.
            for (var path = parts[2].TrimEnd('/'); ; path = path[..path.LastIndexOf('/')])
            {
                yield return (root + path, version2);
                if (path.Length == 0) break;
            }
        }
    }

    static long? Left(Func<string, string?> read, (string Folder, bool Version2) group)
    {
        var (limit, used, cached) = group.Version2
            ? ("memory.max", "memory.current", "inactive_file ")
            : ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
        if (!Number(read($"{group.Folder}/{limit}"), out var most) || !Number(read($"{group.Folder}/{used}"), out var taken)) return null;
        return most - taken + (Field(read($"{group.Folder}/memory.stat"), cached) ?? 0);
    }

    // "max" is no number, and no limit.
    static bool Number(string? text, out long value) => long.TryParse(text?.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out value);

    static long? Field(string? text, string name)
    {
        var line = text?.Split('\n').FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal));
        return line is not null && Number(line[name.Length..].Replace("kB", ""), out var value) ? value : null;
    }

    static string? Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
