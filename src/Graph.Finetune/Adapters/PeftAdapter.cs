using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Adapters;

/// <summary>
/// Adapters in PEFT's layout: a directory with adapter_config.json and adapter_model.safetensors,
/// tensors base_model.model.{linear}.lora_A.weight [R, In] and lora_B.weight [Out, R].
/// </summary>
public static class PeftAdapter
{
    public const string ConfigName = "adapter_config.json", WeightsName = "adapter_model.safetensors";
    // A whole adapter on its way to its place: see Save.
    const string Next = "adapter.next";
    const string Prefix = "base_model.model.", SuffixA = ".lora_A.weight", SuffixB = ".lora_B.weight";

    /// <summary>F32, BF16 and F16 tensors become fp32. Modules come in the schedule's order.</summary>
    /// <exception cref="InputException">A file is missing or damaged, a setting is not supported, or the tensors are not those of the targets in this model.</exception>
    public static AdapterFile Load(string directory, Schedule schedule)
    {
        if (!Directory.Exists(directory)) throw new InputException($"there is no adapter directory '{directory}'.");
        string configPath = Of(ConfigName), path = Of(WeightsName);
        foreach (var file in new[] { configPath, path })
            if (!File.Exists(file)) throw new InputException($"'{directory}' has no {Path.GetFileName(file)}; give the directory of a PEFT adapter in safetensors format.");
        var config = AdapterConfig.Read(configPath);
        using var tensors = SafetensorsFile.Open(path);
        // A run that publishes meanwhile takes the config away before it changes the weights.
        if (!File.Exists(configPath) || !AdapterConfig.Read(configPath).Same(config))
            throw new InputException($"the adapter in '{directory}' was replaced while it was read; try again.");
        var linears = schedule.Adapters.SelectMany(s => s.Adapters, (s, a) => (a.Name, s.In, a.Out)).ToArray();
        CheckNames(path, tensors, [.. linears.Select(l => l.Name)], schedule.Variant);
        var modules = new List<AdapterModule>();
        var (rankOf, alphaOf) = (Values(config.Ranks), Values(config.Alphas));
        foreach (var (name, inputs, outputs) in linears)
        {
            var present = tensors.Tensors.ContainsKey(Prefix + name + SuffixA) || tensors.Tensors.ContainsKey(Prefix + name + SuffixB);
            // A pattern is PEFT's to match; then the tensors themselves say which linears have adapters.
            if (config.TargetText is null or "all-linear" ? !IsTarget(name, config) : !present)
            {
                if (present) throw new InputException($"{path} has tensors of {name}, but {configPath} does not name it as a target.");
                continue;
            }
            var rank = (int)(rankOf(name) ?? config.Rank);
            modules.Add(new AdapterModule(name, rank, ReadMatrix(tensors, Prefix + name + SuffixA, rank, inputs), ReadMatrix(tensors, Prefix + name + SuffixB, outputs, rank))
            {
                Alpha = alphaOf(name) is { } alpha && alpha != config.Alpha ? alpha : null,
            });
        }
        if (modules.Count == 0) throw new InputException($"{configPath}: target_modules names no linear of {schedule.Variant}.");
        return config.TargetText switch
        {
            null => Adapter(config.Targets, config.Layers),
            "all-linear" => Adapter([.. linears.Select(l => LinearNames.Last(l.Name)).Distinct()], config.Layers),
            _ => Adapter(LinearNames.Naming(modules.Select(m => m.Linear).ToHashSet(), [.. linears.Select(l => l.Name)]), null),
        };

        string Of(string name) => Path.Combine(directory, Next, name) is var next && File.Exists(next) ? next : Path.Combine(directory, name);

        // The first pattern that matches, as PEFT has it.
        Func<string, double?> Values(IReadOnlyList<(string Pattern, double Value)> patterns)
        {
            try
            {
                var known = patterns.Select(p => (Pattern: LinearPattern.Expression(p.Pattern), p.Value)).ToArray();
                var values = linears.Where(l => known.Any(p => p.Pattern.Matches(l.Name))).ToDictionary(l => l.Name, l => known.First(p => p.Pattern.Matches(l.Name)).Value);
                return name => values.TryGetValue(name, out var value) ? value : null;
            }
            catch (ArgumentException e)
            {
                throw new InputException($"{configPath} has a pattern that cannot be used: {e.Message.TrimEnd('.')}.");
            }
        }

        AdapterFile Adapter(IReadOnlyList<string> targets, IReadOnlyList<int>? layers) => new(config.Rank, config.Alpha, config.RsLora, targets, modules, layers, config.Dropout);
    }

    /// <summary>
    /// Writes both files as one unit; the directory is made if there is none. Both are complete in a folder of their
    /// own before either takes its place, and the old config goes before the new weights come, so
    /// new weights never stand beside an old config;
    /// a process that dies meanwhile leaves that folder, which <see cref="Load"/> reads and the next Save or <see cref="Complete"/> brings to its place.
    /// </summary>
    /// <param name="baseModel">Name or directory of the model that the adapter belongs to.</param>
    /// <exception cref="ArgumentException">A module's arrays are not of its rank.</exception>
    /// <exception cref="InputException">The files cannot be written; what was there is as it was.</exception>
    public static void Save(string directory, AdapterFile adapter, string? baseModel)
    {
        var files = Files(adapter, baseModel);
        try
        {
            Directory.CreateDirectory(directory);
            Complete(directory);
            AtomicFiles.WriteFolder(Path.Combine(directory, Next), files);
            Complete(directory);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            throw new InputException($"the adapter cannot be written to '{directory}': {e.Message}");
        }
    }

