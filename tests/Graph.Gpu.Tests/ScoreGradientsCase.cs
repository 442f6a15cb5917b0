using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// dq from the dS that the kernel of dk and dv keeps, as two launches on the case of the dq that computes all of it, and held against the same reference.
/// dS is NaN wherever the first kernel does not write it, so a tile that the second reads too many is seen. dk, dv and dq have the bits that they have without dS.
/// </summary>
static class ScoreGradientsCase
{
    internal static IReadOnlyList<BoundLaunch> Launches(CudaDeviceOfTarget on, KernelJob job, KernelCase test, BoundKernel dq, Func<long, nint> allocate)
    {
        var (device, pair) = (on.Device, KernelCases.Pair(job.Variant, KernelCases.FromDs(job.Variant, job.Name)));
        var (launch, name) = ((KernelLaunch)pair.Second, ((KernelLaunch)pair.First).Kernel);
        var facts = launch.Attention!;
        var (heads, queries, keys) = (test.Arguments[5].Columns, test.Arguments[1].Columns, test.Arguments[2].Columns);
        foreach (var source in Models.Find(job.Variant).Kernels(job.Target).Kernels.Where(k => k.Info.Name == name || k.Info.Name == test.Kernel))
            on.Load(source with { Info = source.Info with { GridY = source.Info.Name == name ? test.KvHeads : heads } });

        var start = test.Arguments[7].Ints;
        var end = new int[test.Rows];
        for (var t = test.Rows - 1; t >= 0; t--) end[t] = t + 1 < test.Rows && start[t + 1] == start[t] ? end[t + 1] : t + 1;
        // Of an even number of rows: planned for longer documents than there are, as most batches are.
        var longest = test.Rows % 2 == 0 ? test.Rows : Enumerable.Range(0, test.Rows).Max(t => end[t] - start[t]);
        // Of as many heads as the case has.
        var all = KernelCases.Shapes(job.Variant, test.Rows);
        var bytes = ScoreGradients.Lifetime(all, launch, 1, longest).Bytes / facts.Heads * heads;
        var kept = new KeptScoreGradients(job.Name, false, allocate(bytes), ScoreGradients.Tiles(test.Rows, longest, facts.Window), 0, 0);
        var starts = kept with { Starts = true };
        var ends = allocate(4L * test.Rows);
        device.Upload(ends, MemoryMarshal.AsBytes(end.AsSpan()));

        // dk, dv and dq side by side.
        var pitch = 2 * keys + queries;
        BoundKernel Dkdv(nint sums) => new(name, 0, 0, 0, name, [new(sums, pitch), new(sums + 2 * keys, pitch), .. dq.Arguments.Skip(1), new(ends, 0)], test.Rows);
        BoundKernel Dq(nint sums) => dq with { Arguments = [new(sums + 4 * keys, pitch), .. dq.Arguments.Skip(1)] };
        nint with = allocate(2L * test.Rows * pitch), without = allocate(2L * test.Rows * pitch);
        BoundFill Poison(nint address, long count) => new("poison", address, 0xff, count);
        BoundLaunch[] keeping = [Poison(kept.Address, bytes), Dkdv(with) with { ScoreGradients = kept }];
        Checking.Require(device.Fuses(keeping[1]), $"{test.Label}: the device keeps no dS");
        using (var both = device.Prepare([Poison(with, 2L * test.Rows * pitch), Poison(without, 2L * test.Rows * pitch),
            .. keeping, Dq(with) with { ScoreGradients = starts }, Dkdv(without), Dq(without)])) both.Run();
        var (got, expected) = (device.Download<ushort>(with, test.Rows * pitch), device.Download<ushort>(without, test.Rows * pitch));
        var wrong = got.AsSpan().CommonPrefixLength(expected);
        Checking.Require(wrong == got.Length, $"{test.Label}: [{wrong / pitch},{wrong % pitch}] of dk, dv and dq beside each other has other bits with dS kept than without");
        return [.. keeping, dq with { ScoreGradients = starts }];
    }
}
