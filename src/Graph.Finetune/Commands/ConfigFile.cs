using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text.Json;

namespace Graph.Finetune.Commands;

/// <summary>
/// The file of --config as arguments. Names are the options' without dashes; what stands on the command line
/// wins, and options of another verb are passed over, so one file serves several verbs.
/// </summary>
static class ConfigFile
{
    /// <exception cref="InputException">The file cannot be read or is not JSON.</exception>
    /// <exception cref="UsageException">A name is no option of any verb, or a value has the wrong kind.</exception>
    public static IEnumerable<string> Arguments(string path, RootCommand root, ParseResult given)
    {
        using var document = Parse(path);
        if (document.RootElement.ValueKind != JsonValueKind.Object) throw new UsageException($"{path} is {Json.Show(document.RootElement)}, not an object of options.");
        var all = AllOptions(root).Select(o => o.Name).ToHashSet();
        var mine = given.CommandResult.Command.Options.ToDictionary(o => o.Name);
        var arguments = new List<string>();
        foreach (var property in document.RootElement.EnumerateObject())
        {
            var name = "--" + Json.Name(property);
            if (name == "--$schema") continue;
            if (!all.Contains(name))
                throw new UsageException($"{path}: there is no option {Json.Show(property)}{Nearest.Hint(name, all)}; docs/config.schema.json names them all.");
            if (!mine.TryGetValue(name, out var option) || given.GetResult(option) is { Implicit: false }) continue;
            var isList = option.ValueType.IsArray;
            if (!isList && property.Value.ValueKind == JsonValueKind.Array)
                throw new UsageException($"{path}: {property.Name} is {Json.Show(property.Value)}; it takes one value.");
            if (property.Value.ValueKind == JsonValueKind.Array && property.Value.GetArrayLength() == 0)
                throw new UsageException($"{path}: {property.Name} is an empty list, which says nothing; give it a value, or leave it out.");
            IEnumerable<JsonElement> values = property.Value.ValueKind == JsonValueKind.Array ? property.Value.EnumerateArray() : [property.Value];
            foreach (var value in values) arguments.Add(name + "=" + Text(path, property.Name, value));
        }
        return arguments;
    }

    /// <summary>Every option of every verb that can stand in a file, each name once.</summary>
    public static IEnumerable<Option> AllOptions(Command root) =>
        root.Subcommands.SelectMany(c => c.Options.Concat(AllOptions(c))).Where(o => o is not System.CommandLine.Help.HelpOption).DistinctBy(o => o.Name);

    static string Text(string path, string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => Json.Text(value) ?? throw new UsageException($"{path}: {name} is no Unicode text."),
        JsonValueKind.Number => value.GetRawText(),
        JsonValueKind.True => "true",
        JsonValueKind.False => "false",
        _ => throw new UsageException($"{path}: {name} is {Json.Show(value)}; it must be a text, a number, true or false."),
    };

    static JsonDocument Parse(string path)
    {
        try
        {
            return JsonDocument.Parse(File.ReadAllBytes(path),
                new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true, AllowDuplicateProperties = false, MaxDepth = 8 });
        }
        catch (JsonException e)
        {
            throw new UsageException($"{path} is not JSON with comments: {e.Message}");
        }
        catch (InvalidOperationException)
        {
            // Comparing names for doubles unescapes them, which fails so.
            throw new UsageException($"{path} is not JSON with comments: a name escapes half of a surrogate pair, which is no Unicode text.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"{path} cannot be read: {e.Message}");
        }
    }
}
