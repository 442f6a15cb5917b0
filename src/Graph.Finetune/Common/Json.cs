using System;
using System.IO;
using System.Linq;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;

namespace Graph.Finetune;

/// <summary>JSON as this program reads it: UTF-8, no comments, no trailing commas, no property twice, 32 levels at most. The faults come back as the end of a sentence.</summary>
static class Json
{
    static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 32 };

    /// <exception cref="InputException">The sentence is "{subject} is not JSON: …".</exception>
    public static JsonDocument Parse(ReadOnlyMemory<byte> utf8, string subject)
    {
        // The parser accepts ill-formed UTF-8 inside strings and fails later, when the string is asked for.
        if (!Utf8.IsValid(utf8.Span)) throw new InputException($"{subject} is not UTF-8: byte 0x{utf8.Span[FirstInvalid(utf8.Span)]:X2} at position {FirstInvalid(utf8.Span)}.");
        try
        {
            return JsonDocument.Parse(utf8, Strict);
        }
        catch (JsonException e)
        {
            throw new InputException($"{subject} is not JSON: {Reason(e)}");
        }
        catch (InvalidOperationException)
        {
            // Comparing names for doubles unescapes them, which fails so.
            throw new InputException($"{subject} is not JSON: a name escapes half of a surrogate pair, which is no Unicode text.");
        }
    }

    /// <summary>An object as a file: indented, a line feed at its end.</summary>
    public static byte[] File(Action<Utf8JsonWriter> fields)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            fields(json);
            json.WriteEndObject();
        }
        stream.WriteByte((byte)'\n');
        return stream.ToArray();
    }

    /// <summary>A whole file, at most 16 MiB.</summary>
    public static JsonDocument ParseFile(string path)
    {
        try
        {
            var length = new FileInfo(path).Length;
            if (length > 16 << 20) throw new InputException($"{path} has {length} bytes, too many for a file of settings; is it the right file?");
            return Parse(System.IO.File.ReadAllBytes(path), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path} cannot be read: {e.Message}");
        }
    }

    /// <summary>The text of a JSON string; <c>null</c> where it escapes half of a surrogate pair, which is no text.</summary>
    public static string? Text(JsonElement element)
    {
        try
        {
            return element.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>A property's name; the same fault as in <see cref="Text"/> is <c>null</c>.</summary>
    public static string? Name(JsonProperty property)
    {
        try
        {
            return property.Name;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>The value is this text; one that escapes half of a surrogate pair is none.</summary>
    public static bool Is(JsonElement element, string text) => element.ValueKind == JsonValueKind.String && Text(element) == text;

    /// <summary>A value as a message shows it: its JSON in one line, cut after 60 characters.</summary>
    public static string Show(JsonElement element)
    {
        // A list may stand on many lines in its file.
        var text = element.ValueKind == JsonValueKind.Array ? "[" + string.Join(",", element.EnumerateArray().Select(e => e.GetRawText())) + "]" : element.GetRawText();
        text = string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return text.Length > 60 ? text[..60] + "…" : text;
    }

    /// <summary>A property's name as a message shows it, whatever it escapes.</summary>
    public static string Show(JsonProperty property) => Name(property) ?? "a name that is no Unicode text";

    static int FirstInvalid(ReadOnlySpan<byte> utf8)
    {
        var at = 0;
        while (at < utf8.Length && System.Text.Rune.DecodeFromUtf8(utf8[at..], out _, out var used) == System.Buffers.OperationStatus.Done) at += used;
        return at;
    }

    // System.Text.Json appends its own position, which counts lines from 0.
    static string Reason(JsonException e)
    {
        var end = e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        var sentence = (end < 0 ? e.Message : e.Message[..end]).TrimEnd('.');
        return e.BytePositionInLine is { } position ? $"{sentence}, at byte {position + 1}{(e.LineNumber > 0 ? $" of line {e.LineNumber + 1}" : "")}." : sentence + ".";
    }
}
