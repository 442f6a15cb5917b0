using System;
using System.IO;
using System.Linq;
using System.Text.Json;

namespace Graph.Finetune.Data;

/// <summary>
/// The chat template that lies beside a tokenizer: chat_template.jinja, or chat_template of tokenizer_config.json (a text, or a list of named ones).
/// It is not run: conversations have Gemma's format (<see cref="GemmaChat"/>). One that writes no turns of Gemma is said, for the model may have been trained in another format.
/// </summary>
static class ChatTemplate
{
    const string FileName = "chat_template.jinja", ConfigName = "tokenizer_config.json", Field = "chat_template";

    /// <param name="tokenizer">The tokenizer's directory, or its file.</param>
    /// <returns>A sentence without a full stop; null: there is no template, or it is like Gemma's.</returns>
    public static string? Note(string tokenizer)
    {
        var directory = Directory.Exists(tokenizer) ? tokenizer : Path.GetDirectoryName(tokenizer) ?? "";
        return new[] { FileName, ConfigName }.Select(name => Path.Combine(directory, name)).Where(path => Read(path) is { } template && !IsGemmas(template))
            .Select(path => $"the chat template in {path} writes no <start_of_turn> and <end_of_turn>; "
                + "messages have Gemma's format all the same, so a model that was trained in another one should get its data as prompt and completion")
            .FirstOrDefault();
    }

    static bool IsGemmas(string template) => new[] { "<start_of_turn>", "<end_of_turn>" }.All(turn => template.Contains(turn, StringComparison.Ordinal));

    // What cannot be read is no template: nothing else here depends on these files.
    static string? Read(string path)
    {
        try
        {
            if (!File.Exists(path)) return null;
            if (Path.GetFileName(path) == FileName) return File.ReadAllText(path);
            using var document = Json.ParseFile(path);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty(Field, out var value)) return null;
            return value.ValueKind switch
            {
                JsonValueKind.String => Json.Text(value),
                JsonValueKind.Array => string.Concat(value.EnumerateArray().Where(t => t.ValueKind == JsonValueKind.Object && t.TryGetProperty("template", out _))
                    .Select(t => t.GetProperty("template")).Where(t => t.ValueKind == JsonValueKind.String).Select(Json.Text)),
                _ => null,
            };
        }
        catch (Exception e) when (e is InputException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
