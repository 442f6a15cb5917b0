using System.Text.Json;

namespace Graph.Finetune.Checkpoints;

/// <summary>
/// quantization_config of config.json as transformers writes it for bitsandbytes. Which tensors are packed, and how, the tensors
/// say themselves (<see cref="PackedWeight"/>); this refuses what cannot be read before they are looked at.
/// </summary>
static class QuantizationConfig
{
    /// <exception cref="InputException">It describes another quantisation than bitsandbytes' NF4.</exception>
    public static void Check(string path, JsonElement config)
    {
        if (config.ValueKind != JsonValueKind.Object) throw new InputException($"{path}: quantization_config is {Json.Show(config)}, not an object of settings.");
        if (Is(config, "load_in_8bit") || Is(config, "_load_in_8bit")) throw Refused("has load_in_8bit");
        if (Text(config, "quant_method") is { } method && method != "bitsandbytes") throw Refused($"has the quant_method \"{method}\"");
        if (!Is(config, "load_in_4bit") && !Is(config, "_load_in_4bit")) throw Refused($"is {Json.Show(config)}");
        // A file without it says nothing: bitsandbytes goes by what the tensors say, as is done here.
        if (Text(config, "bnb_4bit_quant_type") is { } type && type != "nf4") throw Refused($"has the bnb_4bit_quant_type \"{type}\"");
        if (config.TryGetProperty("llm_int8_skip_modules", out var skipped) && skipped.ValueKind is not (JsonValueKind.Null or JsonValueKind.Array))
            throw new InputException($"{path}: llm_int8_skip_modules is {Json.Show(skipped)}, not a list of names.");

        InputException Refused(string what) =>
            new($"{path}: quantization_config {what}; of quantized checkpoints those in bitsandbytes' NF4 can be read: give one, or the 16-bit checkpoint with --quant nf4.");
    }

    static bool Is(JsonElement config, string field) => config.TryGetProperty(field, out var value) && value.ValueKind == JsonValueKind.True;

    static string? Text(JsonElement config, string field) => config.TryGetProperty(field, out var value) && value.ValueKind != JsonValueKind.Null
        ? value.ValueKind == JsonValueKind.String ? Json.Text(value) : Json.Show(value) : null;
}
