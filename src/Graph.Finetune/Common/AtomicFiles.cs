using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Graph.Finetune;

/// <summary>A file of a folder as it was written. Sha256: in lower-case hexadecimal digits.</summary>
public sealed record WrittenFile(string Name, long Bytes, string Sha256);

/// <summary>Files and folders that are there whole or not at all: written beside their place, flushed to the disk,
/// renamed once all of them are complete. Folders are flushed too (not on Windows), so what was
/// renamed stays after a loss of power.</summary>
public static partial class AtomicFiles
{
    // What is being written, what is being removed, and what stands aside while another takes its place.
    const string Partial = ".partial", Old = ".old", Replaced = ".replaced";

    /// <summary>The disk's fault and not the program's. A file that would grow beyond what its disk or process allows is an ArgumentOutOfRangeException in .NET.</summary>
    public static bool IsFault(Exception e) => e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException { ParamName: "value" };

    /// <exception cref="InputException">A file cannot be written; none of the old ones has changed unless the renaming itself failed.</exception>
    public static void Write(params IReadOnlyList<(string Path, Action<Stream> Content)> files)
    {
        var staged = files.Select(f => (f.Path, Aside: $"{f.Path}.{Guid.NewGuid():N}{Partial}", f.Content)).ToArray();
        var current = "";
        try
        {
            foreach (var (path, aside, content) in staged)
            {
                current = path;
                WriteFile(aside, content);
            }
            foreach (var (path, aside, _) in staged)
            {
                current = path;
                File.Move(aside, path, overwrite: true);
            }
            foreach (var folder in files.Select(f => Path.GetDirectoryName(Path.GetFullPath(f.Path))!).Distinct()) Sync(folder);
        }
        catch (Exception e) when (IsFault(e))
        {
            throw new InputException($"{current} cannot be written: {e.Message}");
        }
        finally
        {
            // Deleting in a directory that is not there throws, and would hide why the writing failed.
            foreach (var (_, aside, _) in staged.Where(s => File.Exists(s.Aside))) File.Delete(aside);
        }
    }

    /// <summary>A folder of files in the place of one that may be there. Only one process may write a folder at a time.</summary>
    /// <param name="last">Makes one more file from what the others are.</param>
    /// <exception cref="InputException">It cannot be written; the old one has not changed, and nothing stays beside it.</exception>
    public static void WriteFolder(string folder,
        IReadOnlyList<(string Name, Action<Stream> Content)> files, Func<IReadOnlyList<WrittenFile>, (string Name, byte[] Content)>? last = null)
    {
        var (aside, current) = (folder + Partial, folder);
        try
        {
            Remove(aside);
            Directory.CreateDirectory(aside);
            var written = new List<WrittenFile>();
            foreach (var (name, content) in files) written.Add(Write(name, content));
            if (last?.Invoke(written) is var (lastName, bytes)) Write(lastName, stream => stream.Write(bytes));
            Sync(aside);
            current = folder;
            Remove(folder + Replaced);
            if (Directory.Exists(folder)) Directory.Move(folder, folder + Replaced);
            Directory.Move(aside, folder);
            Remove(folder + Replaced);
            Sync(Path.GetDirectoryName(Path.GetFullPath(folder))!);
        }
        catch (Exception e) when (IsFault(e))
        {
            try
            {
                Remove(aside);
            }
            catch (Exception left) when (IsFault(left))
            {
                // What could not be written is the fault to report; the next write removes what stays.
            }
            throw new InputException($"{current} cannot be written: {e.Message}");
        }

        WrittenFile Write(string name, Action<Stream> content)
        {
            current = Path.Combine(folder, name);
            var path = Path.Combine(aside, name);
            var hash = WriteFile(path, content);
            return new WrittenFile(name, new FileInfo(path).Length, hash);
        }
    }

    /// <summary>Removes a folder, if it is there: from its place at once, so that nobody sees a part of it.</summary>
    public static void Remove(string folder)
    {
        if (Directory.Exists(folder + Old)) Directory.Delete(folder + Old, recursive: true);
        if (!Directory.Exists(folder)) return;
        Directory.Move(folder, folder + Old);
        Directory.Delete(folder + Old, recursive: true);
    }

    /// <summary>A symbolic link in the place of one that may be there, or of a folder that a copy made of it.</summary>
    /// <param name="target">Relative to the link's folder.</param>
    public static void Link(string path, string target)
    {
        var aside = path + Partial;
        File.Delete(aside);
        Directory.CreateSymbolicLink(aside, target);
        RemoveFolder(path);
        if (OperatingSystem.IsWindows())
        {
            Unlink(path);
            Directory.Move(aside, path);
        }
        // File.Move and Directory.Move replace no link to a folder.
        else if (Rename(aside, path) != 0) throw new IOException($"the link '{path}' could not be made: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
    }

    /// <summary>Removes a symbolic link, if it is there, and nothing of what it points to.</summary>
    public static void Unlink(string path)
    {
        RemoveFolder(path);
        if (OperatingSystem.IsWindows() && Directory.Exists(path)) Directory.Delete(path);
        else File.Delete(path);
    }

    // Whoever copied a folder may have made a folder of the link in it.
    static void RemoveFolder(string path)
    {
        if (Directory.Exists(path) && new DirectoryInfo(path).LinkTarget is null) Remove(path);
    }

    /// <summary>Tidies what a process that was killed left of its writing in a folder: parts go, and what stood aside for one that did not come is back.</summary>
    public static void Tidy(string parent)
    {
        if (!Directory.Exists(parent)) return;
        foreach (var aside in Directory.GetDirectories(parent, "*" + Replaced))
        {
            if (Directory.Exists(aside[..^Replaced.Length])) Directory.Delete(aside, recursive: true);
            else Directory.Move(aside, aside[..^Replaced.Length]);
        }
        foreach (var part in Directory.GetDirectories(parent, "*" + Partial).Concat(Directory.GetDirectories(parent, "*" + Old))) Directory.Delete(part, recursive: true);
        // Files that were written to the side (Write) have a number of 32 digits in their names.
        foreach (var file in Directory.GetFiles(parent, "*." + new string('?', 32) + Partial)) File.Delete(file);
    }

    /// <summary>Waits until the disk has a folder's names.</summary>
    public static void Sync(string folder)
    {
        if (OperatingSystem.IsWindows()) return;
        var handle = OpenFile(folder, 0);
        if (handle < 0) return;
        var failed = SyncFile(handle) != 0 ? Marshal.GetLastPInvokeError() : 0;
        CloseFile(handle);
        // Some file systems cannot flush a folder and say so; these two mean that it is not on the disk.
        const int ioError = 5, noSpace = 28;
        if (failed is ioError or noSpace) throw new IOException($"the folder '{folder}' could not be flushed: {Marshal.GetPInvokeErrorMessage(failed)}");
    }

    // Returns the SHA-256 of the content.
    static string WriteFile(string path, Action<Stream> content)
    {
        using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
        using var hash = SHA256.Create();
        using (var both = new CryptoStream(file, hash, CryptoStreamMode.Write, leaveOpen: true)) content(both);
        file.Flush(flushToDisk: true);
        return Convert.ToHexStringLower(hash.Hash!);
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)] private static partial int OpenFile(string path, int flags);
    [LibraryImport("libc", EntryPoint = "rename", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)] private static partial int Rename(string from, string to);
    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)] private static partial int SyncFile(int handle);
    [LibraryImport("libc", EntryPoint = "close")] private static partial int CloseFile(int handle);
}
