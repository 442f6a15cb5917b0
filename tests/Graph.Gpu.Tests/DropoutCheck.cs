using System;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;

namespace Graph.Gpu.Tests;

/// <summary>
/// An adapter's dropout has the masks of its C# twin:
/// probabilities from 0 to nearly 1, columns that fill a warp's loads and that do not, pitches wider than the columns, micro-batches of more than 32 bits.
/// A kept element is its product (and sum) rounded once; what is dropped, and gaps between rows, keep their bits.
/// </summary>
static class DropoutCheck
{
    const ushort Untouched = 0xffff;

    // Numbers below 2^-14 are 2^-24 apart in fp16; bf16's smallest are of no size here.
    static double HalfStep => Elem.Act == ActType.F16 ? 1.0 / (1 << 25) : 0;

    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        on.Load(job.Source);
        var worst = new Seen();
        foreach (var (rows, columns, probability, microBatch) in new[] { (1, 8, 0.5, 0L), (9, 264, 0.1, 3L), (65, 3584, 0.05, 1L << 33), (17, 1000, 0.0, 7L),
            (33, 256, 0.999, 1L << 40 | 5), (4097, 2304, 0.3, 2L) })
            for (var gap = 0; gap <= 8; gap += 8)
            {
                var seen = Compare(on.Device, job, rows, columns, columns + gap, new DropoutOptions(probability, 1234567 + rows), microBatch);
                if (seen.OfAllowed > worst.OfAllowed) worst = seen;
            }
        return worst;
    }

    static Seen Compare(CudaDevice device, KernelJob job, int rows, int columns, int pitch, DropoutOptions dropout, long microBatch)
    {
        var add = job.Name == AdapterDropout.AddKernel;
        var (before, from) = (RandomValues.Uniform(rows * pitch, 11, -1, 1, true), RandomValues.Uniform(rows * pitch, 12, -2, 2, true));
        DroppedAdapter[] table =
        [
            new() { Adapter = 0xfffffff5, Threshold = (uint)Math.Round(dropout.Probability * 4294967296.0), Scale = (float)(1 / (1 - dropout.Probability)), Columns = columns },
        ];
        var key = AdapterDropout.KeyOf(dropout.Seed, microBatch);

        // Ones in, so that the twin says by which factor an element counts.
        using var cpu = new CpuDevice();
        nint ones = cpu.Allocate(4L * rows * pitch), factorsAt = cpu.Allocate(4L * rows * pitch), cpuTable = cpu.Allocate(16), cpuKey = cpu.Allocate(16);
        cpu.Upload(ones, MemoryMarshal.AsBytes(Enumerable.Repeat(1f, rows * pitch).ToArray().AsSpan()));
        cpu.Upload(cpuTable, MemoryMarshal.AsBytes<DroppedAdapter>(table));
        cpu.Upload(cpuKey, MemoryMarshal.AsBytes<int>(key));
        cpu.Prepare([new BoundKernel("twin", 0, 0, 0, AdapterDropout.Kernel, [new(factorsAt, pitch), new(ones, pitch), new(cpuTable, 0), new(cpuKey, 0)], rows)]).Run();
        var factors = new float[rows * pitch];
        cpu.Download(MemoryMarshal.AsBytes(factors.AsSpan()), factorsAt);

        ushort[] Bits(float[] values) => [.. values.Select((v, i) => i % pitch < columns ? Checking.ToElem(v, Elem.Act) : Untouched)];
        var start = add ? Bits(before) : [.. Enumerable.Repeat(Untouched, rows * pitch)];
        nint to = device.Upload<ushort>(start), source = device.Upload<ushort>(Bits(from)), tableAt = device.Upload<DroppedAdapter>(table), keyAt = device.Upload<int>(key);
        using var program = device.Prepare([new BoundKernel(job.Name, 0, 0, 0, job.Name, [new(to, pitch), new(source, pitch), new(tableAt, 0), new(keyAt, 0)], rows)]);
        program.Run();
        var got = device.Download<ushort>(to, rows * pitch);
        foreach (var address in new[] { to, source, tableAt, keyAt }) device.Free(address);

        double worst = 0, relative = 0;
        for (var i = 0; i < got.Length; i++)
        {
            var what = $"{job.Name}: p = {dropout.Probability}, {rows} rows of {columns}, pitch {pitch}: element {i % pitch} of row {i / pitch}";
            if (i % pitch >= columns || factors[i] == 0)
            {
                var kept = i % pitch >= columns ? Untouched : add ? start[i] : (ushort)0;
                Checking.Require(got[i] == kept, $"{what} is {got[i]:x4}, not {kept:x4}");
                continue;
            }
            // The sum may be fused with the product or not: an error of fp32 before the one rounding.
            double product = (double)from[i] * factors[i], exact = product + (add ? before[i] : 0);
            var error = Math.Abs(Checking.FromElem(got[i], Elem.Act) - exact);
            var share = error / (Elem.UnitRoundoff * Math.Abs(exact) + HalfStep + 2e-7 * Math.Abs(product));
            Checking.Require(error == 0 || share <= 1, $"{what} is {Checking.FromElem(got[i], Elem.Act)}, exactly {exact}");
            if (error > 0) (worst, relative) = (Math.Max(worst, share), Math.Max(relative, error / Math.Max(1e-30, Math.Abs(exact))));
        }
        return new Seen(relative, worst);
    }
}
