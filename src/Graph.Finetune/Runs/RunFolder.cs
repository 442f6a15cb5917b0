using System;
using System.IO;
using System.Linq;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;

namespace Graph.Finetune.Runs;

/// <summary>What becomes of a run that is in the folder already.</summary>
public enum RunStart
{
    /// <summary>There must be none.</summary>
    New,
    /// <summary>It is replaced.</summary>
    Overwrite,
    /// <summary>It goes on.</summary>
    Resume,
}

/// <summary>
/// The folder of a run (--out), owned by one process until it is disposed of or dies: the system holds a lock on
/// the file .lock in it. The file stays, for a second process may have opened it already.
/// </summary>
public sealed class RunFolder : IDisposable
{
    const string LockName = ".lock";

    readonly FileStream owned;

    RunFolder(string path, FileStream owned) => (Path, this.owned) = (path, owned);

    public string Path { get; }
    public string Checkpoints => CheckpointsOf(Path);

    /// <summary>Refuses early what <see cref="Claim"/> would refuse, and writes nothing.</summary>
    /// <exception cref="UsageException">There is a run that is neither to be replaced nor to go on.</exception>
    /// <exception cref="InputException">It is no folder.</exception>
    public static void Check(string path, RunStart start)
    {
        if (File.Exists(path)) throw new InputException($"'{path}' cannot be written: it is a file; give a folder with --out.");
        if (start == RunStart.New && Holds(path) is { } held)
            throw new UsageException($"'{path}' holds {held} of an earlier run; --resume goes on with it, --overwrite replaces it, another --out keeps it.");
    }

    /// <summary>Makes the folder if there is none, and owns it.</summary>
    /// <exception cref="UsageException">As in <see cref="Check"/>, or another process owns it.</exception>
    /// <exception cref="InputException">It cannot be written.</exception>
    public static RunFolder Claim(string path, RunStart start)
    {
        FileStream owned;
        try
        {
            Directory.CreateDirectory(path);
            owned = new FileStream(System.IO.Path.Combine(path, LockName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1);
        }
        catch (IOException e) when (IsTaken(e))
        {
            throw new UsageException($"another process trains into '{path}'; wait until it has ended, or give another --out.");
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            throw new InputException($"'{path}' cannot be written: {e.Message}");
        }
        var folder = new RunFolder(path, owned);
        try
        {
            Check(path, start);
            AtomicFiles.Tidy(path);
            AtomicFiles.Tidy(folder.Checkpoints);
            return folder;
        }
        catch (Exception e)
        {
            folder.Dispose();
            if (AtomicFiles.IsFault(e)) throw new InputException($"'{path}' cannot be written: {e.Message}");
            throw;
        }
    }

    /// <summary>Name of the link to the checkpoint with the lowest evaluation loss, beside the adapter of the last step.</summary>
    public const string BestName = "best";

    /// <summary>Names the best checkpoint; null: there is none.</summary>
    /// <exception cref="IOException">The link cannot be made.</exception>
    public void NameBest(int? step)
    {
        var link = System.IO.Path.Combine(Path, BestName);
        if (step is { } best) AtomicFiles.Link(link, System.IO.Path.GetRelativePath(Path, RunCheckpoint.FolderOf(Checkpoints, best)));
        else AtomicFiles.Unlink(link);
    }

    /// <summary>Takes the checkpoints of an earlier run away. Its adapter stays until the first of the new run replaces it; its metrics until the new run's first line.</summary>
    /// <exception cref="InputException">They cannot be removed.</exception>
    public void RemoveCheckpoints()
    {
        try
        {
            NameBest(null);
            AtomicFiles.Remove(Checkpoints);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            throw new InputException($"'{Checkpoints}' cannot be removed: {e.Message}");
        }
    }

    /// <summary>Bytes that may still be written where the folder is, or lies once it is made; null where the system does not say.</summary>
    public static long? FreeBytes(string path)
    {
        try
        {
            var at = System.IO.Path.GetFullPath(path);
            while (!Directory.Exists(at) && System.IO.Path.GetDirectoryName(at) is { } parent) at = parent;
            return new DriveInfo(at).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    public void Dispose() => owned.Dispose();

    public static string CheckpointsOf(string path) => System.IO.Path.Combine(path, "checkpoints");

    static string? Holds(string path) =>
        new[] { PeftAdapter.ConfigName, PeftAdapter.WeightsName, SavedModel.SingleName, SavedModel.IndexName,
        MetricsFile.Name, System.IO.Path.GetFileName(CheckpointsOf(path)) }.FirstOrDefault(name => System.IO.Path.Exists(System.IO.Path.Combine(path, name)));

    // EWOULDBLOCK of Linux and of macOS, ERROR_SHARING_VIOLATION of Windows.
    static bool IsTaken(IOException e) => OperatingSystem.IsWindows() ? e.HResult == unchecked((int)0x80070020) : e.HResult is 11 or 35;
}
