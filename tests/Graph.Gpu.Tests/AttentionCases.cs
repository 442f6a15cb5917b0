using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Execution;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>Attention's arguments by position: q, k, v, do random; lse and delta are those that belong to them, from the cpu forward and the rounded o.</summary>
static class AttentionCases
{
    internal static KernelCase Of(string variant, KernelInfo kernel, KernelLaunch launch, CaseArgument[] arguments, MicroBatch batch, KernelCases.Size size, int seed,
        string label)
    {
        string[] names = kernel.Kind switch
        {
            KernelKind.AttentionForward => ["o", "lse", "q", "k", "v", "doc_start"],
            KernelKind.AttentionDelta => ["delta", "o", "do"],
            KernelKind.AttentionDq or KernelKind.AttentionDqFromDs => ["dq", "q", "k", "v", "do", "lse", "delta", "doc_start"],
            KernelKind.AttentionDkdv or KernelKind.AttentionDkdvToDs => ["dk", "dv", "q", "k", "v", "do", "lse", "delta", "doc_start", "doc_end"],
            _ => throw new CheckException($"{kernel.Name} is of kind {kernel.Kind}, which has no arguments here"),
        };
        if (names.Length != arguments.Length) throw new CheckException($"{kernel.Name} has {arguments.Length} arguments, but {kernel.Kind} has {names.Length}");
        int Columns(string name) => arguments[Array.IndexOf(names, name)].Columns;
        if (kernel.Kind == KernelKind.AttentionDelta)
            return new KernelCase(variant, launch.Kernel,
                label, [.. arguments.Select((a, i) => a with { Name = names[i], Values = KernelCases.Values(a, seed * 100 + i) })], size.Rows, kernel.GridY, 1);

        var group = Columns("q") / Columns("k");
        // Blocks of a row tile: one per kv head, per two heads, or per head.
        var headsOfBlock = kernel.Kind switch { KernelKind.AttentionDkdv or KernelKind.AttentionDkdvToDs => group, KernelKind.AttentionDqFromDs => 2, _ => 1 };
        var allKvHeads = kernel.GridY * headsOfBlock / group;
        var kvHeads = size.KvHeads == 0 ? allKvHeads : size.KvHeads;
        var headDim = Columns("k") / allKvHeads;
        int heads = kvHeads * group, rows = size.Rows;

        // q·k / sqrt(D) deviates by the square of q's deviation: 15 reaches |s| = 40 and the cap of 50.
        var deviation = size.Hot ? 3.9f : 1;
        float[] q = RandomValues.Normal(rows * heads * headDim, seed, deviation), k = RandomValues.Normal(rows * kvHeads * headDim, seed + 1, deviation);
        float[] v = RandomValues.Normal(rows * kvHeads * headDim, seed + 2, 1), d = RandomValues.Normal(rows * heads * headDim, seed + 3, 1);
        float[] lse = [], delta = [];
        if (names.Contains("lse") && names.Contains("delta"))
        {
            var forward = ForwardOf(variant, launch.Arguments[Array.IndexOf(names, "lse")].Tensor);
            float[] o = Pinned.Floats(rows * heads * headDim);
            (lse, delta) = (Pinned.Floats(rows * heads), Pinned.Floats(rows * heads));
            var start = Pinned.Ints(batch.DocStart);
            CpuView View(Array a, int pitch) => new(Pinned.Address(a), pitch);
            Models.Reference(variant).Exact(kvHeads)[forward].Run([View(o, heads * headDim), View(lse, heads), View(q, heads * headDim), View(k, kvHeads * headDim),
                View(v, kvHeads * headDim), View(start, 0)], rows);
            for (var i = 0; i < o.Length; i++) o[i] = Elem.Round(o[i]);
            CpuAttention.Delta([View(delta, heads), View(o, heads * headDim), View(d, heads * headDim)], rows, heads, headDim);
            GC.KeepAlive(start);
        }

        var filled = arguments.Select((a, i) => names[i] switch
        {
            "o" or "dq" => a with { Columns = heads * headDim },
            "dk" or "dv" => a with { Columns = kvHeads * headDim },
            "q" => a with { Columns = heads * headDim, Values = q },
            "do" => a with { Columns = heads * headDim, Values = d },
            "k" => a with { Columns = kvHeads * headDim, Values = k },
            "v" => a with { Columns = kvHeads * headDim, Values = v },
            "lse" => a with { Columns = heads, Values = lse, DeviceScale = 1.44269504f },
            "delta" => a with { Columns = heads, Values = delta },
            "doc_start" => a with { Ints = Pinned.Ints(batch.DocStart) },
            _ => a with { Ints = Pinned.Ints(batch.DocEnd) },
        } with { Name = names[i] });
        return new KernelCase(variant, launch.Kernel, label, [.. filled], rows, heads / headsOfBlock, kvHeads);
    }

    static string ForwardOf(string variant, string lse) =>
        KernelCases.ScheduleOf(variant).Forward.OfType<KernelLaunch>().First(l => l.Arguments.Take(l.Outputs).Any(a => a.Tensor == lse)).Kernel;
}
