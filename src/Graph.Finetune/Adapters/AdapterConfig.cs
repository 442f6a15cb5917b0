using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Graph.Finetune.Adapters;

/// <summary>
/// adapter_config.json of PEFT. Reading refuses every setting that would change the computation and is
/// not plain LoRA; TargetText is a target_modules that is one string (a pattern).
/// </summary>
sealed record AdapterConfig(int Rank, double Alpha, bool RsLora, double Dropout, IReadOnlyList<string> Targets, string? TargetText, IReadOnlyList<int>? Layers)
{
    /// <summary>Ranks and alphas of linears that differ, by PEFT's patterns; the first one that matches counts.</summary>
    public IReadOnlyList<(string Pattern, double Value)> Ranks { get; init; } = [];
    public IReadOnlyList<(string Pattern, double Value)> Alphas { get; init; } = [];

    /// <summary>The same settings; records compare lists by reference.</summary>
    public bool Same(AdapterConfig other) => this with { Targets = other.Targets, Layers = other.Layers, Ranks = other.Ranks, Alphas = other.Alphas } == other
        && Targets.SequenceEqual(other.Targets) && (Layers ?? []).SequenceEqual(other.Layers ?? []) && Ranks.SequenceEqual(other.Ranks) && Alphas.SequenceEqual(other.Alphas);

    /// <exception cref="InputException">A field is missing or wrong, or a setting is not supported; the sentence names it.</exception>
    public static AdapterConfig Read(string path)
    {
        using var document = Json.ParseFile(path);
        var root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object) throw new InputException($"{path} is {Json.Show(root)}, not an object of settings.");
        if (!root.TryGetProperty("peft_type", out _)) throw new InputException($"{path} has no peft_type; it is no adapter_config.json of PEFT.");
        foreach (var property in root.EnumerateObject())
        {
            if (!IsPlainLora(Json.Name(property), property.Value))
                throw new InputException($"{path}: {Json.Show(property)} is {Json.Show(property.Value)}, which is not supported; adapters must be plain LoRA on linears.");
        }
        var rank = Field("r", r => r.ValueKind == JsonValueKind.Number && r.TryGetInt32(out var n) && n is >= 1 and <= 65536 ? n : (int?)null, "a whole number from 1 to 65536");
        var alpha = Field("lora_alpha", a => a.ValueKind == JsonValueKind.Number && a.TryGetDouble(out var x) && double.IsFinite(x) ? x : (double?)null, "a number");
        var dropout = root.TryGetProperty("lora_dropout", out _)
            ? Field("lora_dropout", d => d.ValueKind == JsonValueKind.Number && d.TryGetDouble(out var x) && x is >= 0 and < 1 ? x : (double?)null,
                "a number from 0 to below 1") : 0;
        var rsLora = root.TryGetProperty("use_rslora", out var rs) && rs.ValueKind == JsonValueKind.True;
        var ranks = Pattern("rank_pattern", v => v.TryGetInt32(out var n) && n is >= 1 and <= 65536 ? n : null, "whole numbers from 1 to 65536");
        var alphas = Pattern("alpha_pattern", v => v.TryGetDouble(out var x) && double.IsFinite(x) ? x : null, "numbers");
        var targets = root.TryGetProperty("target_modules", out var t) ? t : throw new InputException($"{path} has no target_modules.");
        if (targets.ValueKind == JsonValueKind.String) return new AdapterConfig(rank, alpha, rsLora, dropout, [], Json.Text(targets), Layers()) { Ranks = ranks, Alphas = alphas };
        if (targets.ValueKind != JsonValueKind.Array || targets.GetArrayLength() == 0
            || targets.EnumerateArray().Any(e => e.ValueKind != JsonValueKind.String || Json.Text(e) is null))
            throw new InputException($"{path}: target_modules is {Json.Show(targets)}; it must be a list of module names.");
        return new AdapterConfig(rank, alpha, rsLora, dropout, [.. targets.EnumerateArray().Select(e => e.GetString()!)], null, Layers()) { Ranks = ranks, Alphas = alphas };

        T Field<T>(string name, Func<JsonElement, T?> read, string rule) where T : struct =>
            !root.TryGetProperty(name, out var value) ? throw new InputException($"{path} has no {name}.")
            : read(value) ?? throw new InputException($"{path}: {name} is {Json.Show(value)}; it must be {rule}.");

        (string, double)[] Pattern(string name, Func<JsonElement, double?> read, string rule)
        {
            if (!root.TryGetProperty(name, out var pattern) || pattern.ValueKind == JsonValueKind.Null) return [];
            if (pattern.ValueKind == JsonValueKind.Object)
            {
                var values = pattern.EnumerateObject().Select(p => (Name: Json.Name(p), Value: p.Value.ValueKind == JsonValueKind.Number ? read(p.Value) : null)).ToArray();
                if (values.All(v => v.Name is not null && v.Value is not null)) return [.. values.Select(v => (v.Name!, v.Value!.Value))];
            }
            throw new InputException($"{path}: {name} is {Json.Show(pattern)}; it must be an object of {rule} by names of linears.");
        }

