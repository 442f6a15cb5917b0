using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Runs;

/// <summary>
/// A run as a folder step-N: the fp32 masters (adapter_config.json and adapter_model.safetensors as PEFT has them, or weights.safetensors),
/// optimizer.safetensors, run.json with the rest, and manifest.json with size and SHA-256 of those.
/// It appears by renaming once all of it is on the disk. It is good if the manifest is, byte for byte, the one that its files give; the same state gives the same bytes.
/// </summary>
public static class RunCheckpoint
{
    const string OptimizerName = "optimizer.safetensors", RunName = "run.json", ManifestName = "manifest.json", Prefix = "step-";
    const int Format = 1;

    static readonly string[] OfAdapter = [PeftAdapter.WeightsName, PeftAdapter.ConfigName, OptimizerName, RunName], OfModel = [ModelProduct.MastersName, OptimizerName, RunName];

    public static string FolderOf(string checkpoints, int step) => Path.Combine(checkpoints, Prefix + step.ToString(CultureInfo.InvariantCulture));

    /// <summary>Steps with a folder, newest first, good or not.</summary>
    public static IReadOnlyList<int> Steps(string checkpoints) => !Directory.Exists(checkpoints) ? [] :
    [
        .. Directory.GetDirectories(checkpoints, Prefix + "*").Select(d => Path.GetFileName(d)[Prefix.Length..])
            .Where(n => int.TryParse(n, NumberStyles.None, CultureInfo.InvariantCulture, out var step) && step.ToString(CultureInfo.InvariantCulture) == n)
            .Select(n => int.Parse(n, CultureInfo.InvariantCulture)).OrderDescending(),
    ];

    /// <exception cref="InputException">It cannot be written; nothing of it stays.</exception>
    public static void Write(string checkpoints, RunState state, IRunProduct product, RunSettings settings)
    {
        try
        {
            Directory.CreateDirectory(checkpoints);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            throw new InputException($"'{checkpoints}' cannot be made: {e.Message}");
        }
        AtomicFiles.WriteFolder(FolderOf(checkpoints, state.Position.Step),
        [
            .. product.Masters(state.Train),
            (OptimizerName, stream => SafetensorsWriter.Write(stream, state.OptimizerTensors(), new Dictionary<string, string> { ["format"] = "pt" })),
            (RunName, stream => stream.Write(Json.File(json => WriteRun(json, state, settings)))),
        ], files => (ManifestName, Manifest(files)));
    }

    /// <summary>What is wrong with a checkpoint, as the end of a sentence that begins with its folder; null: it is as it was written.</summary>
    public static string? Fault(string folder)
    {
        try
        {
            var files = new List<WrittenFile>();
            foreach (var name in Path.Exists(Path.Combine(folder, PeftAdapter.ConfigName)) || Path.Exists(Path.Combine(folder, PeftAdapter.WeightsName)) ? OfAdapter : OfModel)
            {
                var path = Path.Combine(folder, name);
                if (!File.Exists(path)) return $"lacks {name}";
                using var stream = File.OpenRead(path);
                files.Add(new WrittenFile(name, stream.Length, Convert.ToHexStringLower(SHA256.HashData(stream))));
            }
            if (!File.Exists(Path.Combine(folder, ManifestName))) return $"lacks {ManifestName}";
            var written = File.ReadAllBytes(Path.Combine(folder, ManifestName));
            if (written.AsSpan().SequenceEqual(Manifest(files))) return null;
            // Which one it is: the file whose line the manifest does not have.
            var lines = Encoding.UTF8.GetString(written);
            return files.FirstOrDefault(f => !lines.Contains(f.Sha256, StringComparison.Ordinal)) is { } changed
                ? $"has another {changed.Name} than its {ManifestName} says" : $"has a damaged {ManifestName}";
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            return $"cannot be read: {e.Message.TrimEnd('.')}";
        }
    }

