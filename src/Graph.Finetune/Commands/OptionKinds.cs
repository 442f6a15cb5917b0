using System;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Linq;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>The kinds of options there are; each refuses a wrong value in a sentence with the value and what is allowed.</summary>
static class OptionKinds
{
    public static Option<string?> Text(string name, string help, string description) => Checked(new Option<string?>(name) { HelpName = help, Description = description });

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    public static Option<string> Choice(string name, string description, params string[] values)
    {
        var option = new Option<string>(name) { HelpName = string.Join('|', values), Description = description, DefaultValueFactory = _ => values[0], CustomParser = Parse };
        option.CompletionSources.Add(values);
        return option;

        string? Parse(ArgumentResult result) => values.Contains(result.Tokens[0].Value) ? result.Tokens[0].Value
            : Refuse<string>(result, name, $"it must be {string.Join(", ", values[..^1])} or {values[^1]}");
    }

    /// <summary>A whole number; <paramref name="otherwise"/> null: no default.</summary>
    public static Option<int?> Integer(string name, string description, int? otherwise, int least, int most = int.MaxValue) => new(name)
    {
        HelpName = "N", Description = description, DefaultValueFactory = otherwise is null ? null : _ => otherwise,
        CustomParser = result => int.TryParse(result.Tokens[0].Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most
            ? value : Refuse<int?>(result, name, most == int.MaxValue ? $"it must be a whole number from {least} on" : $"it must be a whole number from {least} to {most}"),
    };

    /// <summary>Tokens of a micro-batch, or auto.</summary>
    public static Option<BatchTokens> Tokens(string name, string description, int otherwise) => new(name)
    {
        HelpName = "N|auto", Description = description, DefaultValueFactory = _ => new BatchTokens(otherwise),
        CustomParser = result => result.Tokens[0].Value == "auto" ? new BatchTokens(null)
            : int.TryParse(result.Tokens[0].Value, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value is >= 1 and <= BatchTokens.Most
            ? new BatchTokens(value) : Refuse<BatchTokens>(result, name, $"it must be a whole number from 1 to {BatchTokens.Most}, or auto"),
    };

    /// <summary>An amount of memory: a number of bytes, or with KiB, MiB, GiB, TiB (of 1,024), KB, MB, GB, TB (of 1,000) behind it.</summary>
    public static Option<long?> Size(string name, string description) => new(name)
    {
        HelpName = "SIZE", Description = description,
        CustomParser = result => Bytes.Parse(result.Tokens[0].Value) is > 0 and var bytes
            ? bytes : Refuse<long?>(result, name, "it must be an amount of memory above 0 and below 1024 TiB, for example 16GiB, 16GB or a number of bytes"),
    };

    /// <summary>A number from 0 on.</summary>
    public static Option<double?> Number(string name, string description, double otherwise) => new(name)
    {
        HelpName = "X", Description = description, DefaultValueFactory = _ => otherwise,
        CustomParser = result => double.TryParse(result.Tokens[0].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value) && value >= 0
            ? value : Refuse<double?>(result, name, "it must be a number from 0 on"),
    };

    /// <summary>One or more values, given one after the other or by repeating the option.</summary>
    public static Option<string[]> List(string name, string help, string description) =>
        Checked(new Option<string[]>(name) { HelpName = help, Description = description, AllowMultipleArgumentsPerToken = true, Arity = ArgumentArity.OneOrMore });

    /// <summary>Refuses an empty value and one with a zero character, which is no name of anything.</summary>
    public static Option<T> Checked<T>(Option<T> option)
    {
        option.Validators.Add(result =>
        {
            if (result.Tokens.FirstOrDefault(t => t.Value.Length == 0 || t.Value.Contains('\0')) is { } token)
                result.AddError($"{option.Name} is '{token.Value}'; it must be a {option.HelpName ?? "text"}, "
                    + $"not {(token.Value.Length == 0 ? "empty" : "a text with a zero character")}");
        });
        return option;
    }

    /// <summary>The person, or the file of --config, gave it.</summary>
    public static bool Has(this ParseResult result, Option option) => result.GetResult(option) is { Implicit: false };

    public static T? Refuse<T>(ArgumentResult result, string name, string rule)
    {
        result.AddError($"{name} is '{result.Tokens[0].Value}'; {rule}");
        return default;
    }
}
