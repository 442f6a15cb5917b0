using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>A weight of which a step input chooses rows: an embedding's ids or positions, or the labels, which choose among the head's logits.</summary>
public sealed record EmbeddingTable(string Input, string Name, int Rows);

/// <summary>Which rows a step's inputs may ask for. Kernels read whatever row an id names, so the host looks first.</summary>
public static class EmbeddingTables
{
    /// <summary>For each input that chooses rows, the table with the fewest: what it has a row for, every other one has.</summary>
    public static IReadOnlyList<EmbeddingTable> Of(Schedule schedule)
    {
        var tensors = schedule.Tensors.ToDictionary(t => t.Name);
        EmbeddingTable Table(View input, View table) => new(input.Tensor, table.Tensor, tensors[table.Tensor].Dims[0].Fixed);
        var launches = schedule.Forward.Concat(schedule.Backward).Concat(schedule.Recipes.SelectMany(r => r.Launches)).ToArray();
        // A kernel's argument that is a weight right behind an input is what the input chooses from: no kernel has the two side by side for another reason.
        var gathered = launches.OfType<KernelLaunch>().SelectMany(k => k.Arguments.Zip(k.Arguments.Skip(1)))
            .Where(p => tensors[p.First.Tensor].Kind == TensorKind.Input && tensors[p.Second.Tensor].Kind == TensorKind.Weight).Select(p => Table(p.First, p.Second));
        return [.. gathered.Concat(launches.OfType<CrossEntropyLaunch>().Select(c => Table(c.Labels, c.Table))).GroupBy(t => t.Input).Select(g => g.MinBy(t => t.Rows)!)];
    }

    /// <summary>What is wrong with the values of an input, as the end of a sentence ("id 600 at position 3, but …"); null: nothing. A negative label is none.</summary>
    public static string? Fault(IReadOnlyList<EmbeddingTable> tables, string input, ReadOnlySpan<int> values)
    {
        foreach (var table in tables.Where(t => t.Input == input))
        {
            var at = values.IndexOfAnyExceptInRange(input == "labels" ? int.MinValue : 0, table.Rows - 1);
            if (at >= 0) return $"{(input.EndsWith('s') ? input[..^1] : input)} {values[at]} at position {at}, but {table.Name} has {table.Rows} rows, from 0 to {table.Rows - 1}";
        }
        return null;
    }
}
