using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading.Tasks;
using Graph.Finetune.Data;
using Graph.Finetune.Reports;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>What the report of a run says beside its metrics.</summary>
static class TrainFacts
{
    /// <summary>Makes them beside the run.</summary>
    /// <param name="first">The first window of the first epoch.</param>
    public static Task<RunFacts> Begin(ModelSource source, IDevice device, PlannedStep planned, DeviceProfile profile, long budget, AdapterSettings adapter,
        TrainSettings settings, RunSettings identity, TrainData data, PackedData first) =>
        Task.Run(() => Of(source, device, planned, profile, budget, adapter, settings, identity, data, first));

    static RunFacts Of(ModelSource source, IDevice device, PlannedStep planned, DeviceProfile profile, long budget, AdapterSettings adapter, TrainSettings settings,
        RunSettings identity, TrainData data, PackedData first) => new(
        source.Model.Name, source.Name, device.Info.Name, identity.Rate.Steps, Settings(source, adapter, settings, identity), Data(settings, data, first),
            Lengths([.. first.Lengths]), PlanPicture.Of(planned, profile, budget), PlanPicture.Activations(planned));

    static IReadOnlyList<Fact> Settings(ModelSource source, AdapterSettings adapter, TrainSettings settings, RunSettings identity)
    {
        // Hashes tell runs apart, and people nothing.
        var shown = identity.Values.ToDictionary(v => v.Key, v => v.Value);
        (shown["--model"], shown["--data"], shown["--targets"]) = (source.Name,
            string.Join(' ', settings.Data.Files.Select(f => f.Path + (f.Weight == 1 ? "" : Text($":{f.Weight}")))), string.Join(',', adapter.Targets));
        var rate = identity.Rate;
        shown["--lr"] = Text($"{rate.Peak:G6}, {rate.Shape.ToString().ToLowerInvariant()}, warm-up of {rate.Warmup} steps");
        shown["--recompute"] = settings.Recompute;
        if (settings.Evaluation is { } evaluation) shown["--eval-data"] = Text($"{string.Join(' ', evaluation.Data.Files.Select(f => f.Path))}, every {evaluation.Every} steps");
        if (settings.Patience is { } patience) shown["--early-stopping-patience"] = Text($"{patience}");
        return [.. shown.Where(v => v.Value.Length > 0).OrderBy(v => v.Key, StringComparer.Ordinal).Select(v => new Fact(v.Key.TrimStart('-'), v.Value)),
            .. identity.Facts.Select(f => new Fact(f.Key, f.Value))];
    }

    static IReadOnlyList<Fact> Data(TrainSettings settings, TrainData data, PackedData first)
    {
        var counts = data.Counts;
        var documents = first.Lengths.ToArray();
        List<Fact> facts = [];
        if (!data.IsStreamed) facts.AddRange([new("examples", Text($"{counts.Examples:N0}")), new("tokens", Text($"{counts.Tokens:N0}")),
            new("of them trained on", Text($"{100.0 * counts.Labels / Math.Max(1, counts.Tokens):F1} %"))]);
        facts.AddRange(
        [
            new($"micro-batches in the first {data.Part}", Text($"{first.Learning.Count:N0}")),
                new("of their tokens no padding", Text($"{100.0 * first.Tokens / Math.Max(1, first.Learning.Count * (double)settings.Data.BatchTokens):F1} %")),
            new("longest document", Text($"{documents.DefaultIfEmpty().Max():N0}")), new("mean length", Text($"{documents.DefaultIfEmpty().Average():F0}")),
        ]);
        return facts;
    }

    /// <summary>Twelve bins of equal width from the shortest to the longest, or one for each length where there are fewer.</summary>
    public static IReadOnlyList<LengthBin> Lengths(int[] documents)
    {
        if (documents.Length == 0) return [];
        var (least, most) = (documents.Min(), documents.Max());
        var width = (most - least + 12) / 12;
        var bins = new int[(most - least) / width + 1];
        foreach (var length in documents) bins[(length - least) / width]++;
        return [.. bins.Select((count, i) => new LengthBin(least + i * width, Math.Min(most, least + (i + 1) * width - 1), count))];
    }

    static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
