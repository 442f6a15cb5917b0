using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Checkpoints;

/// <summary>
/// What a config.json says of rotary embeddings: rope_parameters or, as older files call it, rope_scaling; one object for all layers, or one for each type of
/// layer ("full_attention"). Meaning and defaults are those of transformers 5; what that would ignore is refused.
/// </summary>
static class RopeConfig
{
    const string Type = "rope_type", OldType = "type", Theta = "rope_theta", Factor = "factor",
        Original = "original_max_position_embeddings", Positions = "max_position_embeddings";

    /// <summary>An object with settings of one rotary embedding. Layers: their type; null: all.</summary>
    sealed record Entry(string Field, string? Layers, JsonElement Settings);

    /// <summary>How each rope table of the schedule is scaled.</summary>
    /// <exception cref="InputException">A field has a value that no rotary embedding has, is not known, or contradicts another one; the sentence names it.</exception>
    public static IReadOnlyDictionary<string, RopeScaling> Read(string path, JsonElement config, Schedule schedule, bool sameTheta)
    {
        var entries = new[] { "rope_parameters", "rope_scaling" }.Select(field => Entries(path, config, field)).Where(e => e.Count > 0).ToArray();
        return schedule.Tensors.Where(t => t.Rope is not null).ToDictionary(t => t.Name, Scaling);

        RopeScaling Scaling(ScheduleTensor table)
        {
            var found = entries.Select(e => Of(e, table)).ToArray();
            if (found.Length > 1 && found[0] != found[1])
                throw new InputException($"{path}: rope_parameters and rope_scaling are not the same; leave out rope_scaling, which is the older name.");
            return found.FirstOrDefault() ?? RopeScaling.Unscaled;
        }

        RopeScaling Of(IReadOnlyList<Entry> list, ScheduleTensor table)
        {
            var (theta, layers) = (table.Rope!.Theta, table.Rope.Layers);
            var own = list.Where(e => e.Layers is null || layers is null || e.Layers == layers).ToArray();
            if (own.Length == 0)
                throw new InputException($"{path}: {list[0].Field[..list[0].Field.IndexOf('.')]} has no entry for {layers}, a type of layer that {schedule.Variant} has.");
            if (sameTheta && own.FirstOrDefault(e => Number(path, e, Theta, theta, double.Epsilon) != theta) is { } other)
                throw new InputException(string.Create(CultureInfo.InvariantCulture,
                    $"{path}: {other.Field}.{Theta} is {Json.Show(other.Settings.GetProperty(Theta))} but the variant {schedule.Variant} has {theta}; ")
                    + $"choose the variant of this checkpoint, or name {Theta} in the variant's Changes if it differs on purpose.");
            var scalings = own.Select(e => Parse(path, config, e)).Distinct().ToArray();
            return scalings.Length == 1 ? scalings[0]
                : throw new InputException($"{path}: {own[0].Field} and {own[1].Field} are not the same, "
                    + $"but Rope of the variant {schedule.Variant} does not say of which type its layers are; give it its layers.");
        }
    }

    static IReadOnlyList<Entry> Entries(string path, JsonElement config, string field)
    {
        if (!config.TryGetProperty(field, out var value) || value.ValueKind == JsonValueKind.Null) return [];
        if (value.ValueKind != JsonValueKind.Object) throw new InputException($"{path}: {field} is {Json.Show(value)}, not an object of settings.");
        var properties = value.EnumerateObject().ToArray();
        if (properties.All(p => p.Value.ValueKind != JsonValueKind.Object)) return properties.Length == 0 ? [] : [new Entry(field, null, value)];
        return [.. properties.Select(p => p.Value.ValueKind == JsonValueKind.Object ? new Entry($"{field}.{Json.Show(p)}", Json.Name(p), p.Value)
            : throw new InputException($"{path}: {field} has settings of single types of layer beside {Json.Show(p)}, which is {Json.Show(p.Value)}; give every type its own."))];
    }

