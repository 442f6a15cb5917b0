using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Commands;

/// <summary>What the compiler emitted: a line per kernel, or the CUDA C of one.</summary>
static class KernelsCommand
{
    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var command = new Command("kernels", "The emitted kernels.");
        var variant = Models.Variant(models);
        var target = OptionKinds.Text("--target", "NAME", "the CUDA target, for example sm_80; the newest when left out");
        var list = new Command("list",
            "Lists the kernels of a model, or of all: kind, launches per micro-batch, the layers they are of, block, shared memory, tile.") { variant, target };
        list.SetAction(result =>
        {
            foreach (var found in Find(result)) List(found, terminal);
        });
        command.Add(list);

        var name = new Argument<string>("NAME") { Description = "a name that 'kernels list' prints" };
        var show = new Command("show", "Prints the CUDA C of one kernel, as it is compiled.") { name, variant, target };
        show.SetAction(result => terminal.Out.Write(TextOf(result.GetRequiredValue(name), Find(result))));
        command.Add(show);
        command.Add(KernelsBenchCommand.Create(models, terminal));
        return command;

        (CompiledModel Model, TargetKernels Emitted)[] Find(ParseResult result)
        {
            var chosen = result.GetValue(variant) is { } wanted ? [Models.Find(models, wanted)] : models;
            return [.. chosen.Select(m => (m, m.Kernels(Models.Target(m, result.GetValue(target)))))];
        }
    }

    static string TextOf(string name, (CompiledModel Model, TargetKernels Emitted)[] found)
    {
        var having = found.SelectMany(f => f.Emitted.Kernels.Where(k => k.Info.Name == name), (f, kernel) => (f.Model.Name, kernel.Text)).ToArray();
        if (having.Length == 0)
            throw new UsageException($"{string.Join(", ", found.Select(f => f.Model.Name))} {(found.Length == 1 ? "has" : "have")} "
                + $"no kernel '{name}' for {found[0].Emitted.Target}; 'kernels list' names them.");
        if (having.Any(k => k.Text != having[0].Text))
            throw new UsageException($"the kernel '{name}' differs between {string.Join(", ", having.Select(k => k.Name))}; choose one with --variant.");
        return having[0].Text;
    }

    static void List((CompiledModel Model, TargetKernels Emitted) found, Terminal terminal)
    {
        var schedule = ScheduleText.Parse(found.Model.Schedule());
        var launches = schedule.Forward.Concat(schedule.Backward).ToLookup(l => l switch { KernelLaunch k => k.Kernel, CrossEntropyLaunch c => c.Kernel, _ => "" }, l => l.Layer);
        var rows = found.Emitted.Kernels.Select(k => (k.Info, Count: launches[k.Info.Name].Count(), Layers: Layers([.. launches[k.Info.Name].Distinct().Order()]))).ToArray();
        var (width, layers) = (rows.Max(r => r.Info.Name.Length), Math.Max("layers".Length, rows.Max(r => r.Layers.Length)));
        terminal.Out.WriteLine($"{"kernel".PadRight(width)}  {"kind",-22} launches  {"layers".PadRight(layers)}  block  shared  tile");
        foreach (var (info, count, of) in rows)
        {
            var tile = info.TileCols > 0 ? $"{info.TileRows} x {info.TileCols}" : $"{info.TileRows}";
            terminal.Out.WriteLine($"{info.Name.PadRight(width)}  {ScheduleText.Lower(info.Kind),-22} {(count > 0 ? count.ToString() : "-"),8}  "
                + $"{of.PadRight(layers)}  {info.Block,5}  {info.SharedBytes,6}  {tile}");
        }
        terminal.Out.WriteLine($"{found.Emitted.Kernels.Count} kernels of {found.Model.Name} for {found.Emitted.Target}; "
            + "launches are those of a micro-batch without recomputing, '-' is chosen by shape or belongs to the optimizer");
    }

    /// <summary>Layer numbers in order, as few words as it takes: 0-41, or 0,2..40; -1, what is in no layer, is "outside".</summary>
    internal static string Layers(IReadOnlyList<int> layers)
    {
        var words = new List<string>();
        for (int i = 0, next; i < layers.Count; i = next)
        {
            // The longest run of one stride that begins here.
            next = i + 1;
            if (layers[i] >= 0)
                while (next + 1 < layers.Count && layers[next + 1] - layers[next] == layers[i + 1] - layers[i]) next++;
            var isRun = next > i + 1;
            if (isRun) next++;
            words.Add(layers[i] < 0 ? "outside" : !isRun ? $"{layers[i]}"
                : layers[i + 1] - layers[i] == 1 ? $"{layers[i]}-{layers[next - 1]}" : $"{layers[i]},{layers[i + 1]}..{layers[next - 1]}");
        }
        return words.Count > 0 ? string.Join(",", words) : "-";
    }
}
