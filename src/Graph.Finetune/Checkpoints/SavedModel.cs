using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Checkpoints;

/// <summary>A trained tensor: fp32 values that lie inside an array, and how the file stores them.</summary>
public sealed record TrainedTensor(string Name, IReadOnlyList<int> Shape, StoredType Type, float[] Values, int First)
{
    public int Count => Shape.Aggregate(1, (n, extent) => checked(n * extent));

    /// <summary>The tensor in a type, rounded to nearest even piece by piece: an embedding has more bytes than a span.</summary>
    public SafetensorsTensor As(StoredType type)
    {
        var bytes = type == StoredType.F32 ? 4 : 2;
        return SafetensorsTensor.Of(Name, type switch { StoredType.F32 => "F32", StoredType.Bf16 => "BF16", _ => "F16" }, [.. Shape.Select(s => (long)s)], stream =>
        {
            const int piece = 1 << 22;
            var buffer = ArrayPool<byte>.Shared.Rent(piece * bytes);
            for (var at = 0; at < Count; at += piece)
            {
                var values = System.Runtime.InteropServices.MemoryMarshal.AsBytes(Values.AsSpan(First + at, Math.Min(piece, Count - at)));
                stream.Write(Elements.Convert(values, StoredType.F32, type switch { StoredType.F32 => ActType.F32, StoredType.Bf16 => ActType.Bf16, _ => ActType.F16 }, buffer));
            }
            ArrayPool<byte>.Shared.Return(buffer);
        });
    }
}

/// <summary>
/// A model as a directory that Hugging Face's libraries load: shards of at most 5 GB and their index (one file without
/// an index where it all fits), config.json, and the tokenizer's files as the base model has them.
/// </summary>
public static class SavedModel
{
    public const string ConfigName = "config.json", SingleName = "model.safetensors", IndexName = "model.safetensors.index.json";
    // A whole model on its way to its place: see Save.
    const string Next = "model.next";
    const long ShardBytes = 5_000_000_000;

    /// <summary>What a directory holds beside weights and config.</summary>
    static readonly string[] Companions =
        ["generation_config.json", "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
            "chat_template.json"];

    /// <summary>
    /// Writes all files as one unit: they are complete in a folder of their own, then the old config goes, the shards come,
    /// their index and the config last, so no config stands beside weights that are not all there; a process
    /// that dies meanwhile leaves that folder, and the next Save or <see cref="Complete"/> brings it to its place.
    /// </summary>
    /// <param name="config">config.json.</param>
    /// <param name="shardBytes">Most bytes of a shard's tensors, unless one alone has more.</param>
    /// <param name="from">Directory with the tokenizer's files; null: there are none.</param>
    /// <exception cref="InputException">The files cannot be written; what was there is as it was.</exception>
    public static void Save(string directory, IReadOnlyList<TrainedTensor> tensors, byte[] config, string? from, long shardBytes = ShardBytes)
    {
        try
        {
            Directory.CreateDirectory(directory);
            Complete(directory);
            AtomicFiles.WriteFolder(Path.Combine(directory, Next), Files(tensors, config, from, shardBytes));
            Complete(directory);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            throw new InputException($"the model cannot be written to '{directory}': {e.Message}");
        }
    }

    /// <summary>Brings a whole model that a process left on its way to its place.</summary>
    public static void Complete(string directory)
    {
        var next = Path.Combine(directory, Next);
        if (!Directory.Exists(next)) return;
        // Shards of the model before; once the index is in its place there are none.
        if (File.Exists(Path.Combine(next, IndexName)) || File.Exists(Path.Combine(next, SingleName))) RemoveWeights(directory, WeightsOf(next));
        foreach (var name in Directory.GetFiles(next).Select(f => Path.GetFileName(f))
            .OrderBy(n => n == ConfigName ? 2 : n == IndexName ? 1 : 0)) File.Move(Path.Combine(next, name), Path.Combine(directory, name), overwrite: true);
        AtomicFiles.Sync(directory);
        Directory.Delete(next, recursive: true);
    }

    /// <summary>Takes a model away; its config goes first, for weights alone are no model.</summary>
    public static void Remove(string directory)
    {
        AtomicFiles.Remove(Path.Combine(directory, Next));
        RemoveWeights(directory, []);
    }

