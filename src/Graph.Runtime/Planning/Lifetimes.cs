using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Bytes that must stay in place from launch First to launch Last, both included.</summary>
/// <param name="PerTile">They hold one tile of tokens after the other (<see cref="TokenTiles"/>).</param>
public sealed record Lifetime(string Tensor, int First, int Last, long Bytes, bool PerTile = false);

/// <summary>
/// When each arena tensor of a launch list is alive. A dropped tensor has two lifetimes: first write to last read of the forward, then of the backward; an offloaded one
/// until its copy has ended, and again from the start of its copy back.
/// </summary>
public static class Lifetimes
{
    /// <summary>Name of the scratch of a cross entropy's logits chunk; it lives in that launch only.</summary>
    public const string LogitsScratch = "cross_entropy.logits";

    /// <summary>Name of the scratch of its rows' sums of exponentials: f32, <see cref="GemmKernel.RowSums"/> a row.</summary>
    public const string SumsScratch = "cross_entropy.sums";

    /// <param name="backwardStart">Index of the first launch of the backward.</param>
    /// <param name="kept">Tensors that must survive the last launch: the loss, and what a caller wants to look at.</param>
    /// <exception cref="ArgumentException">A tensor is read before anything wrote it.</exception>
    public static IReadOnlyList<Lifetime> Of(Shapes shapes, IReadOnlyList<Launch> launches, int backwardStart, Decisions decisions, IReadOnlySet<string> kept, int logitsRows)
    {
        var uses = new Dictionary<string, List<Use>>();
        var result = new List<Lifetime>();
        for (var i = 0; i < launches.Count; i++)
        {
            var accesses = shapes.Of(launches[i]);
            // Reads come first: a launch reads its in-place output before it writes it.
            foreach (var read in accesses.Reads) Note(read, i, false);
            // As one kernel the two write the second one's outputs while the first one's operands are still read.
            if (shapes.FusionAt(launches, i) is EpilogueFusion)
                foreach (var read in shapes.Of(launches[i - 1]).Reads) Note(read, i, false);
            foreach (var write in accesses.Writes) Note(write, i, true, launches[i] is TransferStart or DequantizeLaunch);
            if (AdapterDropout.ScratchBytes(shapes, launches[i]) is > 0 and var dropped) result.Add(new Lifetime(AdapterDropout.Scratch, i, i, dropped));
            if (launches[i] is CrossEntropyLaunch c)
                foreach (var (scratch, bytes) in ScratchOf(shapes, c, logitsRows)) result.Add(new Lifetime(scratch, i, i, bytes));
        }
        foreach (var (tensor, list) in uses)
        {
            // A dropped tensor is dead between forward and backward; whatever its backward reads, a recipe wrote. What comes from the host, or is made of what is stored
            // of it, is not there before.
            var split = decisions[tensor] == TensorAction.Recompute && !kept.Contains(tensor) ? list.FindIndex(u => u.Launch >= backwardStart) : -1;
            var from = 0;
            for (var i = 1; i <= list.Count; i++)
            {
                if (i < list.Count && i != split && !list[i].Anew) continue;
                AddRanges(tensor, list[from..i]);
                from = i;
            }
        }
        return result.OrderBy(l => l.First).ThenBy(l => l.Tensor, StringComparer.Ordinal).ToArray();

        void Note(Rectangle rectangle, int launch, bool write, bool anew = false)
        {
            if (rectangle.IsEmpty || !shapes.IsInArena(shapes[rectangle.Tensor].Tensor)) return;
            if (!uses.TryGetValue(rectangle.Tensor, out var list)) uses[rectangle.Tensor] = list = [];
            list.Add(new Use(launch, write, anew));
        }

        void AddRanges(string tensor, List<Use> list)
        {
            if (list.Count == 0) return;
            if (!list[0].Write)
                throw new ArgumentException($"schedule {shapes.Schedule.Variant}: {tensor} is read by launch {list[0].Launch} "
                    + $"({ScheduleText.Print(launches[list[0].Launch])}) before anything wrote it.");
            var bytes = shapes[tensor].Bytes;
            var lastRead = list.FindLastIndex(u => !u.Write);
            var end = kept.Contains(tensor) ? launches.Count - 1 : lastRead >= 0 ? list[lastRead].Launch : -1;
            if (end >= 0) result.Add(new Lifetime(tensor, list[0].Launch, end, bytes));
            // Written after its last reader: a kernel's second output, or a recipe's by-product. It needs room while that launch runs, and no longer.
            foreach (var use in list.Where(u => u.Launch > end).DistinctBy(u => u.Launch)) result.Add(new Lifetime(tensor, use.Launch, use.Launch, bytes));
        }
    }

    /// <summary>When each offloaded tensor is in host memory: from the start of its copy there to the end of its copy back.</summary>
    public static IReadOnlyList<Lifetime> OnHost(Shapes shapes, IReadOnlyList<Launch> launches)
    {
        var sent = new Dictionary<string, int>();
        var result = new List<Lifetime>();
        for (var i = 0; i < launches.Count; i++)
            switch (launches[i])
            {
                case TransferStart { Lane: Lane.ToHost } s:
                    sent[s.Tensor] = i;
                    break;
                // A streamed weight was not sent.
                case TransferWait { Start: { Lane: Lane.ToDevice } s } when sent.TryGetValue(s.Tensor, out var from):
                    result.Add(new Lifetime(s.Tensor, from, i, shapes[s.Tensor].Bytes));
                    break;
            }
        return result;
    }

    /// <summary>What a cross entropy needs while it runs, in bytes: a chunk's logits and their sums, and the rows that have a label.</summary>
    public static IEnumerable<(string Name, long Bytes)> ScratchOf(Shapes shapes, CrossEntropyLaunch head, int logitsRows)
    {
        var vocabulary = shapes.Resolve(head.Table).Rows;
        return
        [
            (LogitsScratch, (long)logitsRows * TensorLayout.RowPitch(vocabulary) * TensorLayout.Size(ElementType.Act, shapes.Act)),
            .. head.Sums is null ? Array.Empty<(string, long)>() : [(SumsScratch, 4L * logitsRows * GemmKernel.RowSums(vocabulary))],
            .. LabelRows.Scratch(shapes, head),
        ];
    }

    // Anew: a copy from the host begins, or a weight is made.
    readonly record struct Use(int Launch, bool Write, bool Anew);
}
