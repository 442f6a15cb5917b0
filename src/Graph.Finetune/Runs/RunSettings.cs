using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Graph.Finetune.Training;

namespace Graph.Finetune.Runs;

/// <summary>
/// What decides a run's bits, by the option that sets it, as it stands in a checkpoint: a run that goes on must have the same.
/// Facts do not change what is computed, only where and how fast, or perhaps the last bits
/// (another device): a change is said. The learning rate is compared by what it was in the steps that are done, so that a constant one may go on for longer.
/// </summary>
public sealed record RunSettings(IReadOnlyDictionary<string, string> Values, IReadOnlyDictionary<string, string> Facts, LearningRate Rate)
{
    /// <summary>The facts that changed, as sentences.</summary>
    /// <param name="done">Steps that are done.</param>
    /// <exception cref="UsageException">A setting changed what the run means.</exception>
    public IReadOnlyList<string> Continue(RunSettings began, int done)
    {
        foreach (var (name, value) in Values)
        {
            if (began.Values.TryGetValue(name, out var before) && before != value)
                throw new UsageException(name switch
                {
                    "--data" => "--data gives other ids and labels than the run began with: the files, their weights or the tokenizer changed",
                    "--model" => "--model is not the one that the run began with: its config.json or its weights changed",
                    _ => $"{name} is {Shown(name, value)} but the run began with {Shown(name, before)}",
                } + "; give the same to go on with --resume, or begin another run in another --out, with --adapter to start from this one's adapter.");
        }
        for (var step = 0; step < done; step++)
        {
            if (Rate.At(step) != began.Rate.At(step))
                throw new UsageException(string.Create(CultureInfo.InvariantCulture,
                    $"--lr, --min-lr, --schedule, --warmup, --restarts and the number of steps give step {step + 1} the learning rate {Rate.At(step):G6}, "
                    + $"but it was done with {began.Rate.At(step):G6} ")
                    + $"({Text(began.Rate)}, now {Text(Rate)}); "
                    + $"give the same to go on with --resume, or begin another run in another --out, with --adapter to start from this one's adapter.");
        }
        return
        [
            .. Rate.Steps == began.Rate.Steps ? [] : new[] { $"the run is now {Rate.Steps} steps long; it began with {began.Rate.Steps}" },
            .. Facts.Where(f => began.Facts.TryGetValue(f.Key, out var before) && before != f.Value)
                .Select(f => $"{f.Key} is now {f.Value}; it was {began.Facts[f.Key]} when the run began"),
        ];
    }

    static string Text(LearningRate rate) =>
        string.Create(CultureInfo.InvariantCulture,
        $"{rate.Shape.ToString().ToLowerInvariant()} {rate.Peak}, warm-up {rate.Warmup}, {rate.Steps} steps"
            + $"{(rate.Minimum > 0 ? FormattableString.Invariant($", minimum {rate.Minimum}") : "")}{(rate.Restarts > 0 ? $", {rate.Restarts} restarts" : "")}");

    // As the option is written: a checkpoint has the names of the code.
    static string Shown(string name, string value) => (name, value) switch
    {
        (_, "") => "nothing",
        ("--packing", "Packed") => "on",
        ("--packing", "OnePerRow") => "off",
        ("--packing", "Concat") => "replaced by --concat",
        ("--optimizer", "Fp32") => "adamw",
        ("--optimizer", "Block8") => "adamw8bit",
        ("--dtype", "F16") => "fp16",
        ("--dtype", "F32") => "fp32",
        ("--loss-on" or "--over-length" or "--dtype" or "--rslora", _) => value.ToLowerInvariant(),
        _ => value.Length > 80 ? value[..80] + "…" : value,
    };
}
