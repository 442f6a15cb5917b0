using System;
using System.Buffers;
using System.IO;

namespace Graph.Finetune.Runs;

/// <summary>
/// A file that only watches a run and grows at its end: an append is there whole or not at all. What
/// cannot be written waits for the next write and is said once; no run ends for it.
/// </summary>
/// <param name="open">Opens the file; asked when there is something to write, again if it failed.</param>
/// <param name="warn">Receives what is wrong, without a full stop.</param>
public sealed class AppendedFile(string path, Func<FileStream> open, Action<string> warn) : IDisposable
{
    readonly ArrayBufferWriter<byte> waiting = new();
    FileStream? stream;
    bool failing;

    /// <summary>What the next <see cref="Flush"/> appends.</summary>
    public IBufferWriter<byte> Waiting => waiting;

    /// <param name="toDisk">Waits until the disk has it.</param>
    public void Flush(bool toDisk = false)
    {
        try
        {
            stream ??= open();
            Append(stream);
            if (toDisk) stream.Flush(flushToDisk: true);
            failing = false;
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            if (!failing) warn($"{path} cannot be written ({e.Message.TrimEnd('.')}); the run goes on, and its lines wait for room");
            failing = true;
        }
    }

    public void Dispose()
    {
        if (waiting.WrittenCount > 0)
        {
            Flush();
            if (waiting.WrittenCount > 0) warn($"{path} lacks its last lines, {waiting.WrittenCount} bytes: they could not be written");
        }
        stream?.Dispose();
    }

    void Append(FileStream to)
    {
        if (waiting.WrittenCount == 0) return;
        var end = to.Length;
        try
        {
            to.Position = end;
            to.Write(waiting.WrittenSpan);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            // A full disk may have taken a part.
            to.SetLength(end);
            throw;
        }
        waiting.ResetWrittenCount();
    }
}
