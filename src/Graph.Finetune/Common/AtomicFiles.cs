using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;

namespace Graph.Finetune;

/// <summary>
/// Files that are there whole or not at all: written beside their place, flushed to the disk, renamed once all of them are complete. The directory is not flushed (.NET opens none): after a loss of power
/// right behind the renaming a file may be the old one, never a part of one.
/// </summary>
public static class AtomicFiles
{
    /// <exception cref="InputException">A file cannot be written; none of the old ones has changed unless the renaming itself failed.</exception>
    public static void Write(params IReadOnlyList<(string Path, Action<Stream> Content)> files)
    {
        var staged = files.Select(f => (f.Path, Aside: $"{f.Path}.{Guid.NewGuid():N}.partial", f.Content)).ToArray();
        var current = "";
        try
        {
            foreach (var (path, aside, content) in staged)
            {
                current = path;
                using var stream = new FileStream(aside, FileMode.CreateNew, FileAccess.Write);
                content(stream);
                stream.Flush(flushToDisk: true);
            }
            foreach (var (path, aside, _) in staged)
            {
                current = path;
                File.Move(aside, path, overwrite: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{current} cannot be written: {e.Message}");
        }
        finally
        {
            // Deleting in a directory that is not there throws, and would hide why the writing failed.
            foreach (var (_, aside, _) in staged.Where(s => File.Exists(s.Aside))) File.Delete(aside);
        }
    }
}
