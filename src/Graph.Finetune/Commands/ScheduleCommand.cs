using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Commands;

/// <summary>What a step of a model launches, as the compiler decided it; memory and ranks are chosen when a run begins.</summary>
static class ScheduleCommand
{
    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var command = new Command("schedule", "What a step launches.");
        var variant = Models.Variant(models);
        var layer = OptionKinds.Integer("--layer", "what belongs to this decoder layer alone, counted from 0", null, 0);
        var launches = OptionKinds.Flag("--launches", "leaves out the tensors");
        var show = new Command("show",
            "Prints a model's schedule: tensors with their shapes, the launches forward and backward in order, and how an activation that is not kept is built again.")
        {
            variant, layer, launches,
        };
        show.SetAction(result =>
        {
            var schedule = ScheduleText.Parse(Models.Find(models, result.GetValue(variant)).Schedule());
            if (result.GetValue(layer) is { } one) schedule = OfLayer(schedule, one);
            if (result.GetValue(launches)) schedule = schedule with { Adapters = [], Tensors = [] };
            terminal.Out.Write(ScheduleText.Print(schedule));
        });
        command.Add(show);
        return command;
    }

    /// <exception cref="UsageException">There is no such layer.</exception>
    static Schedule OfLayer(Schedule schedule, int layer)
    {
        if (layer >= schedule.Layers) throw new UsageException($"--layer is {layer} but {schedule.Variant} has the layers 0 to {schedule.Layers - 1}.");
        var (tensors, launches) = (schedule.Tensors.Where(t => t.Layer == layer).ToArray(), Of(schedule.Forward).Concat(Of(schedule.Backward)).Select(l => l.Id).ToHashSet());
        return schedule with
        {
            Adapters = [],
            Tensors = tensors,
            Forward = Of(schedule.Forward),
            Backward = Of(schedule.Backward),
            Recompute = Of(schedule.Recompute),
            Fusions = [.. schedule.Fusions.Where(f => launches.Contains(f.First))],
            Recipes = [.. schedule.Recipes.Where(r => tensors.Any(t => t.Name == r.Tensor))],
        };

        Launch[] Of(IReadOnlyList<Launch> list) => [.. list.Where(l => l.Layer == layer)];
    }
}