    static RopeScaling Parse(string path, JsonElement config, Entry entry)
    {
        var types = new[] { Type, OldType }.Select(name => Value(entry, name)).OfType<JsonElement>().ToArray();
        if (types.Length == 2 && types[0].GetRawText() != types[1].GetRawText()) throw Bad(OldType, types[1], $"{Type} says {Json.Show(types[0])}");
        if (types.Length == 0 && entry.Settings.EnumerateObject().Any(p => p.Name != Theta))
            throw new InputException($"{path}: {entry.Field} has no {Type}; it is default, linear, dynamic, yarn or llama3.");
        var type = types.Length == 0 ? "default" : types[0].ValueKind == JsonValueKind.String ? Json.Text(types[0]) : null;
        string[] known = type switch
        {
            "default" => [],
            "linear" or "dynamic" => [Factor],
            "yarn" => [Factor, Original, "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"],
            "llama3" => [Factor, Original, "low_freq_factor", "high_freq_factor"],
            _ => throw Bad(Type, types[0], "default, linear, dynamic, yarn and llama3 can be read"),
        };
        if (entry.Settings.EnumerateObject()
            .FirstOrDefault(p => !known.Contains(p.Name) && p.Name is not (Type or OldType or Theta or "partial_rotary_factor"))
                is { Value.ValueKind: not (JsonValueKind.Undefined or JsonValueKind.Null) } stray)
            throw Bad(Json.Show(stray), stray.Value, $"a rotary embedding of type {type} has no such setting");
        if (Get("partial_rotary_factor", 1) != 1) throw Bad("partial_rotary_factor", Value(entry, "partial_rotary_factor")!.Value, "all columns of a head turn");
        return type switch
        {
            "linear" => new LinearRope(Get(Factor, null, 1)),
            "dynamic" => new DynamicRope(Get(Factor, null, 1), MaxPositions(path, config)),
            "yarn" => Yarn(),
            "llama3" => Llama3(),
            _ => RopeScaling.Unscaled,
        };

        YarnRope Yarn()
        {
            var original = OriginalPositions();
            var factor = Get(Factor, MaxPositions(path, config) / original, 1);
            double scale = Get("mscale", 0, 0), all = Get("mscale_all_dim", 0, 0);
            var attention = scale > 0 && all > 0 ? Attention(factor, scale) / Attention(factor, all) : Attention(factor, 1);
            double fast = Get("beta_fast", 32), slow = Get("beta_slow", 1);
            if (fast < slow) throw Bad("beta_fast", Value(entry, "beta_fast")!.Value, string.Create(CultureInfo.InvariantCulture, $"it must be at least beta_slow, {slow}"));
            var truncate = Value(entry, "truncate");
            if (truncate is { ValueKind: not (JsonValueKind.True or JsonValueKind.False) } odd) throw Bad("truncate", odd, "it must be true or false");
            return new YarnRope(factor, original, Get("attention_factor", attention), fast, slow, truncate is not { ValueKind: JsonValueKind.False });
        }

        Llama3Rope Llama3()
        {
            double low = Get("low_freq_factor", null), high = Get("high_freq_factor", null);
            if (high <= low) throw Bad("high_freq_factor", Value(entry, "high_freq_factor")!.Value,
                string.Create(CultureInfo.InvariantCulture, $"it must be greater than low_freq_factor, {low}"));
            return new Llama3Rope(Get(Factor, null, 1), low, high, OriginalPositions());
        }

        // Some files have it beside the rope's settings; it then counts before theirs.
        double OriginalPositions() => config.TryGetProperty(Original, out var top) && top.ValueKind != JsonValueKind.Null
            ? Number(path, new Entry("", null, config), Original, null, 1) : Get(Original, MaxPositions(path, config), 1);

        double Get(string name, double? standard, double least = double.Epsilon) => Number(path, entry, name, standard, least);

        InputException Bad(string name, JsonElement value, string why) => new($"{path}: {entry.Field}.{name} is {Json.Show(value)}; {why}.");
    }

    static double Attention(double factor, double scale) => factor <= 1 ? 1 : 0.1 * scale * Math.Log(factor) + 1;

    // 8192 is what transformers takes for a Gemma 2 that does not say it.
    static int MaxPositions(string path, JsonElement config) => (int)Number(path, new Entry("", null, config), Positions, 8192, 1);

    static JsonElement? Value(Entry entry, string name) => entry.Settings.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <param name="standard">What it is when the file does not say it; null: it must.</param>
    static double Number(string path, Entry entry, string name, double? standard, double least)
    {
        var field = entry.Field.Length > 0 ? entry.Field + "." + name : name;
        if (Value(entry, name) is not { } value) return standard ?? throw new InputException($"{path}: {field} is not there; a scaled rotary embedding needs it.");
        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var number) && number >= least && number <= int.MaxValue ? number
            : throw new InputException(string.Create(CultureInfo.InvariantCulture,
                $"{path}: {field} is {Json.Show(value)}; it must be a number {(least == double.Epsilon ? "above 0" : $"of at least {least}")}."));
    }
}