    /// <summary>The newest good checkpoint; null: there is none at all. What is passed over because it is damaged is said.</summary>
    /// <exception cref="InputException">There are checkpoints and none is good.</exception>
    public static string? Newest(string checkpoints, Action<string> say)
    {
        var steps = Steps(checkpoints);
        foreach (var step in steps)
        {
            var folder = FolderOf(checkpoints, step);
            if (Fault(folder) is not { } fault) return folder;
            say($"{folder} {fault}; it is passed over, and the run goes on from the checkpoint before it");
        }
        return steps.Count == 0 ? null : throw new InputException($"none of the {steps.Count} checkpoints in '{checkpoints}' is whole; --overwrite begins the run anew.");
    }

    /// <summary>A good checkpoint.</summary>
    /// <exception cref="InputException">It is of another version of this program, or of another model.</exception>
    public static (RunState State, RunSettings Settings) Read(string folder, Schedule schedule)
    {
        var path = Path.Combine(folder, RunName);
        using var document = Graph.Finetune.Json.ParseFile(path);
        try
        {
            var root = document.RootElement;
            if (root.GetProperty("format").GetInt32() is not Format and var other)
                throw new InputException($"{path} has format {other}, but this program reads {Format}; go on with the program that wrote it.");
            var place = root.GetProperty("data_place");
            var position = new RunPosition(root.GetProperty("step").GetInt32(), root.GetProperty("skipped_in_a_row").GetInt32(), root.GetProperty("data_position").GetInt64())
            {
                Place = new DataPlace(place.GetProperty("epoch").GetInt32(), place.GetProperty("window").GetInt32(), place.GetProperty("batch").GetInt32()),
            };
            var rate = root.GetProperty("learning_rate");
            var settings = new RunSettings(Texts(root.GetProperty("settings")), Texts(root.GetProperty("facts")),
                new LearningRate(Enum.Parse<LearningRateShape>(rate.GetProperty("schedule").GetString()!),
                    rate.GetProperty("peak").GetDouble(), rate.GetProperty("warmup").GetInt32(), rate.GetProperty("steps").GetInt32())
                {
                    Minimum = rate.TryGetProperty("minimum", out var minimum) ? minimum.GetDouble() : 0,
                    Restarts = rate.TryGetProperty("restarts", out var restarts) ? restarts.GetInt32() : 0,
                });
            var full = ModelProduct.Trained(schedule).Any();
            IReadOnlyList<AdapterModule> adapters = full ? [] : PeftAdapter.Load(folder, schedule).Modules;
            IReadOnlyList<(string, float[])> masters = full ? ModelProduct.Read(folder, schedule) : [];
            using var optimizer = SafetensorsFile.Open(Path.Combine(folder, OptimizerName));
            return (RunState.Of(position, root.GetProperty("updates").GetInt32(), root.GetProperty("seed").GetInt32(),
                new LossScaleState(root.GetProperty("loss_scale").GetSingle(), root.GetProperty("steps_at_loss_scale").GetInt32()), adapters, masters,
                    optimizer) with { Evaluations = Evaluations(root), Owed = Owed(root, position.Step) }, settings);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new InputException($"{path} has not the fields of a checkpoint: {e.Message}");
        }

        // A run without evaluations has none.
        static EvaluationState Evaluations(JsonElement root) => !root.TryGetProperty("evaluations", out var e) ? EvaluationState.None
            : new EvaluationState(e.GetProperty("best_step")
            .GetInt32(), e.GetProperty("best_loss").ValueKind == JsonValueKind.Null ? double.PositiveInfinity : e.GetProperty("best_loss")
            .GetDouble(), e.GetProperty("since_best").GetInt32());

        static StepReport? Owed(JsonElement root, int step) => !root.TryGetProperty("owed", out var e) ? null
            : new StepReport(step, e.GetProperty("epoch").GetDouble(), Finite(e.GetProperty("loss")),
                e.GetProperty("lr").GetDouble(), Finite(e.GetProperty("grad_norm")), e.GetProperty("tokens").GetInt32(),
                e.GetProperty("step_ms").GetDouble(), e.GetProperty("peak_bytes").GetInt64(), e.GetProperty("planned_peak_bytes").GetInt64(),
                e.GetProperty("skipped").GetBoolean());

        static double Finite(JsonElement number) => number.ValueKind == JsonValueKind.Null ? double.NaN : number.GetDouble();

        static IReadOnlyDictionary<string, string> Texts(JsonElement fields) => fields.EnumerateObject().ToDictionary(f => f.Name, f => f.Value.GetString()!);
    }

