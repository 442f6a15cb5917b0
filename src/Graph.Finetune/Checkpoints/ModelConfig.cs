using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Runtime;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Checkpoints;

/// <summary>config.json of a Hugging Face directory, compared with a compiled model but for what the model's Changes name.
/// Old and new spellings are read (rope_theta, or rope_parameters that holds it); the dtype is not, for the tensors say their own.</summary>
public static class ModelConfig
{
    /// <returns>How the rope tables of the schedule are scaled: the one thing that a checkpoint decides at run time.</returns>
    /// <exception cref="InputException">config.json is missing, is not JSON, or differs from the variant; the sentence names the field and both values.</exception>
    public static IReadOnlyDictionary<string, RopeScaling> Check(string directory, CompiledModel model, Schedule schedule)
    {
        if (!Directory.Exists(directory)) throw new InputException($"there is no model directory '{directory}'.");
        var path = Path.Combine(directory, "config.json");
        if (!File.Exists(path)) throw new InputException($"'{directory}' has no config.json; give the directory of a Hugging Face model.");
        using var document = Json.ParseFile(path);
        var changes = model.Changes?.Invoke().Declared ?? [];
        Check(path, document.RootElement, model.Name, model.Config().Where(f => !changes.Contains(f.Key)));
        return RopeConfig.Read(path, document.RootElement, schedule, sameTheta: !changes.Contains("rope_theta"));
    }

    static void Check(string path, JsonElement config, string variant, IEnumerable<KeyValuePair<string, object?>> expected)
    {
        if (config.ValueKind != JsonValueKind.Object) throw new InputException($"{path} is {Json.Show(config)}, not an object of settings.");
        foreach (var (field, value) in expected)
        {
            var found = Find(config, field);
            // Older files have no layer_types: there even layers are local, whatever the file says.
            if (field == "layer_types" && found.All(f => f.ValueKind == JsonValueKind.Null)) continue;
            if (found.Count == 0 && Default(field) is { } assumed && (AsNumber(assumed) is { } number ? number == AsNumber(value) : assumed.Equals(value))) continue;
            if (found.Count > 0 && found.All(f => Same(f, value))) continue;
            throw new InputException($"{path}: {field} is {(found.Count > 0 ? Json.Show(found.First(f => !Same(f, value))) : "not there")} "
                + $"but the variant {variant} has {Show(value)}; "
                + $"choose the variant of this checkpoint, or name {field} in the variant's Changes if it differs on purpose.");
        }
        // Settings that change the computation and that no variant has.
        if (config.TryGetProperty("quantization_config", out var quantization) && quantization.ValueKind != JsonValueKind.Null) QuantizationConfig.Check(path, quantization);
        foreach (var (field, value) in
            new (string, object)[] { ("attention_bias", false), ("use_bidirectional_attention", false), ("attention_dropout", 0), ("partial_rotary_factor", 1) })
        {
            if (config.TryGetProperty(field, out var other) && other.ValueKind != JsonValueKind.Null && !Same(other, value))
                throw new InputException($"{path}: {field} is {Json.Show(other)} but the variant {variant} has {Show(value)}.");
        }
    }

    /// <summary>
    /// Holds quantization_config against the tensors, of which each says itself whether it is packed:
    /// a config that was left beside 16-bit weights would change the losses of who believes it.
    /// </summary>
    /// <exception cref="InputException">It is there, and no tensor is packed.</exception>
    public static void CheckPacked(string directory, bool isPacked)
    {
        var path = Path.Combine(directory, "config.json");
        using var document = Json.ParseFile(path);
        if (!isPacked && document.RootElement.TryGetProperty("quantization_config", out var quantization) && quantization.ValueKind != JsonValueKind.Null)
            throw new InputException($"{path} has a quantization_config, but no tensor beside it is quantized; "
                + "take the field out, and --quant nf4 quantizes the weights as they are loaded.");
    }

    // A file that is in both spellings must mean the same by both.
    static List<JsonElement> Find(JsonElement config, string field)
    {
        var found = new List<JsonElement>();
        if (config.TryGetProperty(field, out var value)) found.Add(value);
        if (field == "rope_theta" && config.TryGetProperty("rope_parameters", out var rope) && rope.ValueKind == JsonValueKind.Object
            && rope.TryGetProperty(field, out value)) found.Add(value);
        return found;
    }

    // What transformers (Gemma2Config) takes for a field that a file leaves out. Sizes have such values too, but a file
    // without them is no checkpoint's; query_pre_attn_scalar's was 224 and is 256, so a file must have it.
    static object? Default(string field) => field switch
    {
        "hidden_activation" => "gelu_pytorch_tanh",
        "head_dim" => 256,
        "sliding_window" => 4096,
        "attn_logit_softcapping" => 50.0,
        "final_logit_softcapping" => 30.0,
        "rope_theta" => 10000.0,
        "rms_norm_eps" => 1e-6,
        "tie_word_embeddings" => true,
        "attention_bias" => false,
        "attention_dropout" => 0.0,
        "pad_token_id" => 0,
        "eos_token_id" => 1,
        "bos_token_id" => 2,
        _ => null,
    };

    static bool Same(JsonElement found, object? expected) => (found.ValueKind, expected) switch
    {
        (JsonValueKind.Null, null) => true,
        (JsonValueKind.True or JsonValueKind.False, bool b) => found.GetBoolean() == b,
        (JsonValueKind.String, string s) => Json.Is(found, s),
        (JsonValueKind.Number, not null) => AsNumber(expected) is { } number && found.TryGetDouble(out var value) && value == number,
        (JsonValueKind.Array, System.Collections.IEnumerable list and not string) =>
            list.Cast<object?>().ToArray() is var items && found.GetArrayLength() == items.Length && found.EnumerateArray().Zip(items).All(p => Same(p.First, p.Second)),
        _ => false,
    };

    static double? AsNumber(object? value) => value switch
    {
        int i => i,
        long l => l,
        double d => d,
        float f => f,
        bool b => b ? 1 : 0,
        _ => null,
    };

    static string Show(object? value) => value switch
    {
        null => "null",
        bool b => b ? "true" : "false",
        string s => $"\"{s}\"",
        System.Collections.IEnumerable list => "[" + string.Join(",", list.Cast<object?>().Select(Show)) + "]",
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };
}
