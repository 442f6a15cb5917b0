using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using Graph.Finetune.Adapters;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>Options that describe an adapter.</summary>
sealed class AdapterOptions
{
    readonly Option<string?> adapter = OptionKinds.Text("--adapter", "DIR", "PEFT adapter to start from; it decides rank, alpha, targets and layers");
    readonly Option<int?> rank = OptionKinds.Integer("--rank", "rank of A and B", 16, 1, 256);
    readonly Option<double?> alpha = OptionKinds.Number("--alpha", "scale: alpha / rank", 16);
    readonly Option<bool> rsLora = OptionKinds.Flag("--rslora", "scale: alpha / sqrt(rank)");
    readonly Option<double?> dropout = new("--dropout")
    {
        HelpName = "P", Description = "of an element of an adapter's input to be 0 in training, as PEFT's lora_dropout; the adapter's own with --adapter",
        DefaultValueFactory = _ => 0,
        CustomParser = result => double.TryParse(result.Tokens[0].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var p) && p is >= 0 and < 1 ? p
            : OptionKinds.Refuse<double?>(result, "--dropout", "it must be a number from 0 to below 1"),
    };
    readonly Option<string[]> targets = OptionKinds.List("--targets", "NAME,…",
        "linears that get an adapter: the last part of their names, with * for any text, or a regular expression of the name; all that the model gives one when left out");
    readonly Option<string[]> layers = OptionKinds.List("--layers", "N-M,…", "decoder layers that get adapters, from 0; all when left out");
    readonly Option<string[]> ranks = OptionKinds.List("--rank-pattern", "NAME=N,…",
        "rank of linears that differ from --rank, by names as --targets has them; the first one that matches counts");
    readonly Option<string[]> alphas = OptionKinds.List("--alpha-pattern", "NAME=X,…", "alpha of linears that differ from --alpha, likewise");

    public void AddTo(Command command)
    {
        foreach (var option in new Option[] { adapter, rank, alpha, rsLora, dropout, targets, layers, ranks, alphas }) command.Add(option);
    }

    /// <exception cref="InputException">The adapter cannot be read.</exception>
    /// <exception cref="UsageException">A target is no linear, or an option contradicts the adapter.</exception>
    public AdapterSettings Read(ParseResult result, ModelSource source)
    {
        if (source.IsTrained)
        {
            if (new Option[] { adapter, rank, alpha, rsLora, dropout, targets, layers, ranks, alphas }.FirstOrDefault(o => result.Has(o)) is { } shape)
                throw new UsageException($"{shape.Name} shapes an adapter, but {source.Model.Name} trains all weights and has none; leave it out.");
            return AdapterSettings.None(source.Schedule);
        }
        var names = Items(result, targets).Distinct().ToArray();
        if (result.Has(targets) && names.Length == 0)
            throw new UsageException($"--targets is '{string.Join(' ', result.GetValue(targets)!)}', which names no linear; leave it out for all of them.");
        if (result.GetValue(adapter) is not { } directory)
            return AdapterSettings.Create(source.Schedule, new AdapterShape(result.GetValue(rank)!.Value, result.GetValue(alpha)!.Value, result.GetValue(rsLora), names)
            {
                Dropout = result.GetValue(dropout)!.Value,
                Layers = result.Has(layers) ? [.. Items(result, layers).SelectMany(Range).Distinct().Order()] : null,
                Ranks = [.. Items(result, ranks).Select(i => Pair(ranks, i)).Select(p => (p.Name, p.Value == Math.Floor(p.Value) && p.Value is >= 1 and <= 256 ? (int)p.Value
                    : throw new UsageException($"--rank-pattern gives {p.Name} the rank {p.Text}; it must be a whole number from 1 to 256.")))],
                Alphas = [.. Items(result, alphas).Select(i => Pair(alphas, i)).Select(p => (p.Name, p.Value))],
            });
        foreach (var option in new Option[] { layers, ranks, alphas })
            if (result.Has(option))
                throw new UsageException($"{option.Name} shapes a new adapter, but the one in '{directory}' has its shape; leave the option out, or start without --adapter.");
        var loaded = AdapterSettings.Of(PeftAdapter.Load(directory, source.Schedule), source.Schedule);
        Same(rank, result.GetValue(rank), loaded.Rank);
        Same(alpha, result.GetValue(alpha), loaded.Alpha);
        Same(rsLora, result.GetValue(rsLora), loaded.RsLora);
        Same(targets, names.Length == 0 || names.ToHashSet().SetEquals(loaded.Targets) ? string.Join(',', loaded.Targets)
            : string.Join(',', names), string.Join(',', loaded.Targets));
        return result.Has(dropout) ? loaded with { Dropout = result.GetValue(dropout)!.Value } : loaded;

        void Same<T>(Option option, T? asked, T has)
        {
            if (result.Has(option) && !Equals(asked, has))
                throw new UsageException($"{option.Name} is {FormattableString.Invariant($"{asked}")} "
                    + $"but the adapter in '{directory}' has {FormattableString.Invariant($"{has}")}; "
                    + "leave the option out, or start without --adapter.");
        }
    }

    static IEnumerable<string> Items(ParseResult result, Option<string[]> option) =>
        (result.GetValue(option) ?? []).SelectMany(t => t.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    // 3 or 0-7
    static IEnumerable<int> Range(string text)
    {
        var ends = text.Split('-').Select(e => int.TryParse(e, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n < 10_000 ? n : -1).ToArray();
        return ends.Length is 1 or 2 && ends[0] >= 0 && ends[^1] >= ends[0] ? Enumerable.Range(ends[0], ends[^1] - ends[0] + 1)
            : throw new UsageException($"--layers has '{text}'; it must be layers from 0 on, such as 3 or 0-7.");
    }

    static (string Name, double Value, string Text) Pair(Option option, string text) =>
        text.LastIndexOf('=') is > 0 and var at && double.TryParse(text.AsSpan(at + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out var value)
        && double.IsFinite(value) && value >= 0
            ? (text[..at], value, text[(at + 1)..]) : throw new UsageException($"{option.Name} has '{text}'; it must be a linear's name and a number, such as q_proj=32.");
}