    static void WriteRun(Utf8JsonWriter json, RunState state, RunSettings settings)
    {
        json.WriteNumber("format", Format);
        json.WriteNumber("step", state.Position.Step);
        json.WriteNumber("updates", state.Train.Step);
        json.WriteNumber("skipped_in_a_row", state.Position.SkippedInARow);
        json.WriteNumber("data_position", state.Position.DataPosition);
        json.WriteStartObject("data_place");
        json.WriteNumber("epoch", state.Position.Place.Epoch);
        json.WriteNumber("window", state.Position.Place.Window);
        json.WriteNumber("batch", state.Position.Place.Batch);
        json.WriteEndObject();
        json.WriteNumber("seed", state.Train.Seed);
        json.WriteNumber("loss_scale", state.Train.LossScale.Scale);
        json.WriteNumber("steps_at_loss_scale", state.Train.LossScale.GoodSteps);
        if (state.Evaluations is var e && e != EvaluationState.None)
        {
            json.WriteStartObject("evaluations");
            json.WriteNumber("best_step", e.BestStep);
            Number("best_loss", e.BestLoss);
            json.WriteNumber("since_best", e.SinceBest);
            json.WriteEndObject();
        }
        if (state.Owed is { } owed)
        {
            json.WriteStartObject("owed");
            json.WriteNumber("epoch", owed.Epoch);
            Number("loss", owed.Loss);
            json.WriteNumber("lr", owed.LearningRate);
            Number("grad_norm", owed.GradientNorm);
            json.WriteNumber("tokens", owed.Tokens);
            json.WriteNumber("step_ms", owed.Milliseconds);
            json.WriteNumber("peak_bytes", owed.PeakBytes);
            json.WriteNumber("planned_peak_bytes", owed.PlannedPeakBytes);
            json.WriteBoolean("skipped", owed.Skipped);
            json.WriteEndObject();
        }
        json.WriteStartObject("learning_rate");
        json.WriteString("schedule", settings.Rate.Shape.ToString());
        json.WriteNumber("peak", settings.Rate.Peak);
        json.WriteNumber("warmup", settings.Rate.Warmup);
        json.WriteNumber("steps", settings.Rate.Steps);
        json.WriteNumber("minimum", settings.Rate.Minimum);
        json.WriteNumber("restarts", settings.Rate.Restarts);
        json.WriteEndObject();
        foreach (var (name, values) in new[] { ("settings", settings.Values), ("facts", settings.Facts) })
        {
            json.WriteStartObject(name);
            foreach (var (key, value) in values.OrderBy(v => v.Key, StringComparer.Ordinal)) json.WriteString(key, value);
            json.WriteEndObject();
        }

        void Number(string name, double value)
        {
            if (double.IsFinite(value)) json.WriteNumber(name, value);
            else json.WriteNull(name);
        }
    }

    static byte[] Manifest(IEnumerable<WrittenFile> files) => Json.File(json =>
    {
        json.WriteNumber("format", Format);
        json.WriteStartObject("files");
        foreach (var file in files.OrderBy(f => f.Name, StringComparer.Ordinal))
        {
            json.WriteStartObject(file.Name);
            json.WriteNumber("bytes", file.Bytes);
            json.WriteString("sha256", file.Sha256);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    });
}