    /// <summary>Fields of a config.json as Hugging Face names them.</summary>
    public static byte[] Config(IReadOnlyList<KeyValuePair<string, object?>> fields) => Json.File(json =>
    {
        foreach (var (name, value) in fields.OrderBy(f => f.Key, StringComparer.Ordinal))
        {
            json.WritePropertyName(name);
            switch (value)
            {
                case null: json.WriteNullValue(); break;
                case bool b: json.WriteBooleanValue(b); break;
                case int i: json.WriteNumberValue(i); break;
                case double d: json.WriteNumberValue(d); break;
                case string s: json.WriteStringValue(s); break;
                case int[] numbers: WriteArray(numbers, json.WriteNumberValue); break;
                case string[] texts: WriteArray(texts, json.WriteStringValue); break;
                default: throw new ArgumentException($"config: {name} is of type {value.GetType().Name}.");
            }
        }

        void WriteArray<T>(T[] items, Action<T> write)
        {
            json.WriteStartArray();
            foreach (var item in items) write(item);
            json.WriteEndArray();
        }
    });

    static IReadOnlyList<(string Name, Action<Stream> Content)> Files(IReadOnlyList<TrainedTensor> tensors, byte[] config, string? from, long shardBytes)
    {
        var metadata = new Dictionary<string, string> { ["format"] = "pt" };
        var files = new List<(string Name, Action<Stream> Content)>();
        var shards = Shards(tensors, shardBytes);
        string NameOf(int shard) => shards.Count == 1 ? SingleName : FormattableString.Invariant($"model-{shard + 1:00000}-of-{shards.Count:00000}.safetensors");
        foreach (var (shard, i) in shards.Select((s, i) => (s, i)))
            files.Add((NameOf(i), stream => SafetensorsWriter.Write(stream, [.. shard.Select(t => t.As(t.Type))], metadata)));
        if (shards.Count > 1)
        {
            files.Add((IndexName, stream => stream.Write(Json.File(json =>
            {
                json.WriteStartObject("metadata");
                json.WriteNumber("total_size", tensors.Sum(Bytes));
                json.WriteEndObject();
                json.WriteStartObject("weight_map");
                foreach (var (name, shard) in shards.SelectMany((s, i) => s.Select(t => (t.Name, i)))
                    .OrderBy(t => t.Name, StringComparer.Ordinal)) json.WriteString(name, NameOf(shard));
                json.WriteEndObject();
            }))));
        }
        foreach (var name in Companions)
        {
            if (from is null || Path.Combine(from, name) is var path && !File.Exists(path)) continue;
            files.Add((name, stream =>
            {
                using var file = File.OpenRead(Path.Combine(from, name));
                file.CopyTo(stream);
            }));
        }
        files.Add((ConfigName, stream => stream.Write(config)));
        return files;
    }

    static List<List<TrainedTensor>> Shards(IReadOnlyList<TrainedTensor> tensors, long shardBytes)
    {
        var (shards, taken) = (new List<List<TrainedTensor>> { new() }, 0L);
        foreach (var tensor in tensors)
        {
            if (taken > 0 && taken + Bytes(tensor) > shardBytes)
            {
                shards.Add([]);
                taken = 0;
            }
            shards[^1].Add(tensor);
            taken += Bytes(tensor);
        }
        return shards;
    }

    static long Bytes(TrainedTensor tensor) => (long)tensor.Count * (tensor.Type == StoredType.F32 ? 4 : 2);

    static HashSet<string> WeightsOf(string next)
    {
        if (!File.Exists(Path.Combine(next, IndexName))) return [SingleName];
        using var index = Json.ParseFile(Path.Combine(next, IndexName));
        return [IndexName, .. index.RootElement.GetProperty("weight_map").EnumerateObject().Select(e => e.Value.GetString()!)];
    }

    static void RemoveWeights(string directory, HashSet<string> keep)
    {
        File.Delete(Path.Combine(directory, ConfigName));
        foreach (var file in Directory.GetFiles(directory, "model*.safetensors*").Where(f => !keep.Contains(Path.GetFileName(f)))) File.Delete(file);
    }
}
