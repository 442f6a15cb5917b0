using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Enumeration;
using System.Linq;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using Graph.Runtime;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Checkpoints;

/// <summary>
/// The weights of a Hugging Face directory: shards by model.safetensors.index.json, or model.safetensors alone. Values that are not finite are refused where they are read.
/// A weight that bitsandbytes packed as NF4 is a bf16 tensor of its dequantised values; its codes are there too.
/// </summary>
public sealed class Checkpoint : IWeightSource, IDisposable
{
    const string IndexName = "model.safetensors.index.json", SingleName = "model.safetensors";

    readonly IReadOnlyList<SafetensorsFile> shards;
    readonly Dictionary<string, (SafetensorsFile Shard, SafetensorsEntry Entry)> tensors;
    readonly IReadOnlyDictionary<string, PackedWeight> packed;

    Checkpoint(string directory, IReadOnlyList<SafetensorsFile> shards)
    {
        (Directory, this.shards) = (directory, shards);
        tensors = shards.SelectMany(s => s.Tensors.Values, (shard, entry) => (shard, entry)).ToDictionary(t => t.entry.Name);
        packed = PackedWeight.All(tensors);
    }

    public string Directory { get; }
    public IReadOnlyCollection<string> Names => tensors.Keys;

    /// <summary>Some weight is in NF4.</summary>
    public bool IsPacked => packed.Count > 0;

