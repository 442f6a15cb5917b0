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
        var list = new Command("list", "Lists the kernels of a model: kind, launches per micro-batch, block, shared memory, tile.") { variant, target };
        list.SetAction(result => List(Find(result), terminal));
        command.Add(list);

        var name = new Argument<string>("NAME") { Description = "a name that 'kernels list' prints" };
        var show = new Command("show", "Prints the CUDA C of one kernel, as it is compiled.") { name, variant, target };
        show.SetAction(result =>
        {
            var (model, kernels) = Find(result);
            var wanted = result.GetRequiredValue(name);
            var kernel = kernels.Kernels.FirstOrDefault(k => k.Info.Name == wanted)
                ?? throw new UsageException($"{model.Name} has no kernel '{wanted}' for {kernels.Target}; 'kernels list --variant {model.Name}' names them.");
            terminal.Out.Write(kernel.Text);
        });
        command.Add(show);
        return command;

        (CompiledModel, TargetKernels) Find(ParseResult result)
        {
            var model = Models.Find(models, result.GetValue(variant));
            return (model, model.Kernels(Models.Target(model, result.GetValue(target))));
        }
    }

    static void List((CompiledModel Model, TargetKernels Emitted) found, Terminal terminal)
    {
        var schedule = ScheduleText.Parse(found.Model.Schedule());
        var launches = schedule.Forward.Concat(schedule.Backward).Select(l => l switch { KernelLaunch k => k.Kernel, CrossEntropyLaunch c => c.Kernel, _ => "" }).CountBy(k => k).ToDictionary();
        var width = found.Emitted.Kernels.Max(k => k.Info.Name.Length);
        terminal.Out.WriteLine($"{"kernel".PadRight(width)}  {"kind",-18} launches  block  shared  tile");
        foreach (var (info, _) in found.Emitted.Kernels)
        {
            var tile = info.TileCols > 0 ? $"{info.TileRows} x {info.TileCols}" : $"{info.TileRows}";
            terminal.Out.WriteLine($"{info.Name.PadRight(width)}  {info.Kind,-18} {(launches.TryGetValue(info.Name, out var count) ? count.ToString() : "-"),8}  {info.Block,5}  {info.SharedBytes,6}  {tile}");
        }
        terminal.Out.WriteLine($"{found.Emitted.Kernels.Count} kernels of {found.Model.Name} for {found.Emitted.Target}; launches are those of a micro-batch, '-' is chosen by shape or belongs to the optimizer");
    }
}
