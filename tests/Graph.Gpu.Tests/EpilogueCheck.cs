using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// A product with another kernel's work in its tiles against the two launches that it stands for, which other checks hold against fp64:
/// the same bits in every byte of every tensor, poison between rows included.
/// D is compared where it is stored, by the product or in place, and must stay as it was where it is not.
/// Delta without its last head, too: of heads of 128 the last tile then has one.
/// </summary>
static class EpilogueCheck
{
    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        var (fusion, product, row) = Pair(job);
        var plain = new GemmForm(product.Layout, false, false, TileShape.Wide).Name;
        var sources = job.Sources(_ => true).ToDictionary(k => k.Info.Name);
        foreach (var name in new[] { job.Name, plain, row.Kernel }) on.Load(sources[name]);
        // More than 64 rows: fewer may take the two launches to another GEMM, whose sums differ in the last bit.
        foreach (var rows in new[] { 129, 65, 127, 128, 1000 })
            foreach (var storeD in row.InPlace > 0
                ? [false] : new[] { true, false }) One(on, KernelCases.Shapes(job.Variant, rows), fusion, product, row, storeD, rows == 129 ? 100 : 2);
        // Without adapters the product has one segment, with wide ones a second one of several k-blocks.
        foreach (var rank in new[] { 0, 64 }) One(on, KernelCases.Shapes(job.Variant, 130, rank), fusion, product, row, storeD: row.InPlace == 0, 2);
        if (sources[row.Kernel] is { Info: { Kind: KernelKind.AttentionDelta, GridY: var heads } } delta)
        {
            on.Load(delta with { Info = delta.Info with { GridY = heads - 1 } });
            var (fewerColumns, fewerHeads) = WithoutLastHead(KernelCases.Shapes(job.Variant, 1), product, row, heads);
            foreach (var storeD in new[] { true, false }) One(on, KernelCases.Shapes(job.Variant, 129), fusion, fewerColumns, fewerHeads, storeD, 2);
        }
        return new Seen(0, 0);
    }

    static (GemmLaunch Product, KernelLaunch Delta) WithoutLastHead(Shapes shapes, GemmLaunch product, KernelLaunch delta, int heads)
    {
        View Without(View view, int of) => shapes.Resolve(view) is var r ? view with { Columns = new ColumnRange(r.Column, r.ColumnEnd - r.Columns / of) } : view;
        return (product with { D = Without(product.D, heads),
            Segments = [.. product.Segments.Select(s => s with { B = Without(s.B, heads) })] }, delta with { Arguments = [.. delta.Arguments.Select(a => Without(a, heads))] });
    }

    /// <summary>The first product and kernel of the schedule that the job's kernel stands for.</summary>
    internal static (EpilogueFusion Fusion, GemmLaunch Product, KernelLaunch Row) Pair(KernelJob job)
    {
        var fusion = KernelCases.ScheduleOf(job.Variant).Fusions.OfType<EpilogueFusion>().First(f => f.Kernel == job.Name);
        var (product, row) = KernelCases.Pair(job.Variant, fusion);
        return (fusion, (GemmLaunch)product, (KernelLaunch)row);
    }

    static void One(CudaDeviceOfTarget on, Shapes shapes, EpilogueFusion fusion, GemmLaunch product, KernelLaunch row, bool storeD, int runs)
    {
        var (device, what) = (on.Device, $"{ScheduleText.Print(product.D)} with {row.Kernel}, {shapes.Tokens} rows, "
            + $"{shapes.Segments(product).Count} segments, D {(storeD ? "stored" : "left out")}");
        var accesses = new[] { shapes.Of(product), shapes.Of(row) };
        var read = accesses.SelectMany(a => a.Reads).Select(r => r.Tensor).ToHashSet();
        var written = accesses.SelectMany(a => a.Writes).Select(r => r.Tensor).ToHashSet();
        var layouts = read.Concat(written).Distinct().Select(t => shapes[t]).ToArray();
        var random = new Random(shapes.Tokens);
        // A few rows beyond the last one, so that a write there is seen.
        var values = layouts.Where(l => l.Tensor.Type != ElementType.I32)
            .ToDictionary(l => l.Tensor.Name, l => read.Contains(l.Tensor.Name) && !written.Contains(l.Tensor.Name) ? Poisoned(l, random) : Poison(Halves(l)));
        // Positions of two documents.
        var batch = MicroBatch.Pack(shapes.Tokens, [(new int[shapes.Tokens / 3], new int[shapes.Tokens / 3]),
            (new int[shapes.Tokens - shapes.Tokens / 3], new int[shapes.Tokens - shapes.Tokens / 3])]);
        var addresses = layouts.ToDictionary(l => l.Tensor.Name, l => l.Tensor.Type == ElementType.I32
            ? device.Upload<int>(batch[l.Tensor.Name]) : device.Upload<ushort>(values[l.Tensor.Name]));
        var binder = new LaunchBinder(shapes, 1, 64, _ => 0);
        var gemm = (BoundGemm)binder.Bind(product, t => addresses[t]).Single();
        var kernel = (BoundKernel)binder.Bind(row, t => addresses[t]).Single();
        var fused = GemmEpilogues.Bind(shapes, fusion, product, row, gemm, kernel, storeD);
        Checking.Require(device.Fuses(fused), $"{what}: the device runs the two launches instead");
        using var apart = device.Prepare([gemm, kernel]);
        using var together = device.Prepare([fused]);
        var expected = Outputs(apart);
        for (var run = 1; run <= runs; run++)
        {
            var got = Outputs(together);
            foreach (var tensor in written)
            {
                var wanted = tensor == product.D.Tensor && row.InPlace == 0 && !storeD ? values[tensor] : expected[tensor];
                if (wanted.AsSpan().SequenceEqual(got[tensor])) continue;
                var at = Enumerable.Range(0, wanted.Length).First(i => wanted[i] != got[tensor][i]);
                Checking.Require(false, $"{what}: run {run}: {tensor}{Place(shapes[tensor], at)} has other bits than the two launches give");
            }
        }
        foreach (var address in addresses.Values) device.Free(address);

        Dictionary<string, ushort[]> Outputs(IProgram program)
        {
            foreach (var tensor in written) device.Upload(addresses[tensor], System.Runtime.InteropServices.MemoryMarshal.AsBytes(values[tensor].AsSpan()));
            program.Run();
            return written.ToDictionary(t => t, t => device.Download<ushort>(addresses[t], values[t].Length));
        }
    }

    static ushort[] Poison(int count)
    {
        var bits = new ushort[count];
        Array.Fill(bits, (ushort)0xffff);
        return bits;
    }

    // Buffers are compared 16 bits at a time, whatever they hold.
    static int Halves(TensorLayout layout) => (layout.Rows + 3) * HalvesOfRow(layout);

    static int HalvesOfRow(TensorLayout layout) => layout.Pitch * layout.ElementBytes / 2;

    static string Place(TensorLayout layout, int at) => $"[{at / HalvesOfRow(layout)},{at % HalvesOfRow(layout) * 2 / layout.ElementBytes}]";

    // NaN in the gaps between rows and behind them. The values of a prime number of random ones over and over: a matrix has a hundred million.
    static ushort[] Poisoned(TensorLayout layout, Random random)
    {
        if (layout.Tensor.Kind == TensorKind.RopeTable) return System.Runtime.InteropServices.MemoryMarshal.Cast<float, ushort>(KernelCases.RopeTable(layout.Tensor)).ToArray();
        Checking.Require(layout.Tensor.Type == ElementType.Act, $"{layout.Tensor.Name} is of type {layout.Tensor.Type}, which has no random values here");
        var pool = Checking.Random(random, 999_983).Select(v => Checking.ToElem(v, Elem.Act)).ToArray();
        var bits = Poison(Halves(layout));
        var from = 0;
        for (var r = 0; r < layout.Rows; r++)
            for (var c = 0; c < layout.Columns; c++)
            {
                bits[r * layout.Pitch + c] = pool[from];
                from = from + 1 == pool.Length ? 0 : from + 1;
            }
        return bits;
    }
}
