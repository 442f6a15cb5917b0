using System;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// Elements of packed weights, bit for bit those of the CPU: all codes, absmax of 8 bits and in fp32, blocks whose absmax is 0,
/// stacks, parts that end inside a block or inside a vector of 8, and that begin where no vector can be stored. What lies behind the weight must stay.
/// </summary>
static class Nf4Check
{
    const ushort Untouched = 0xffff;
    const int Behind = 64;

    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        on.Load(job.Source);
        foreach (var (parts, rows, columns) in new[] { (1, 1, 64), (1, 1, 2), (3, 33, 64), (2, 127, 129), (3, 3, 7), (2, 65, 4095), (3, 2048, 3584), (1, 257, 8191) })
            foreach (var format in new[] { WeightFormat.Nf4, WeightFormat.Nf4Plain })
            {
                var what = $"{job.Name}: {format}, {parts} of {rows} x {columns}";
                var weight = Weight(parts, rows, columns);
                var layout = Nf4Layout.Create(weight, format);
                var block = RandomBlock(layout, new Random(rows + columns));
                var expected = OnCpu(layout, block, parts * rows * columns);
                var device = on.Device;
                nint packed = device.Upload<byte>(block), to = device.Allocate(2L * (expected.Length + Behind));
                for (var again = 0; again < 3; again++)
                {
                    device.Fill(to, 0xff, 2L * (expected.Length + Behind));
                    using var program = device.Prepare([new BoundKernel(job.Name, 0, 0, 0, job.Name, [new(to, 0), new(packed, parts)], layout.Chunks)]);
                    program.Run();
                    var got = device.Download<ushort>(to, expected.Length + Behind);
                    for (var i = 0; i < got.Length; i++)
                    {
                        var wanted = i < expected.Length ? Checking.ToElem(expected[i], device.Act) : Untouched;
                        Checking.Require(got[i] == wanted, $"{what}: element {i} is {got[i]:x4}, not {wanted:x4}");
                    }
                }
                device.Free(packed);
                device.Free(to);
            }
        return new Seen(0, 0);
    }

    /// <summary>gate and up of 9B: 103 million elements.</summary>
    internal static (BoundLaunch, string) Timed(CudaDevice device, KernelJob job, Func<long, nint> allocate)
    {
        const int rows = 14336, columns = 3584, parts = 2;
        var layout = Nf4Layout.Create(Weight(parts, rows, columns), WeightFormat.Nf4);
        nint to = allocate(2L * parts * rows * columns), packed = allocate(layout.Bytes);
        device.Upload(packed, MemoryMarshal.AsBytes<Nf4Part>(layout.Parts.ToArray()));
        return (new BoundKernel(job.Name, 0, 0, layout.Bytes + 2L * parts * rows * columns, job.Name, [new(to, 0), new(packed, parts)],
            layout.Chunks), $"{parts}x{rows}x{columns}");
    }

    static ScheduleTensor Weight(int parts, int rows, int columns) =>
        new("w", TensorKind.Weight, ElementType.Act, false, [parts * rows, columns], Parts: [.. Enumerable.Range(0, parts).Select(i => new WeightPart("w" + i, rows))]);

    // Random codes everywhere, so that every code and every entry of the map is met; numbers where fp32 belongs.
    static byte[] RandomBlock(Nf4Layout layout, Random random)
    {
        var block = new byte[layout.Bytes];
        random.NextBytes(block);
        var parts = layout.Parts.ToArray();
        for (var i = 0; i < parts.Length; i++)
        {
            var blocks = Nf4.Blocks(parts[i].Elements);
            var nested = parts[i].Nested >= 0;
            // Offset 0 and a nested absmax of 0: all of its blocks are zeros.
            parts[i].Offset = nested && i % 2 == 0 ? random.NextSingle() : 0;
            var stored = MemoryMarshal.Cast<byte, float>(block.AsSpan((int)(nested ? parts[i].Nested : parts[i].Absmax)))[..(int)(nested ? Nf4.NestedBlocks(blocks) : blocks)];
            for (var b = 0; b < stored.Length; b++) stored[b] = b % 5 == 1 ? 0 : MathF.ScaleB(random.NextSingle(), random.Next(-12, 4));
            if (nested) Nf4.DynamicMap.ToArray().CopyTo(MemoryMarshal.Cast<byte, float>(block.AsSpan((int)parts[i].Map)));
        }
        MemoryMarshal.AsBytes(parts.AsSpan()).CopyTo(block);
        return block;
    }

    static float[] OnCpu(Nf4Layout layout, byte[] block, int elements)
    {
        using var cpu = new CpuDevice(poison: true);
        nint packed = cpu.Allocate(block.Length), to = cpu.Allocate(4L * elements);
        cpu.Upload(packed, block);
        cpu.Prepare([new BoundKernel("w", 0, 0, 0, Nf4Layout.Kernel, [new(to, 0), new(packed, layout.Parts.Count)], layout.Chunks)]).Run();
        var values = new float[elements];
        cpu.Download(MemoryMarshal.AsBytes(values.AsSpan()), to);
        return values;
    }
}
