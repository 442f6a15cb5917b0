using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Drops launches that nobody needs: one reverse pass that keeps the rectangles still to be read. With GradA and GradB of groups that have adapters as roots,
/// the backward stops below
/// the lowest adapter; with the loss alone as root, what is left is an evaluation.
/// </summary>
public static class DeadLaunches
{
    public static IReadOnlyList<Launch> Eliminate(Shapes shapes, IReadOnlyList<Launch> launches, IEnumerable<string> roots)
    {
        var live = new Dictionary<string, List<Rectangle>>();
        foreach (var root in roots) Add(live, shapes.Resolve(new View(root)));
        var kept = new List<Launch>();
        for (var i = launches.Count - 1; i >= 0; i--)
        {
            if (shapes.IsEmpty(launches[i])) continue;
            var launch = launches[i];
            if (launch is CrossEntropyLaunch { DX: { } dx } head && !IsLive(live, shapes.Resolve(dx))) launch = head with { DX = null };
            if (launch is CrossEntropyLaunch { DTable: { } dtable } trained && !IsLive(live, shapes.Resolve(dtable))) launch = trained with { DTable = null };
            var accesses = shapes.Of(launch);
            if (!accesses.Writes.Any(w => IsLive(live, w))) continue;
            foreach (var write in accesses.Writes)
                if (live.TryGetValue(write.Tensor, out var list))
                    list.RemoveAll(write.Contains);
            foreach (var read in accesses.Reads) Add(live, read);
            kept.Add(launch);
        }
        kept.Reverse();
        return kept;
    }

    /// <summary>GradA and GradB of the adapters that are there, and the gradients of trained weights.</summary>
    public static IEnumerable<string> TrainableRoots(Shapes shapes) =>
        shapes.Schedule.Tensors.Where(t => t.Kind == TensorKind.GradWeight || (t.Kind is TensorKind.GradA or TensorKind.GradB && shapes.Ranks[t.Stack] > 0)).Select(t => t.Name);

    /// <summary>The loss of every cross entropy.</summary>
    public static IEnumerable<string> LossRoots(Schedule schedule) =>
        schedule.Forward.Concat(schedule.Backward).OfType<CrossEntropyLaunch>().Select(c => c.Loss.Tensor);

    static bool IsLive(Dictionary<string, List<Rectangle>> live, Rectangle write) => live.TryGetValue(write.Tensor, out var list) && list.Any(write.Overlaps);

    static void Add(Dictionary<string, List<Rectangle>> live, Rectangle read)
    {
        if (read.IsEmpty) return;
        if (!live.TryGetValue(read.Tensor, out var list)) live[read.Tensor] = list = [];
        if (!list.Contains(read)) list.Add(read);
    }
}