    /// <summary>Brings a whole adapter that a process left on its way to its place.</summary>
    public static void Complete(string directory)
    {
        var next = Path.Combine(directory, Next);
        if (!Directory.Exists(next)) return;
        string weights = Path.Combine(next, WeightsName), config = Path.Combine(next, ConfigName);
        if (File.Exists(weights))
        {
            File.Delete(Path.Combine(directory, ConfigName));
            File.Move(weights, Path.Combine(directory, WeightsName), overwrite: true);
        }
        if (File.Exists(config)) File.Move(config, Path.Combine(directory, ConfigName), overwrite: true);
        AtomicFiles.Sync(directory);
        Directory.Delete(next, recursive: true);
    }

    /// <summary>Takes an adapter away; its config goes first, for weights alone are no adapter.</summary>
    public static void Remove(string directory)
    {
        AtomicFiles.Remove(Path.Combine(directory, Next));
        foreach (var name in new[] { ConfigName, WeightsName }) File.Delete(Path.Combine(directory, name));
    }

    /// <summary>The two files of an adapter.</summary>
    /// <exception cref="ArgumentException">A module's arrays are not of its rank.</exception>
    internal static IReadOnlyList<(string Name, Action<Stream> Content)> Files(AdapterFile adapter, string? baseModel)
    {
        var tensors = new List<SafetensorsTensor>();
        foreach (var module in adapter.Modules)
        {
            if (module.A.Length % module.Rank != 0 || module.B.Length % module.Rank != 0)
                throw new ArgumentException($"adapter: {module.Linear} has rank {module.Rank}, "
                    + $"but {module.A.Length} values of A and {module.B.Length} of B, which are no multiples of it.");
            tensors.Add(SafetensorsTensor.Of(Prefix + module.Linear + SuffixA, module.A, module.Rank, module.A.Length / module.Rank));
            tensors.Add(SafetensorsTensor.Of(Prefix + module.Linear + SuffixB, module.B, module.B.Length / module.Rank, module.Rank));
        }
        // transformers refuses files whose metadata lacks format "pt".
        return
        [
            (WeightsName, stream => SafetensorsWriter.Write(stream, tensors, new Dictionary<string, string> { ["format"] = "pt" })),
            (ConfigName, stream => AdapterConfig.Write(stream, adapter, baseModel)),
        ];
    }

    static void CheckNames(string path, SafetensorsFile tensors, HashSet<string> linears, string variant)
    {
        foreach (var name in tensors.Tensors.Keys)
        {
            var linear = name.StartsWith(Prefix, StringComparison.Ordinal) && (name.EndsWith(SuffixA, StringComparison.Ordinal) || name.EndsWith(SuffixB, StringComparison.Ordinal))
                && name.Length > Prefix.Length + SuffixA.Length ? name[Prefix.Length..^SuffixA.Length] : null;
            if (linear is null) throw new InputException($"{path} has a tensor {name}; only {Prefix}…{SuffixA} and …{SuffixB} are known.");
            if (!linears.Contains(linear)) throw new InputException($"{path} has a tensor {name}, but {variant} has no linear {linear}; the adapter is of another model.");
        }
    }

    // PEFT's rule: a target is the whole name or its end after a dot.
    static bool IsTarget(string linear, AdapterConfig config) =>
        (config.Layers is null || (LinearNames.Layer(linear) is { } layer && config.Layers.Contains(layer)))
        && (config.TargetText is "all-linear" || config.Targets.Any(t => linear == t || linear.EndsWith("." + t, StringComparison.Ordinal)));

    static float[] ReadMatrix(SafetensorsFile file, string name, int rows, int columns)
    {
        if (!file.Tensors.TryGetValue(name, out var entry)) throw new InputException($"{file.Path} lacks the tensor {name}, which its targets call for.");
        if (entry.Shape is not [var r, var c] || r != rows || c != columns)
            throw new InputException($"{file.Path}: {name} is [{string.Join(",", entry.Shape)}] but must be [{rows},{columns}]; the adapter is of another rank or model.");
        var type = entry.DType switch
        {
            "F32" => StoredType.F32,
            "BF16" => StoredType.Bf16,
            "F16" => StoredType.F16,
            _ => throw new InputException($"{file.Path}: {name} is {entry.DType}; adapters must be F32, BF16 or F16."),
        };
        var values = new float[checked(rows * columns)];
        var bytes = MemoryMarshal.AsBytes(values.AsSpan());
        var converted = Elements.Convert(file.Bytes(entry, 0, checked((int)entry.Length)), type, Graph.Runtime.Devices.ActType.F32, bytes);
        if (type == StoredType.F32) converted.CopyTo(bytes);
        return Array.TrueForAll(values, float.IsFinite) ? values : throw new InputException($"{file.Path}: {name} has values that are not finite.");
    }
}
