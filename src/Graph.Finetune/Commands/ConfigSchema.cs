using System;
using System.CommandLine;
using System.CommandLine.Completions;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>The JSON schema of the file of --config, from the options themselves; docs/config.schema.json holds it.</summary>
static class ConfigSchema
{
    public static string Text(RootCommand root)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("$schema", "https://json-schema.org/draft/2020-12/schema");
            json.WriteString("title", "Options of gemma2, by their names without dashes; for every verb its own are taken");
            json.WriteString("type", "object");
            json.WriteBoolean("additionalProperties", false);
            json.WriteStartObject("properties");
            json.WriteStartObject("$schema");
            json.WriteString("type", "string");
            json.WriteEndObject();
            foreach (var option in ConfigFile.AllOptions(root).OrderBy(o => o.Name, StringComparer.Ordinal)) Write(json, option);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    static void Write(Utf8JsonWriter json, Option option)
    {
        json.WriteStartObject(option.Name.TrimStart('-'));
        // Which models there are is the executable's business, not the schema's.
        json.WriteString("description", option.Name == "--variant" ? "the model" : option.Description);
        var type = Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType;
        if (type == typeof(BatchTokens)) Types(json, "integer", "string");
        else if (type == typeof(string[]))
        {
            Types(json, "array", "string");
            json.WriteStartObject("items");
            json.WriteString("type", "string");
            json.WriteEndObject();
        }
        else
        {
            json.WriteString("type", type == typeof(bool) ? "boolean" : type == typeof(int) ? "integer" : type == typeof(double) ? "number" : "string");
        }
        var choices = type == typeof(string) ? option.GetCompletions(CompletionContext.Empty).Select(c => c.Label).ToArray() : [];
        if (choices.Length > 0)
        {
            json.WriteStartArray("enum");
            foreach (var choice in choices) json.WriteStringValue(choice);
            json.WriteEndArray();
        }
        switch (option.HasDefaultValue ? option.GetDefaultValue() : null)
        {
            case BatchTokens { Count: { } count }: json.WriteNumber("default", count); break;
            case int number: json.WriteNumber("default", number); break;
            case double number: json.WriteNumber("default", number); break;
            case string text: json.WriteString("default", text); break;
            case true: json.WriteBoolean("default", true); break;
        }
        json.WriteEndObject();
    }

    static void Types(Utf8JsonWriter json, params string[] names)
    {
        json.WriteStartArray("type");
        foreach (var name in names) json.WriteStringValue(name);
        json.WriteEndArray();
    }
}
