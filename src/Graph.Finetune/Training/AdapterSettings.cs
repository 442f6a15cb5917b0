using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Adapters;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Training;

/// <summary>Which linears get an adapter, and of which shape.</summary>
/// <param name="Targets">Names or patterns of linears (<see cref="LinearPattern"/>); empty: every linear that the model gives one.</param>
/// <param name="Layers">Decoder layers; null: all.</param>
/// <param name="Ranks">Of linears that differ, by pattern; the first one that matches counts.</param>
/// <param name="Alphas">Likewise.</param>
public sealed record AdapterShape(int Rank, double Alpha, bool RsLora, IReadOnlyList<string> Targets)
{
    public IReadOnlyList<int>? Layers { get; init; }
    public IReadOnlyList<(string Pattern, int Rank)> Ranks { get; init; } = [];
    public IReadOnlyList<(string Pattern, double Alpha)> Alphas { get; init; } = [];

    /// <summary>Of an element of an adapter's input to be 0 in training.</summary>
    public double Dropout { get; init; }
}

/// <summary>The adapter of a run: its shape, and what it starts from (null: A random, B zero).</summary>
/// <param name="Targets">As PEFT's target_modules: they name the adapted linears of <paramref name="Layers"/>.</param>
public sealed record AdapterSettings(int Rank, double Alpha, bool RsLora, IReadOnlyList<string> Targets, RankTable Ranks, AdapterFile? Start)
{
    public IReadOnlyList<int>? Layers { get; init; }

    /// <summary>Of an element of an adapter's input to be 0 in training.</summary>
    public double Dropout { get; init; }

    /// <summary>Alphas of linears that have their own.</summary>
    public IReadOnlyDictionary<string, double> Alphas { get; init; } = new Dictionary<string, double>();

    /// <summary>What multiplies (x·Aᵀ)·Bᵀ, unless rank or alpha of a linear are its own; 0 without an adapter.</summary>
    public double Scale => AdapterFile.ScaleOf(Alpha, Rank, RsLora);

    /// <param name="targets">Empty: every linear that has an adapter.</param>
    /// <exception cref="UsageException">A target is no linear of the model.</exception>
    public static AdapterSettings Create(Schedule schedule, int rank, double alpha, bool rsLora, IReadOnlyList<string> targets) =>
        Create(schedule, new AdapterShape(rank, alpha, rsLora, targets));

    /// <exception cref="UsageException">A target or pattern means no linear, a layer is not there, or a rank cannot be trained.</exception>
    public static AdapterSettings Create(Schedule schedule, AdapterShape shape)
    {
        string[] all = [.. schedule.Adapters.SelectMany(s => s.Adapters).Select(a => a.Name)];
        if (shape.Layers?.FirstOrDefault(l => l >= schedule.Layers, -1) is >= 0 and var layer)
            throw new UsageException($"--layers has {layer}, but {schedule.Variant} has layers 0 to {schedule.Layers - 1}.");
        IReadOnlyList<string> targets = shape.Targets.Count > 0 ? shape.Targets : [.. all.Select(LinearNames.Last).Distinct()];
        try
        {
            var patterns = targets.Select(t => Pattern("--targets", t)).ToArray();
            RankTable.Create(schedule, shape.Rank, [.. patterns.Where(p => p.IsName).Select(p => p.Text)]);
            string[] inLayers = [.. all.Where(l => shape.Layers is null || (LinearNames.Layer(l) is { } at && shape.Layers.Contains(at)))];
            Require("--targets", patterns, inLayers);
            string[] chosen = [.. inLayers.Where(l => patterns.Any(p => p.Matches(l)))];
            var ranks = Values("--rank-pattern", shape.Ranks, chosen, shape.Rank);
            var alphas = Values("--alpha-pattern", shape.Alphas, chosen, shape.Alpha);
            var named = patterns.All(p => p.IsName);
            return new AdapterSettings(shape.Rank, shape.Alpha, shape.RsLora, named ? targets
                : LinearNames.Naming(chosen.ToHashSet(), all), Table(schedule, shape, l => ranks.GetValueOrDefault(l), l => alphas[l]), null)
            {
                Layers = named ? shape.Layers : null, Dropout = shape.Dropout, Alphas = alphas.Where(a => a.Value != shape.Alpha).ToDictionary(),
            };
        }
        catch (ArgumentException e)
        {
            throw new UsageException(e.Message.TrimEnd('.') + ".");
        }
    }

    /// <exception cref="InputException">Its rank is more than can be trained.</exception>
    public static AdapterSettings Of(AdapterFile file, Schedule schedule)
    {
        try
        {
            var alphas = file.Modules.ToDictionary(m => m.Linear, m => m.Alpha ?? file.Alpha);
            return new AdapterSettings(file.Rank, file.Alpha, file.RsLora, file.Targets,
                Table(schedule, new AdapterShape(file.Rank, file.Alpha, file.RsLora, []), file.RankOf, l => alphas[l]), file)
            {
                Layers = file.Layers, Dropout = file.Dropout, Alphas = alphas.Where(a => a.Value != file.Alpha).ToDictionary(),
            };
        }
        catch (ArgumentException e)
        {
            throw new InputException(e.Message);
        }
    }

    /// <summary>No adapter at all: the base model.</summary>
    public static AdapterSettings None(Schedule schedule) => new(0, 0, false, [], RankTable.Create(schedule, _ => 0), null);

    /// <summary>The trained masters as PEFT stores them.</summary>
    public AdapterFile Of(TrainState state) => new(Rank, Alpha, RsLora, Targets,
        [.. state.Adapters.Select(a => new AdapterModule(a.Linear, a.Rank, a.A.Master, a.B.Master) { Alpha = Alphas.TryGetValue(a.Linear, out var alpha) ? alpha : null })],
        Layers, Dropout);

    // Scales of their own only where one differs, so that a stack of one scale is one product.
    static RankTable Table(Schedule schedule, AdapterShape shape, Func<string, int> rankOf, Func<string, double> alphaOf)
    {
        var table = RankTable.Create(schedule, rankOf);
        double ScaleOf(string linear) => AdapterFile.ScaleOf(alphaOf(linear), rankOf(linear), shape.RsLora);
        return table.Adapters.All(a => ScaleOf(a.Linear) == AdapterFile.ScaleOf(shape.Alpha, shape.Rank, shape.RsLora)) ? table : RankTable.Create(schedule, rankOf, ScaleOf);
    }

    static Dictionary<string, T> Values<T>(string option, IReadOnlyList<(string Pattern, T Value)> patterns, string[] chosen, T otherwise)
    {
        var known = patterns.Select(p => (Pattern: Pattern(option, p.Pattern), p.Value)).ToArray();
        Require(option, [.. known.Select(k => k.Pattern)], chosen);
        return chosen.ToDictionary(l => l, l => known.Where(k => k.Pattern.Matches(l)).Select(k => k.Value).Append(otherwise).First());
    }

    static void Require(string option, LinearPattern[] patterns, string[] linears)
    {
        if (patterns.FirstOrDefault(p => !linears.Any(p.Matches)) is { } none)
            throw new ArgumentException($"{option} has '{LinearPattern.Shown(none.Text)}', "
                + $"which means none of the linears {string.Join(", ", linears.Select(LinearNames.Last).Distinct())} that are there for it");
    }

    static LinearPattern Pattern(string option, string text)
    {
        try
        {
            return LinearPattern.Parse(text);
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"{option} has '{LinearPattern.Shown(text)}', which is no name, no name with * and no regular expression: {e.Message}");
        }
    }
}
