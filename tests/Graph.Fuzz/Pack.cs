using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json;
using Graph.Fuzz.Generation;
using Graph.Gpu.Models;
using static TorchSharp.torch;

namespace Graph.Fuzz;

/// <summary>
/// Random models in one file for a machine with a GPU and without .NET: schedule, kernels of some targets, what their step gives in fp64, and how far a
/// composition of the same math in bf16 and fp16 is off (the worst of sixteen). Weights and data are made there from the seed.
/// `gpu-tests fuzz FILE --target TARGET` runs it.
/// </summary>
public static class Pack
{
    const int Batch = 20;

    // A rounding may take an element over a kink, such as Relu's, and both sides are right: of three compositions all lay on one side in one model of 200.
    const int Compositions = 16;

    // A composition that is off by more than this share of a gradient says nothing about ours.
    const double MostError = 0.3;

    /// <returns>A line per model that could not be packed, and why.</returns>
    public static IReadOnlyList<string> Write(string file, int count, int first, IReadOnlyList<string> targets, double? variety)
    {
        var notes = new List<string>();
        var packed = new List<(int Seed, Compiled Compiled, Expected Expected)>();
        for (var seed = first; packed.Count < count; seed += Batch)
        {
            var models = Enumerable.Range(seed, Batch).Select(s => RandomModel.Of(s, variety)).ToArray();
            using var batch = new CompiledBatch([.. models.Select(Case.Of)], [.. targets.Select(Generator.Schedules.Target.Named)]);
            foreach (var (s, compiled, verdict) in Enumerable.Range(seed, Batch).Zip(batch.Models, batch.Models.AsParallel().AsOrdered().Select(m => Check.Run(m, 0))))
            {
                if (packed.Count == count) break;
                if (verdict.Outcome != Outcome.Right) notes.Add($"seed {s}: {verdict.Outcome}: {verdict.Message.Split('\n')[0]}");
                else if (Expect(compiled.Case) is { } expected) packed.Add((s, compiled, expected));
                else notes.Add($"seed {s}: 16 bits are too few for it");
            }
            if (seed > first + 50 * count)
                throw new InvalidOperationException($"fuzz: of {seed - first} models only {packed.Count} can be packed; "
                    + $"the first was left out because {notes.FirstOrDefault()}");
        }
        using var stream = new GZipStream(File.Create(file), CompressionLevel.SmallestSize);
        using var json = new Utf8JsonWriter(stream);
        Write(json, packed);
        return notes;
    }

    /// <summary>Errors are L2 distances, of the loss too.</summary>
    sealed record Expected(StepValues Exact, IReadOnlyDictionary<string, (double Loss, IReadOnlyDictionary<string, double> Gradients)> Errors);

    static Expected? Expect(Case model)
    {
        var batches = Check.Batches(model);
        var exact = TorchReference.Run(model.Trace, model.Setup, batches, new Storage.Exact());
        var errors = new Dictionary<string, (double, IReadOnlyDictionary<string, double>)>();
        foreach (var (name, type) in new[] { ("bf16", ScalarType.BFloat16), ("fp16", ScalarType.Float16) })
        {
            var compositions = Enumerable.Range(0, Compositions).Select(seed => TorchReference.Run(model.Trace, model.Setup, batches, new Storage.Rounded(type, seed))).ToArray();
            var gradients = exact.Gradients.ToDictionary(g => g.Key, g => compositions.Max(c => Check.Distance(c.Gradients[g.Key], g.Value)));
            if (gradients.Any(g => !(g.Value <= MostError * Math.Max(Check.Size(exact.Gradients[g.Key]), 1e-3)))) return null;
            errors[name] = (compositions.Max(c => Math.Abs(c.Loss - exact.Loss)), gradients);
        }
        return new Expected(exact, errors);
    }

    static void Write(Utf8JsonWriter json, IReadOnlyList<(int Seed, Compiled Compiled, Expected Expected)> packed)
    {
        // A kernel's own lines are often those of another model: each text is written once, as a template.
        var parts = new Dictionary<string, string>();
        json.WriteStartObject();
        json.WriteStartArray("models");
        foreach (var (seed, compiled, expected) in packed)
        {
            var (model, setup) = (compiled.Case, compiled.Case.Setup);
            json.WriteStartObject();
            json.WriteNumber("seed", seed);
            json.WriteNumber("tokens", setup.Tokens);
            json.WriteNumber("ids", model.Ids);
            json.WriteNumber("labels", model.Labels);
            json.WriteNumber("unlabelled", setup.Unlabelled);
            json.WriteNumber("lora_scale", setup.LoraScale);
            json.WriteNumber("logits_rows", setup.LogitsRows ?? 0);
            json.WriteStartArray("documents");
            foreach (var documents in setup.Documents) Numbers(json, null, documents);
            json.WriteEndArray();
            json.WriteStartObject("ranks");
            foreach (var (name, rank) in setup.Ranks) json.WriteNumber(name, rank);
            json.WriteEndObject();
            json.WriteStartObject("weights");
            foreach (var (name, shape) in model.Weights) Numbers(json, name, shape);
            json.WriteEndObject();
            json.WriteNumber("loss", expected.Exact.Loss);
            json.WriteStartObject("gradients");
            foreach (var (name, values) in expected.Exact.Gradients) json.WriteBase64String(name, MemoryMarshal.AsBytes<float>(values.Select(v => (float)v).ToArray()));
            json.WriteEndObject();
            json.WriteStartObject("errors");
            foreach (var (type, errors) in expected.Errors)
            {
                json.WriteStartObject(type);
                json.WriteNumber("loss", errors.Loss);
                foreach (var (name, error) in errors.Gradients) json.WriteNumber(name, error);
                json.WriteEndObject();
            }
            json.WriteEndObject();
            json.WriteString("schedule", compiled.Text!.ScheduleText);
            KernelJson.Targets(json, compiled.Text, part =>
            {
                if (part.StartsWith('@')) return part;
                if (!parts.TryGetValue(part, out var name)) parts.Add(part, name = "@#" + parts.Count);
                return name;
            });
            json.WriteEndObject();
            json.Flush();
        }
        json.WriteEndArray();
        KernelJson.Templates(json, packed.Select(p => p.Compiled.Text!));
        json.WriteStartObject("parts");
        foreach (var (text, name) in parts) json.WriteString(name, text);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    static void Numbers(Utf8JsonWriter json, string? name, IEnumerable<int> values)
    {
        if (name is null) json.WriteStartArray();
        else json.WriteStartArray(name);
        foreach (var value in values) json.WriteNumberValue(value);
        json.WriteEndArray();
    }
}
