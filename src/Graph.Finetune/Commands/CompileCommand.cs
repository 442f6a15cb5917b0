using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Diagnostics;
using System.IO;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cuda;

namespace Graph.Finetune.Commands;

/// <summary>Builds every cubin ahead, into the user's cache or, with --embed, into an executable.</summary>
static class CompileCommand
{
    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var variant = Models.Variant(models);
        var target = OptionKinds.Text("--target", "NAME", "only this CUDA target; all that were built when left out");
        var embed = OptionKinds.Text("--embed", "FILE", "append the cubins to this executable, which then needs no NVRTC");
        var command = new Command("compile", "Builds the cubins of all models and targets ahead, into the cache or into an executable.") { variant, target, embed };
        command.SetAction(result =>
        {
            var chosen = result.GetValue(variant) is { } name ? [Models.Find(models, name)] : models;
            Run(chosen, result.GetValue(target), result.GetValue(embed), terminal);
        });
        return command;
    }

    static void Run(IReadOnlyList<CompiledModel> models, string? target, string? embed, Terminal terminal)
    {
        if (embed is not null && !File.Exists(embed)) throw new InputException($"there is no executable '{embed}' to put cubins in.");
        var entries = new Dictionary<KernelKey, CompiledKernel>();
        // What is embedded must come from this NVRTC, not from an archive that an older build left in this file.
        var compiler = KernelCompiler.Default() with { Archive = null };
        foreach (var each in models.SelectMany(m => m.Targets).Distinct().Where(t => target is null || t == target).Order(StringComparer.Ordinal))
        {
            var start = Stopwatch.GetTimestamp();
            var kernels = models.Where(m => m.Targets.Contains(each)).SelectMany(m => m.Kernels(each).Kernels).DistinctBy(k => k.Text).ToArray();
            var compiled = compiler.Get([.. kernels.Select(k => k.Text)], each, i => kernels[i].Info.Name + ".cu");
            for (var i = 0; i < kernels.Length; i++) entries[KernelKey.ForArchive(kernels[i].Text, each, Nvrtc.DefaultOptions)] = compiled[i];
            terminal.Out.WriteLine($"{each}: {kernels.Length} kernels in {Stopwatch.GetElapsedTime(start).TotalSeconds:F1} s");
        }
        if (entries.Count == 0)
            throw new UsageException(models.SelectMany(m => m.Targets).Distinct().ToArray() is { Length: > 0 } built
                ? $"no model here was built for '{target}'; they hold {string.Join(", ", built)}."
                : $"{string.Join(", ", models.Select(m => m.Name))} {(models.Count == 1 ? "was" : "were")} built for no CUDA target, so there is nothing to compile.");
        if (embed is null)
        {
            terminal.Out.WriteLine(compiler.Cache is { } cache ? $"they are in {cache.Folder}" : "GRAPH_CACHE is off, so nothing was kept");
            return;
        }
        try
        {
            CubinArchive.Append(embed, [.. entries]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{embed} cannot be written: {e.Message}");
        }
        terminal.Out.WriteLine($"{entries.Count} cubins are in {embed}");
    }
}