        IReadOnlyList<int>? Layers()
        {
            if (!root.TryGetProperty("layers_to_transform", out var layers) || layers.ValueKind == JsonValueKind.Null) return null;
            var items = layers.ValueKind == JsonValueKind.Array ? layers.EnumerateArray().ToArray() : [layers];
            return [.. items.Select(l => l.ValueKind == JsonValueKind.Number && l.TryGetInt32(out var n) && n >= 0 ? n
                : throw new InputException($"{path}: layers_to_transform is {Json.Show(layers)}; it must be layer numbers."))];
        }
    }

    /// <summary>Writes the fields that PEFT writes, sorted, two spaces deep.</summary>
    public static void Write(Stream stream, AdapterFile adapter, string? baseModel)
    {
        using var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        json.WriteStartObject();
        // Older versions of PEFT look one name up in both patterns, so both have the same names.
        var own = ModulePatterns.Of(adapter.Modules, m => (m.Rank, Alpha: m.Alpha ?? adapter.Alpha), m => m != (adapter.Rank, adapter.Alpha));
        WritePattern("alpha_pattern", own.Select(m => (m.Name, m.Value.Alpha)), adapter.Alpha);
        json.WriteNull("auto_mapping");
        json.WriteString("base_model_name_or_path", baseModel);
        json.WriteString("bias", "none");
        json.WriteBoolean("fan_in_fan_out", false);
        json.WriteBoolean("inference_mode", true);
        json.WriteBoolean("init_lora_weights", true);
        json.WriteNull("layers_pattern");
        if (adapter.Layers is null) json.WriteNull("layers_to_transform");
        else WriteArray("layers_to_transform", adapter.Layers, json.WriteNumberValue);
        WriteNumber("lora_alpha", adapter.Alpha);
        json.WriteBoolean("lora_bias", false);
        json.WriteNumber("lora_dropout", adapter.Dropout);
        json.WriteNull("modules_to_save");
        json.WriteString("peft_type", "LORA");
        json.WriteNumber("r", adapter.Rank);
        WritePattern("rank_pattern", own.Select(m => (m.Name, (double)m.Value.Rank)), adapter.Rank);
        json.WriteNull("revision");
        WriteArray("target_modules", adapter.Targets, json.WriteStringValue);
        json.WriteString("task_type", "CAUSAL_LM");
        json.WriteBoolean("use_dora", false);
        json.WriteBoolean("use_rslora", adapter.RsLora);
        json.WriteEndObject();

        // PEFT's type is int; newer versions take fractions too.
        void WriteNumber(string name, double value)
        {
            if (value == Math.Floor(value) && Math.Abs(value) < long.MaxValue) json.WriteNumber(name, (long)value);
            else json.WriteNumber(name, value);
        }

        void WritePattern(string name, IEnumerable<(string Name, double Value)> values, double otherwise)
        {
            json.WriteStartObject(name);
            if (values.Any(v => v.Value != otherwise))
                foreach (var (linear, value) in values.OrderBy(v => v.Name, StringComparer.Ordinal)) WriteNumber(linear, value);
            json.WriteEndObject();
        }

        void WriteArray<T>(string name, IReadOnlyList<T> items, Action<T> write)
        {
            json.WriteStartArray(name);
            foreach (var item in items) write(item);
            json.WriteEndArray();
        }
    }

    // Settings are known by name; one that is not may be anything as long as it is off. Initialisations
    // that only fill A and B are harmless, those that change W (PiSSA, OLoRA) are not.
    static bool IsPlainLora(string? name, JsonElement value) => name switch
    {
        "peft_type" => Json.Is(value, "LORA"),
        "bias" => Json.Is(value, "none"),
        "init_lora_weights" => value.ValueKind is JsonValueKind.True or JsonValueKind.False or JsonValueKind.Null || Json.Is(value, "gaussian")
            || Json.Is(value, "orthogonal") || Json.Is(value, "eva"),
        "use_rslora" => value.ValueKind is JsonValueKind.True or JsonValueKind.False,
        "task_type" => value.ValueKind == JsonValueKind.Null || Json.Is(value, "CAUSAL_LM"),
        "r" or "lora_alpha" or "lora_dropout" or "target_modules" or "layers_to_transform" or "layers_pattern"
            or "base_model_name_or_path" or "revision" or "inference_mode" or "auto_mapping"
            or "peft_version" or "megatron_core" or "qalora_group_size" or "loftq_config" or "eva_config" or "runtime_config"
            or "ensure_weight_tying" or "rank_pattern" or "alpha_pattern" => true,
        _ => value.ValueKind is JsonValueKind.Null or JsonValueKind.False
            || (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 0) || (value.ValueKind == JsonValueKind.Object && !value.EnumerateObject().Any()),
    };
}
