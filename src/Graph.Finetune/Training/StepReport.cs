using System;
using System.Buffers;
using System.Globalization;
using System.IO;
using System.Text.Json;

namespace Graph.Finetune.Training;

/// <summary>What one optimizer step did; a line of metrics.jsonl.</summary>
/// <param name="Milliseconds">From the end of the step before to the end of this one.</param>
public sealed record StepReport(int Step, double Epoch, double Loss, double LearningRate, double GradientNorm, int Tokens, double Milliseconds, long PeakBytes, long PlannedPeakBytes, bool Skipped)
{
    public double TokensPerSecond => Tokens / Milliseconds * 1000;

    public string Text(int steps) => string.Create(CultureInfo.InvariantCulture,
        $"step {Step}/{steps}  loss {Loss:F4}  lr {LearningRate:G3}  grad norm {GradientNorm:G4}  {TokensPerSecond:F0} tokens/s  {Milliseconds:F0} ms{(Skipped ? "  skipped: the gradient is not finite" : "")}");

    /// <summary>What fits beside a progress bar.</summary>
    public string Short(int steps) => string.Create(CultureInfo.InvariantCulture, $"{Step}/{steps}  loss {Loss:F4}  {TokensPerSecond:F0} tokens/s");
}

/// <summary>metrics.jsonl: every step is one write of one whole line, so that a crash leaves whole lines.</summary>
public sealed class MetricsFile : IDisposable
{
    public const string Name = "metrics.jsonl";

    readonly FileStream stream;
    readonly ArrayBufferWriter<byte> line = new();

    MetricsFile(FileStream stream) => this.stream = stream;

    /// <summary>Makes the directory and an empty file in it.</summary>
    /// <exception cref="InputException">It cannot be made.</exception>
    public static MetricsFile Create(string directory)
    {
        try
        {
            Directory.CreateDirectory(directory);
            return new MetricsFile(new FileStream(Path.Combine(directory, Name), FileMode.Create, FileAccess.Write, FileShare.Read, 0));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"'{directory}' cannot be written: {e.Message}");
        }
    }

    public void Write(StepReport report)
    {
        line.ResetWrittenCount();
        using (var json = new Utf8JsonWriter(line))
        {
            json.WriteStartObject();
            json.WriteNumber("step", report.Step);
            json.WriteNumber("epoch", Math.Round(report.Epoch, 4));
            Number("loss", report.Loss);
            json.WriteNumber("lr", report.LearningRate);
            Number("grad_norm", report.GradientNorm);
            json.WriteNumber("tokens", report.Tokens);
            json.WriteNumber("tokens_per_second", Math.Round(report.TokensPerSecond, 1));
            json.WriteNumber("step_ms", Math.Round(report.Milliseconds, 3));
            json.WriteNumber("peak_bytes", report.PeakBytes);
            json.WriteNumber("planned_peak_bytes", report.PlannedPeakBytes);
            json.WriteBoolean("skipped", report.Skipped);
            json.WriteEndObject();

            // JSON has no NaN.
            void Number(string name, double value)
            {
                if (double.IsFinite(value)) json.WriteNumber(name, value);
                else json.WriteNull(name);
            }
        }
        line.Write("\n"u8);
        try
        {
            stream.Write(line.WrittenSpan);
            stream.Flush();
        }
        catch (IOException e)
        {
            throw new InputException($"{stream.Name} cannot be written: {e.Message}");
        }
    }

    public void Dispose() => stream.Dispose();
}
