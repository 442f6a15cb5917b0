using System;
using System.IO;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Training;

namespace Graph.Finetune.Runs;

/// <summary>
/// metrics.jsonl: every step is one write of one whole line, behind the lines that are there.
/// A run that goes on after step N keeps the lines up to N; those of steps that it does again, and a part of a line, go when its first line comes.
/// </summary>
/// <param name="after">The step whose line is the last to keep; 0: none.</param>
/// <param name="warn">Receives what is wrong, without a full stop.</param>
public sealed class MetricsFile(string directory, int after, Action<string> warn) : IDisposable
{
    public const string Name = "metrics.jsonl";

    readonly string path = Path.Combine(directory, Name);
    AppendedFile? file;

    AppendedFile Appended => file ??= new AppendedFile(path, Open, warn);

    public void Write(StepReport report)
    {
        report.WriteTo(Appended.Waiting);
        Appended.Flush();
    }

    /// <param name="toDisk">Waits until the disk has it.</param>
    public void Flush(bool toDisk = false) => Appended.Flush(toDisk);

    public void Dispose() => file?.Dispose();

    FileStream Open()
    {
        var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, 0);
        try
        {
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            var (kept, last) = Kept(bytes);
            if (kept < bytes.Length) file.SetLength(kept);
            if (last < after) warn($"{path} ends with step {last}, although the run goes on after step {after}; the lines between are lost");
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    // Bytes of the whole lines up to the step, and the last step among them.
    (int Bytes, int Step) Kept(ReadOnlySpan<byte> bytes)
    {
        var (kept, last) = (0, 0);
        while (bytes[kept..].IndexOf((byte)'\n') is >= 0 and var length && StepOf(bytes.Slice(kept, length)) is { } step
            && step <= after) (kept, last) = (kept + length + 1, step);
        return (kept, last);
    }

    static int? StepOf(ReadOnlySpan<byte> line)
    {
        try
        {
            using var json = JsonDocument.Parse(Encoding.UTF8.GetString(line));
            return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty("step", out var step) && step.ValueKind == JsonValueKind.Number
                && step.TryGetInt32(out var number) ? number : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
