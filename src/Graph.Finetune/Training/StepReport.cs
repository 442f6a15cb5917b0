using System;
using System.Buffers;
using System.Globalization;
using System.Text.Json;

namespace Graph.Finetune.Training;

/// <summary>What one optimizer step did; a line of metrics.jsonl.</summary>
/// <param name="Milliseconds">From the end of the step before to the end of this one.</param>
public sealed record StepReport(int Step, double Epoch, double Loss, double LearningRate, double GradientNorm, int Tokens, double Milliseconds, long PeakBytes,
    long PlannedPeakBytes, bool Skipped)
{
    /// <summary>Loss over the evaluation data behind this step; null: it was not evaluated.</summary>
    public double? EvaluationLoss { get; init; }

    /// <summary>Floating-point operations that the step needed (<see cref="ModelWork"/>).</summary>
    public double Work { get; init; }

    public double TokensPerSecond => Tokens / Milliseconds * 1000;

    public string Text(int steps) => string.Create(CultureInfo.InvariantCulture,
        $"step {Step}/{steps}  loss {Loss:F4}  lr {LearningRate:G3}  grad norm {GradientNorm:G4}  {TokensPerSecond:F0} tokens/s  {Milliseconds:F0} ms"
            + $"{(EvaluationLoss is { } evaluated ? $"  eval loss {evaluated:F4}" : "")}{(Skipped ? "  skipped: the gradient is not finite" : "")}");

    /// <summary>The line, with its end. JSON has no NaN: a number that is not finite is null.</summary>
    public void WriteTo(IBufferWriter<byte> line)
    {
        using (var json = new Utf8JsonWriter(line))
        {
            json.WriteStartObject();
            json.WriteNumber("step", Step);
            json.WriteNumber("epoch", Math.Round(Epoch, 4));
            Number("loss", Loss);
            json.WriteNumber("lr", LearningRate);
            Number("grad_norm", GradientNorm);
            json.WriteNumber("tokens", Tokens);
            json.WriteNumber("tokens_per_second", Math.Round(TokensPerSecond, 1));
            json.WriteNumber("step_ms", Math.Round(Milliseconds, 3));
            json.WriteNumber("peak_bytes", PeakBytes);
            json.WriteNumber("planned_peak_bytes", PlannedPeakBytes);
            json.WriteBoolean("skipped", Skipped);
            if (EvaluationLoss is { } evaluated) Number("eval_loss", evaluated);
            json.WriteEndObject();

            void Number(string name, double value)
            {
                if (double.IsFinite(value)) json.WriteNumber(name, value);
                else json.WriteNull(name);
            }
        }
        line.Write("\n"u8);
    }
}
