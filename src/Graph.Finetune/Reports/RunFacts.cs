using System;
using System.Collections.Generic;
using System.IO;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Graph.Finetune.Reports;

/// <summary>Documents of so many tokens, from <paramref name="Least"/> to <paramref name="Most"/>.</summary>
public sealed record LengthBin(int Least, int Most, int Documents);

/// <summary>What a run's report says beside its metrics: run-facts.json in its folder, written when its first step is done.</summary>
/// <param name="Model">As the person named it.</param>
/// <param name="Steps">Of the whole run.</param>
public sealed record RunFacts(
    string Variant, string Model, string Device, int Steps, IReadOnlyList<Fact> Settings, IReadOnlyList<Fact> Data, IReadOnlyList<LengthBin> Lengths,
    MemoryPicture Memory, IReadOnlyList<ActivationRow> Activations)
{
    public const string Name = "run-facts.json";

    public void Write(string directory) => AtomicFiles.Write((Path.Combine(directory, Name), stream => JsonSerializer.Serialize(stream, this, RunFactsJson.Default.RunFacts)));

    /// <summary>Null: the folder has none.</summary>
    /// <exception cref="InputException">It cannot be read.</exception>
    public static RunFacts? Read(string directory)
    {
        var path = Path.Combine(directory, Name);
        if (!File.Exists(path)) return null;
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), RunFactsJson.Default.RunFacts) is { } facts && facts.IsWhole() ? facts
                : throw new InputException($"{path} has not the fields of a run's facts; the next start of the run writes it again.");
        }
        catch (Exception e) when (e is JsonException or NotSupportedException || AtomicFiles.IsFault(e))
        {
            throw new InputException($"{path} cannot be read: {e.Message.TrimEnd('.')}.");
        }
    }

    // What the reader leaves null where a field is not there, and sizes that do not fit each other.
    bool IsWhole()
    {
        if (Variant is null || Model is null || Device is null || Settings is null || Data is null || Lengths is null || Activations is null
            || Memory is not { Peak: > 0, Edges: { } edges, Bands: { } bands }) return false;
        foreach (var edge in edges) if (edge is not { Length: 2 }) return false;
        foreach (var band in bands) if (band is not { Name: not null, Bytes: { } bytes } || bytes.Count != edges.Count) return false;
        return true;
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RunFacts))]
sealed partial class RunFactsJson : JsonSerializerContext;
