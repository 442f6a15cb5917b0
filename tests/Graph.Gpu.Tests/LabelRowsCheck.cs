using System;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;

namespace Graph.Gpu.Tests;

/// <summary>
/// Rows of tokens with a label, there and back, bit for bit: none of them, one, some, all; columns that fill a warp's loads and that do not, pitches wider than the columns.
/// Whatever is not to be written, gaps between rows and rows without a token included, must stay.
/// </summary>
static class LabelRowsCheck
{
    const ushort Untouched = 0xffff;

    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        on.Load(job.Source);
        foreach (var (rows, columns) in new[] { (129, 264), (1, 8), (7, 1000), (8, 1024), (65, 3584), (4097, 2304) })
            foreach (var labels in new[] { 0, 1, rows / 2, rows }.Distinct())
                for (var pitched = 0; pitched < 2; pitched++)
                {
                    var what = $"{job.Name}: {labels} of {rows} rows of {columns}, pitch {(pitched == 0 ? "the same" : "wider")}";
                    var random = new Random(rows + labels);
                    var chosen = Enumerable.Range(0, rows).OrderBy(_ => random.Next()).Take(labels).Order().ToArray();
                    if (job.Name == LabelRows.Gather) Gather(on, what, random, rows, columns, columns + 8 * pitched, chosen);
                    else
                    {
                        Scatter(on, what, random, rows, columns, columns + 8 * pitched, chosen, gradient: true);
                        Scatter(on, what + ", losses alone", random, rows, columns, columns + 8 * pitched, chosen, gradient: false);
                    }
                }
        return new Seen(0, 0);
    }

    static void Gather(CudaDeviceOfTarget on, string what, Random random, int rows, int columns, int pitch, int[] chosen)
    {
        var device = on.Device;
        int toPitch = pitch + 16;
        var (x, labels) = (Bits(random, rows * pitch), Enumerable.Range(0, rows).Select(_ => random.Next(1000)).ToArray());
        nint xAt = device.Upload<ushort>(x), labelsAt = device.Upload<int>(labels), tokensAt = device.Upload<int>([.. chosen, .. Enumerable.Repeat(-1, rows - chosen.Length)]);
        nint toAt = Filled(on, 2L * rows * toPitch), toLabelsAt = Filled(on, 4L * rows);
        Launch(on, LabelRows.Gather, rows, new(toAt, toPitch), new(toLabelsAt, 0), new(xAt, pitch), new(labelsAt, 0), new(tokensAt, columns));
        var (got, gotLabels) = (device.Download<ushort>(toAt, rows * toPitch), device.Download<int>(toLabelsAt, rows));
        for (var i = 0; i < rows; i++)
        {
            var token = i < chosen.Length ? chosen[i] : -1;
            Checking.Require(gotLabels[i] == (token < 0 ? -1 : labels[token]), $"{what}: label {i} is {gotLabels[i]}");
            for (var c = 0; c < toPitch; c++)
                Checking.Require(got[i * toPitch + c] == (token >= 0 && c < columns ? x[token * pitch + c] : Untouched),
                    $"{what}: element {c} of row {i} is {got[i * toPitch + c]:x4}");
        }
        foreach (var address in new[] { xAt, labelsAt, tokensAt, toAt, toLabelsAt }) device.Free(address);
    }

    static void Scatter(CudaDeviceOfTarget on, string what, Random random, int rows, int columns, int pitch, int[] chosen, bool gradient)
    {
        var device = on.Device;
        int toPitch = pitch + 16;
        var (dx, losses) = (Bits(random, rows * pitch), Checking.Random(random, rows));
        var places = Enumerable.Repeat(-1, rows).ToArray();
        for (var i = 0; i < chosen.Length; i++) places[chosen[i]] = i;
        nint dxAt = device.Upload<ushort>(dx), lossesAt = device.Upload<float>(losses), placesAt = device.Upload<int>(places);
        nint toAt = Filled(on, 2L * rows * toPitch), lossAt = Filled(on, 4L * rows);
        Launch(on, LabelRows.Scatter, rows, new(gradient ? toAt : 0, toPitch), new(lossAt, 0), new(dxAt, pitch), new(lossesAt, 0), new(placesAt, columns));
        var (got, gotLoss) = (device.Download<ushort>(toAt, rows * toPitch), device.Download<float>(lossAt, rows));
        for (var t = 0; t < rows; t++)
        {
            Checking.Require(gotLoss[t] == (places[t] < 0 ? 0 : losses[places[t]]), $"{what}: loss {t} is {gotLoss[t]}");
            for (var c = 0; c < toPitch; c++)
                Checking.Require(got[t * toPitch + c] == (!gradient || c >= columns ? Untouched : places[t] < 0 ? 0 : dx[places[t] * pitch + c]),
                    $"{what}: element {c} of row {t} is {got[t * toPitch + c]:x4}");
        }
        foreach (var address in new[] { dxAt, lossesAt, placesAt, toAt, lossAt }) device.Free(address);
    }

    static void Launch(CudaDeviceOfTarget on, string kernel, int rows, params BoundArgument[] arguments)
    {
        using var program = on.Device.Prepare([new BoundKernel(kernel, 0, 0, 0, kernel, arguments, rows)]);
        program.Run();
    }

    // Every pattern of bits but that of untouched memory: nothing may be computed on the way.
    static ushort[] Bits(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => (ushort)random.Next(Untouched))];

    static nint Filled(CudaDeviceOfTarget on, long bytes)
    {
        var address = on.Device.Allocate(bytes);
        on.Device.Fill(address, 0xff, bytes);
        return address;
    }
}
