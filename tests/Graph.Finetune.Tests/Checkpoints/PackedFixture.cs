using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Tests.Checkpoints;

/// <summary>The fixture's checkpoint in NF4 (tests/fixtures/nf4), nested ("double") and plain, and copies of it that differ.</summary>
static class PackedFixture
{
    public const string State = ".quant_state.bitsandbytes__nf4";

    public static string Directory(string kind) => Path.Combine(Fixture.Repository(), "tests", "fixtures", "nf4", kind, "checkpoint-bnb");

    public static JsonElement Goldens(string kind) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Repository(), "tests", "fixtures", "nf4", kind, "nf4_goldens.json"))).RootElement;

    /// <summary>The linears with their goldens.</summary>
    public static IEnumerable<JsonProperty> Linears(string kind) => Goldens(kind).GetProperty("tensors").EnumerateObject();

    public static string Sha(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    public static List<SafetensorsTensor> Tensors(string kind)
    {
        using var file = SafetensorsFile.Open(Path.Combine(Directory(kind), "model.safetensors"));
        return [.. file.Tensors.Values.Select(e => new SafetensorsTensor(e.Name, e.DType, e.Shape, file.Bytes(e, 0, (int)e.Length).ToArray()))];
    }

    /// <summary>A copy of the checkpoint in a directory of its own.</summary>
    public static string Write(Scratch scratch, string kind, Func<IEnumerable<SafetensorsTensor>, IEnumerable<SafetensorsTensor>>? change = null, Action<JsonObject>? config = null)
    {
        var json = JsonNode.Parse(File.ReadAllText(Path.Combine(Directory(kind), "config.json")))!.AsObject();
        config?.Invoke(json);
        scratch.File("config.json", json.ToJsonString());
        SafetensorsWriter.Write(Path.Combine(scratch.Path, "model.safetensors"), [.. (change ?? (t => t))(Tensors(kind))], new Dictionary<string, string>());
        return scratch.Path;
    }

    /// <summary>The checkpoint with its weights dequantised: bf16, nothing packed.</summary>
    public static string Dequantized(Scratch scratch, string kind)
    {
        using var packed = Checkpoint.Open(Directory(kind));
        return Write(scratch, kind, tensors => tensors.Where(t => !t.Name.Contains(".weight.", StringComparison.Ordinal)).Select(t =>
        {
            var stored = packed.Describe(t.Name);
            return stored.Type == StoredType.Bf16
                ? new SafetensorsTensor(t.Name, "BF16", [.. stored.Shape.Select(d => (long)d)], packed.Rows(t.Name, 0, stored.Shape[0], []).ToArray()) : t;
        }).ToArray(), json => json.Remove("quantization_config"));
    }

    /// <summary>A tensor's quant_state with a field changed (null: removed).</summary>
    public static SafetensorsTensor WithState(SafetensorsTensor tensor, string field, JsonNode? value)
    {
        var json = JsonNode.Parse(tensor.Data.Span)!.AsObject();
        json.Remove(field);
        if (value is not null) json[field] = value;
        var bytes = Encoding.UTF8.GetBytes(json.ToJsonString());
        return new SafetensorsTensor(tensor.Name, "U8", [bytes.Length], bytes);
    }
}