    /// <exception cref="InputException">The directory, its index or a shard is missing or wrong, or index and shards disagree.</exception>
    public static Checkpoint Open(string directory)
    {
        if (!System.IO.Directory.Exists(directory)) throw new InputException($"there is no model directory '{directory}'.");
        var index = Path.Combine(directory, IndexName);
        if (!File.Exists(index) && !File.Exists(Path.Combine(directory, SingleName)))
            throw new InputException($"'{directory}' has neither {IndexName} nor {SingleName}; give the directory of a Hugging Face model in safetensors format.");
        var map = File.Exists(index) ? ReadIndex(index) : null;
        var shards = new List<SafetensorsFile>();
        try
        {
            foreach (var name in map?.Values.Distinct().Order(StringComparer.Ordinal)
                ?? Enumerable.Repeat(SingleName, 1)) shards.Add(SafetensorsFile.Open(Path.Combine(directory, name)));
            if (map is not null) CheckIndex(index, map, shards);
            return new Checkpoint(directory, shards);
        }
        catch
        {
            foreach (var shard in shards) shard.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Compares names, dtypes and shapes with what the model needs, so that a wrong checkpoint is refused before anything is allocated. A tensor that the model
    /// does not read is a difference too, unless the model's Changes name it, or it says nothing: the angles of RoPE, and the head where it is the embedding.
    /// </summary>
    /// <exception cref="InputException">Tensors are missing, have another shape or a dtype that is not F32, BF16 or F16, or are not read by the model.</exception>
    public void Check(Schedule schedule, CompiledModel model)
    {
        var needed = schedule.Tensors.Where(t => t.Kind == TensorKind.Weight).SelectMany(t => t.Stored()).DistinctBy(t => t.Name).ToDictionary(t => t.Name, t => t.Shape);
        var missing = needed.Keys.Where(n => !tensors.ContainsKey(n)).ToArray();
        if (missing.Length > 0) throw new InputException($"'{Directory}' has no tensor {Some(missing)}, which {model.Name} needs; it is the checkpoint of another model.");
        var shapes = needed.Where(t => !Describe(t.Key).Shape.SequenceEqual(t.Value))
            .Select(t => $"{t.Key} is [{string.Join(",", Describe(t.Key).Shape)}] but {model.Name} needs [{string.Join(",", t.Value)}]").ToArray();
        if (shapes.Length > 0) throw new InputException($"'{Directory}': {Some(shapes)}; it is the checkpoint of another size.");

        var tied = model.Config().Any(f => f is { Key: "tie_word_embeddings", Value: true });
        var changes = model.Changes?.Invoke().Declared ?? [];
        var unread = tensors.Keys.Where(n => !needed.ContainsKey(n) && !PackedWeight.IsBeside(n, packed.ContainsKey)
            && !n.EndsWith(".rotary_emb.inv_freq", StringComparison.Ordinal) && !(tied && n == "lm_head.weight")
            && !changes.Any(c => FileSystemName.MatchesSimpleExpression(c, n, ignoreCase: false))).Order(StringComparer.Ordinal).ToArray();
        if (unread.Length > 0)
            throw new InputException($"'{Directory}' holds {Some(unread)}, which {model.Name} does not read; "
                + "choose the variant of this checkpoint, or name what is left out on purpose in the variant's Changes (* stands for any text).");
    }

    // The first few, and how many more there are.
    static string Some(IReadOnlyList<string> names)
    {
        const int shown = 3;
        return string.Join(", ", names.Take(shown)) + (names.Count > shown ? $" and {names.Count - shown} more" : "");
    }

    public StoredTensor Describe(string name)
    {
        if (packed.TryGetValue(name, out var weight)) return new StoredTensor(StoredType.Bf16, weight.Shape);
        var (shard, entry) = Find(name);
        var type = entry.DType switch
        {
            "F32" => StoredType.F32,
            "BF16" => StoredType.Bf16,
            "F16" => StoredType.F16,
            _ => throw new InputException($"{shard.Path}: {name} is {entry.DType}; "
                + $"weights must be F32, BF16 or F16, or packed in NF4 by bitsandbytes with {name}.quant_state.bitsandbytes__nf4 beside them."),
        };
        if (entry.Shape.Count == 0 || entry.Shape.Any(d => d is < 1 or > int.MaxValue))
            throw new InputException($"{shard.Path}: {name} has the shape [{string.Join(",", entry.Shape)}]; every extent must be from 1 to {int.MaxValue}.");
        return new StoredTensor(type, [.. entry.Shape.Select(d => (int)d)]);
    }

    public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
    {
        if (packed.TryGetValue(name, out var weight))
        {
            var elements = rows * weight.Shape[1];
            var values = scratch.Length >= 2 * elements ? scratch[..(2 * elements)] : new byte[2 * elements];
            weight.Dequantize((long)row * weight.Shape[1], MemoryMarshal.Cast<byte, ushort>(values));
            return values;
        }
        var (shard, entry) = Find(name);
        var rowBytes = entry.Shape.Count == 1 ? entry.Length : entry.Length / entry.Shape[0];
        var bytes = checked((int)(rows * rowBytes));
        var to = scratch.Length < bytes ? new byte[bytes] : scratch[..bytes];
        shard.Read(entry, row * rowBytes, to, Describe(name).Type);
        return to;
    }

    /// <summary>SHA-256 of config.json and of every shard's size, header and samples of its data: reading all of it would take longer than a start.</summary>
    /// <exception cref="InputException">A file cannot be read.</exception>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var config = Path.Combine(Directory, "config.json");
        try
        {
            if (File.Exists(config)) hash.AppendData(File.ReadAllBytes(config));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{config} cannot be read: {e.Message}");
        }
        foreach (var shard in shards) shard.AddSamples(hash);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    public WeightFormat FormatOf(string name) => packed.TryGetValue(name, out var weight) ? weight.Format : WeightFormat.Act;

    public Nf4Tensor Codes(string name) => packed[name].Read();

    public void Dispose()
    {
        foreach (var shard in shards) shard.Dispose();
    }

    (SafetensorsFile Shard, SafetensorsEntry Entry) Find(string name) =>
        tensors.TryGetValue(name, out var found) ? found : throw new KeyNotFoundException($"'{Directory}' has no tensor {name}.");

    static Dictionary<string, string> ReadIndex(string path)
    {
        using var document = Json.ParseFile(path);
        if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("weight_map", out var map) || map.ValueKind != JsonValueKind.Object)
            throw new InputException($"{path} has no weight_map, the object that names the shard of every tensor.");
        var result = new Dictionary<string, string>();
        foreach (var property in map.EnumerateObject())
        {
            var tensor = Json.Name(property) ?? throw new InputException($"{path}: weight_map has a name that is no Unicode text.");
            var shard = property.Value.ValueKind == JsonValueKind.String ? Json.Text(property.Value) : null;
            if (shard is null || !IsPlainFileName(shard))
                throw new InputException($"{path}: the shard of {tensor} is {Json.Show(property.Value)}; it must be the plain name of a .safetensors file in the same directory.");
            result.Add(tensor, shard);
        }
        return result.Count > 0 ? result : throw new InputException($"{path}: weight_map names no tensor.");
    }

    // A shard's name comes from a downloaded file: it must not lead out of the directory on any system.
    // A symbolic link of that name is followed wherever it leads: Hugging Face's cache is made of links, and whoever can make one in the directory can put the file itself there.
    static bool IsPlainFileName(string name) =>
        name.EndsWith(".safetensors", StringComparison.Ordinal) && name[0] != '.' && name.AsSpan().IndexOfAny("/\\:\0") < 0;

    static void CheckIndex(string path, Dictionary<string, string> map, IReadOnlyList<SafetensorsFile> shards)
    {
        var files = shards.ToDictionary(s => Path.GetFileName(s.Path));
        foreach (var (tensor, shard) in map)
        {
            if (!files[shard].Tensors.ContainsKey(tensor))
                throw new InputException($"{path} says that {tensor} is in {shard}, but it is not; index and shards are of different downloads.");
        }
        foreach (var (name, shard) in files)
        {
            var stray = shard.Tensors.Keys.FirstOrDefault(t => !map.TryGetValue(t, out var named) || named != name);
            if (stray is not null)
                throw new InputException($"{shard.Path} holds {stray}, but {IndexName} says {(map.TryGetValue(stray, out var other) ? $"it is in {other}" : "nothing of it")}; "
                    + "index and shards are of different downloads.");
        }
    }
}
