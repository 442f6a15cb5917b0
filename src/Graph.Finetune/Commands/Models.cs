using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Graph.Runtime;

namespace Graph.Finetune.Commands;

/// <summary>Choosing among the models of the executable.</summary>
static class Models
{
    public static Option<string?> Variant(IReadOnlyList<CompiledModel> models) =>
        OptionKinds.Text("--variant", "NAME", "the model: " + string.Join(", ", models.Select(m => m.Name)));

    /// <summary>The model of a name; without a name, the only one there is.</summary>
    /// <exception cref="UsageException">No such model, or no name where there are several.</exception>
    public static CompiledModel Find(IReadOnlyList<CompiledModel> models, string? variant)
    {
        var names = string.Join(", ", models.Select(m => m.Name));
        if (variant is null) return models.Count == 1 ? models[0] : throw new UsageException($"--variant is missing; this executable holds {names}.");
        return models.FirstOrDefault(m => m.Name == variant) ?? throw new UsageException($"there is no variant '{variant}'; this executable holds {names}.");
    }

    /// <summary>
    /// The variant that trains all weights of the one of a name;
    /// it is called like that one, with -full behind it, and may be there without it. Without a name, the only one there is.
    /// </summary>
    /// <exception cref="UsageException">The executable has none, or no name where there are several.</exception>
    public static CompiledModel Full(IReadOnlyList<CompiledModel> models, string? variant)
    {
        var full = models.Where(m => m.Name.EndsWith(FullSuffix, StringComparison.Ordinal)).ToArray();
        var name = (variant ?? (full is [var only] ? only : Find(models, null)).Name)
            is var asked && asked.EndsWith(FullSuffix, StringComparison.Ordinal) ? asked : asked + FullSuffix;
        return full.FirstOrDefault(m => m.Name == name)
            ?? throw new UsageException($"--full trains all weights, for which the executable must hold a variant '{name}'; "
                + $"it holds {string.Join(", ", models.Select(m => m.Name))}.");
    }

    const string FullSuffix = "-full";

    /// <summary>The emitted target of a name; without a name, the newest.</summary>
    /// <exception cref="UsageException">The model was not emitted for it.</exception>
    public static string Target(CompiledModel model, string? target) =>
        target is null ? model.Targets.MaxBy(t => Runtime.Schedules.Target.Named(t).Capability) ?? throw new UsageException($"{model.Name} was built for no CUDA target.")
        : model.Targets.Contains(target) ? target : throw new UsageException($"{model.Name} was not built for '{target}'; it holds {string.Join(", ", model.Targets)}.");
}
