using System;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// Logits whose product sums the exponentials, and the cross entropy from those sums, against the two kernels that do without, which other checks hold against fp64.
/// The sums are added up in another order, so a gradient may round to the neighbouring value.
/// Rows behind the last label keep their logits, tiles behind the row limit whatever they were, and so does what lies between rows, of logits and
/// of sums. A chunk that is not the first, and columns that do not fill the last tile.
/// </summary>
static class RowSumsCheck
{
    const int Hidden = 72, Gap = 24, SumsGap = 4;
    const ushort Untouched = 0xffff;

    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        var head = KernelCases.Head(job.Variant);
        var vocabulary = KernelCases.Shapes(job.Variant, 1).Resolve(head.Table).Rows;
        var kernels = head.Sums ?? throw new CheckException($"{job.Variant}: the schedule's cross entropy has no kernels for sums");
        string[] names = [kernels.Product, kernels.Kernel, head.Kernel, new GemmForm(GemmLayout.Nt, false, false, TileShape.Wide).Name];
        foreach (var source in job.Sources(info => names.Contains(info.Name))) on.Load(source);
        // More than 64 rows: fewer may take the plain product to another kernel, whose sums differ in the last bit.
        var worst = 0.0;
        foreach (var (rows, labels) in new[] { (129, 129), (65, 1), (127, 100), (300, 128), (300, 129), (70, 0) })
            foreach (var before in rows == 300 ? new[] { 0, 77 }
                : [0]) worst = Math.Max(worst, One(on, head.Kernel, kernels, vocabulary, rows, labels, before, rows == 129 ? 100 : 2));
        Sums(on, kernels, 4104);
        return new Seen(0, worst);
    }

    /// <summary>The worst difference of a loss, as a part of what is allowed.</summary>
    static double One(CudaDeviceOfTarget on, string kernel, LossFromSums kernels, int vocabulary, int rows, int labels, int before, int runs)
    {
        var (device, what) = (on.Device, $"{kernel} from sums, {rows} rows behind {before}, {labels} labels");
        var (random, pitch, sumsPitch) = (new Random(rows + labels), vocabulary + Gap, GemmKernel.RowSums(vocabulary) + SumsGap);
        // Logits of about 20: the softcap bends them.
        var x = Checking.Random(random, rows * Hidden).Select(v => Checking.ToElem(4 * v, Elem.Act)).ToArray();
        var pool = Checking.Random(random, 99_991).Select(v => Checking.ToElem(v, Elem.Act)).ToArray();
        var table = new ushort[vocabulary * Hidden];
        for (var i = 0; i < table.Length; i++) table[i] = pool[i % pool.Length];
        int[] label = [.. Enumerable.Range(0, rows).Select(r => r < labels ? r % 3 == 0 ? vocabulary - 1 - r : random.Next(vocabulary) : -1)];
        nint xAt = device.Upload<ushort>(x), tableAt = device.Upload<ushort>(table), labelAt = device.Upload<int>(label),
            inverseAt = device.Upload<float>([1f / Math.Max(1, labels)]), countAt = device.Upload<int>([before + labels]);
        nint logitsAt = device.Allocate(2L * rows * pitch), lossAt = device.Allocate(4L * rows), sumsAt = device.Allocate(4L * rows * sumsPitch);
        device.Fill(sumsAt, 0xff, 4L * rows * sumsPitch);
        var product = new BoundGemm("logits", 0, 0, 0, GemmLayout.Nt, ElementType.Act, logitsAt, pitch, xAt, Hidden, tableAt, Hidden, rows, vocabulary, Hidden, 1,
            false) { Limit = new RowLimit(countAt, before) };
        var loss = new BoundKernel(kernel, 0, 0, 0, kernel, [new(logitsAt, pitch), new(lossAt, 0), new(labelAt, 0), new(inverseAt, 0)], rows);
        using var plain = device.Prepare([product]);
        using var apart = device.Prepare([product, loss]);
        var room = new RowSums(kernels, sumsAt, sumsPitch);
        var summed = product with { Sums = room };
        Checking.Require(device.Fuses(summed), $"{what}: the device makes no sums");
        using var fromSums = device.Prepare([summed, loss with { Sums = room }]);
        var logits = Run(plain).Logits;
        var expected = Run(apart);
        var first = Run(fromSums);
        var sums = device.Download<float>(sumsAt, rows * sumsPitch);
        var worst = 0.0;
        for (var r = 0; r < rows; r++)
        {
            // Rows of a tile that is computed have sums, whoever reads them.
            for (var c = r < (labels + 127) / 128 * 128 ? sumsPitch - SumsGap : 0; c < sumsPitch; c++) Checking.Require(float.IsNaN(sums[r * sumsPitch + c]),
                $"{what}: sum {c} of row {r} was written");
            var difference = Math.Abs(first.Loss[r] - expected.Loss[r]) / 1e-4;
            Checking.Require(difference <= 1, $"{what}: loss {r} is {first.Loss[r]}, without sums {expected.Loss[r]}");
            worst = Math.Max(worst, difference);
            for (var c = 0; c < pitch; c++)
            {
                var (at, written) = (r * pitch + c, r < labels && c < vocabulary);
                var right = written ? Math.Abs((short)first.Logits[at] - (short)expected.Logits[at]) <= 1 : first.Logits[at] == (c < vocabulary ? logits[at] : Untouched);
                // No sentence is made for what is right: there are a hundred million elements.
                if (!right) Checking.Require(false,
                    $"{what}: element {c} of row {r} is {first.Logits[at]:x4}; {(written ? $"without sums {expected.Logits[at]:x4}" : $"it was {logits[at]:x4}")}");
            }
        }
        for (var run = 1; run < runs; run++)
        {
            var again = Run(fromSums);
            Checking.Require(again.Logits.AsSpan().SequenceEqual(first.Logits) && again.Loss.AsSpan().SequenceEqual(first.Loss),
                $"{what}: run {run + 1} gave other bits than the first");
        }
        foreach (var address in new[] { xAt, tableAt, labelAt, inverseAt, countAt, logitsAt, lossAt, sumsAt }) device.Free(address);
        return worst;

        (ushort[] Logits, float[] Loss) Run(IProgram program)
        {
            device.Fill(logitsAt, 0xff, 2L * rows * pitch);
            device.Fill(lossAt, 0xff, 4L * rows);
            program.Run();
            return (device.Download<ushort>(logitsAt, rows * pitch), device.Download<float>(lossAt, rows));
        }
    }

    /// <summary>
    /// Every tile's sum of a product whose last tile is 8 columns wide, against a sum on the host over the logits that were stored; the softcap of these variants is 30.
    /// </summary>
    static void Sums(CudaDeviceOfTarget on, LossFromSums kernels, int columns)
    {
        const int rows = 130;
        var (device, random, tiles) = (on.Device, new Random(columns), GemmKernel.RowSums(columns));
        var (x, table) = (Checking.Random(random, rows * Hidden, 4), Checking.Random(random, columns * Hidden));
        nint xAt = device.Upload<ushort>([.. x.Select(v => Checking.ToElem(v, Elem.Act))]), tableAt = device.Upload<ushort>([.. table.Select(v => Checking.ToElem(v, Elem.Act))]);
        nint logitsAt = device.Allocate(2L * rows * columns), sumsAt = device.Allocate(4L * rows * tiles);
        using var program = device.Prepare([new BoundGemm("logits", 0, 0, 0, GemmLayout.Nt, ElementType.Act, logitsAt, columns, xAt, Hidden, tableAt, Hidden,
            rows, columns, Hidden, 1, false) { Sums = new RowSums(kernels, sumsAt, tiles) }]);
        program.Run();
        var (logits, sums) = (device.Download<ushort>(logitsAt, rows * columns), device.Download<float>(sumsAt, rows * tiles));
        for (var r = 0; r < rows; r++)
            for (var t = 0; t < tiles; t++)
            {
                var wanted = Enumerable.Range(t * GemmKernel.TileColumns, Math.Min(GemmKernel.TileColumns, columns - t * GemmKernel.TileColumns))
                    .Sum(c => Math.Exp(30 * Math.Tanh(Checking.FromElem(logits[r * columns + c], Elem.Act) / 30.0)));
                // tanh.approx is right to 2^-11, 0.015 of a logit of 30.
                Checking.Require(Math.Abs(sums[r * tiles + t] - wanted) <= 0.03 * wanted,
                    $"{kernels.Product}: sum {t} of row {r} of {columns} columns is {sums[r * tiles + t]}, on the host {wanted}");
            }
        foreach (var address in new[] { xAt, tableAt, logitsAt, sumsAt }) device.Free(address);
    }
}
