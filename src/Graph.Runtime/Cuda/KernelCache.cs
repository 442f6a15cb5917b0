using System;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Compiled kernels in the user's cache folder, one file per key. Files appear by rename,
/// so a reader sees whole entries or none, and two processes that build the same kernel write the same file.
/// What is in it is run on the GPU with the user's rights: a folder that somebody else could have written to is refused.
/// </summary>
public sealed partial class KernelCache
{
    const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    KernelCache(string folder) => Folder = folder;

    public string Folder { get; }

    /// <summary>
    /// GRAPH_CACHE, else $XDG_CACHE_HOME/graph, else ~/.cache/graph (Windows: the local application data folder), each with "kernels" below. Null when GRAPH_CACHE is "off".
    /// </summary>
    public static string? DefaultFolder(Func<string, string?> environment)
    {
        if (environment("GRAPH_CACHE") is { Length: > 0 } chosen) return chosen == "off" ? null : Path.Combine(Path.GetFullPath(chosen), "kernels");
        if (OperatingSystem.IsWindows()) return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "graph", "kernels");
        var root = environment("XDG_CACHE_HOME") is { Length: > 0 } xdg && Path.IsPathRooted(xdg) ? xdg
            : Path.Combine(environment("HOME") is { Length: > 0 } home ? home : Path.GetTempPath(), ".cache");
        return Path.Combine(root, "graph", "kernels");
    }

    /// <summary>Opens the folder, creating it for this user alone.</summary>
    /// <exception cref="DeviceException">It cannot be created, belongs to another user, or others may write to it.</exception>
    public static KernelCache Open(string folder)
    {
        const string advice = "set GRAPH_CACHE to a folder of your own, or GRAPH_CACHE=off to compile at each start";
        try
        {
            if (OperatingSystem.IsWindows()) Directory.CreateDirectory(folder);
            else Directory.CreateDirectory(folder, Private);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DeviceException($"kernel cache: {folder} cannot be created ({e.Message}); {advice}");
        }
        // On Windows the local application data folder is private through its access list.
        if (!OperatingSystem.IsWindows())
        {
            var mode = File.GetUnixFileMode(folder);
            if ((mode & (UnixFileMode.OtherWrite | UnixFileMode.GroupWrite)) != 0)
                throw new DeviceException($"kernel cache: others may write to {folder}, so its kernels cannot be trusted; "
                    + $"delete what is in it and run chmod 700 on it, or {advice}");
            if (Owner(folder) is { } owner && owner != EffectiveUser())
                throw new DeviceException($"kernel cache: {folder} belongs to user {owner}, so its kernels cannot be trusted; {advice}");
        }
        return new KernelCache(folder);
    }

    /// <summary>
    /// The kernel stored under the key, or null.
    /// An entry that is damaged, another key's, another user's or writable by others is deleted, so that the next <see cref="Store"/> replaces it:
    /// the folder may have been open to all before it was closed.
    /// </summary>
    public CompiledKernel? Find(KernelKey key, string architecture)
    {
        var file = PathOf(key);
        byte[] bytes;
        try
        {
            if (!IsMine(file))
            {
                TryDelete(file);
                return null;
            }
            bytes = File.ReadAllBytes(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
        if (KernelImageFile.Read(key, architecture, bytes) is { } kernel) return kernel;
        TryDelete(file);
        return null;
    }

    /// <summary>Publishes a kernel. A full disk or a lost race is no error: the kernel is compiled again next time.</summary>
    public void Store(KernelKey key, CompiledKernel kernel)
    {
        var temporary = Path.Combine(Folder, $".{key.Hex}.{Environment.ProcessId}.{Guid.NewGuid():N}");
        try
        {
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using (var stream = new FileStream(temporary, options)) stream.Write(KernelImageFile.Write(key, kernel));
            File.Move(temporary, PathOf(key), overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
        }
    }

    public string PathOf(KernelKey key) => Path.Combine(Folder, key.Hex);

    static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody else removed or replaced it first.
        }
    }

    // A missing file is nobody's fault: reading it finds that out.
    static bool IsMine(string file)
    {
        if (OperatingSystem.IsWindows() || !File.Exists(file)) return true;
        return (File.GetUnixFileMode(file) & (UnixFileMode.OtherWrite | UnixFileMode.GroupWrite)) == 0 
            && new[] { Owner(file), Owner(file, ofLink: true) }.All(owner => owner is null || owner == EffectiveUser());
    }

    // .NET has no call for a file's owner. statx has one layout on all Linux architectures: stx_uid is at byte 20
    // of 256. Who made a symbolic link chose what is read, so a link's own owner counts too.
    static unsafe uint? Owner(string path, bool ofLink = false)
    {
        if (!OperatingSystem.IsLinux()) return null;
        var status = stackalloc byte[256];
        const int currentDirectory = -100, noFollow = 0x100;
        const uint wantOwner = 0x8;
        return StatX(currentDirectory, path, ofLink ? noFollow : 0, wantOwner, status) == 0 ? *(uint*)(status + 20) : null;
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)] private static unsafe partial int StatX(int folder, string path, int flags,
        uint mask, byte* status);
    [LibraryImport("libc", EntryPoint = "geteuid")] private static partial uint EffectiveUser();
}
