using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Graph.Runtime;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// A case in device memory.
/// Every byte that is not an input's value is 0xff (NaN, or -1): gaps between rows, columns beside a view, up to 130 rows behind the last one, and outputs.
/// A kernel that reads them gives NaN; one that writes where it should not is seen.
/// </summary>
sealed class DeviceCase : IDisposable
{
    readonly IDevice device;
    readonly KernelCase test;
    readonly List<nint> allocated = [];
    readonly nint[] buffers;
    readonly IProgram program;

    internal DeviceCase(CudaDeviceOfTarget on, KernelCase test, KernelJob job)
    {
        (device, this.test) = (on.Device, test);
        on.Load(job.Source with { Info = job.Source.Info with { GridY = test.GridY } });
        buffers = [.. test.Arguments.Select(a => Allocate(BytesOf(a)))];
        var launches = new List<BoundLaunch>();
        for (var i = 0; i < buffers.Length; i++)
        {
            var a = test.Arguments[i];
            device.Fill(buffers[i], 0xff, BytesOf(a));
            if (a.Read) Upload(a, buffers[i]);
            if (!a.Output) continue;
            // Each run starts from the same bytes.
            var bytes = BytesOf(a);
            if (!a.InPlace)
            {
                launches.Add(new BoundFill(a.Name, buffers[i], 0xff, bytes));
                continue;
            }
            var pristine = Allocate(bytes);
            device.Fill(pristine, 0xff, bytes);
            Upload(a, pristine);
            launches.Add(new BoundCopy(a.Name, buffers[i], pristine, bytes));
        }
        launches.AddRange(job.Kind == KernelKind.AttentionDqFromDs ? ScoreGradientsCase.Launches(on, job, test, Bound(), Allocate) : [Bound()]);
        program = device.Prepare(launches);
    }

    /// <summary>Runs once from poisoned outputs; the bytes of every output's whole buffer.</summary>
    internal byte[][] Run()
    {
        program.Run();
        return [.. test.Arguments.Select((a, i) => (a, i)).Where(p => p.a.Output).Select(p =>
        {
            var bytes = GC.AllocateUninitializedArray<byte>(checked((int)BytesOf(p.a)));
            device.Download(bytes, buffers[p.i]);
            return bytes;
        })];
    }

    /// <summary>The outputs' values in the reference's units.</summary>
    /// <exception cref="CheckException">Something beside an output's view was written.</exception>
    internal float[][] Values(byte[][] bytes) => [.. test.Outputs.Select((a, i) => Values(a, bytes[i]))];

    public void Dispose()
    {
        program.Dispose();
        foreach (var address in allocated) device.Free(address);
    }

    BoundKernel Bound() => new(test.Kernel, 0, 0,
        0, test.Kernel, [.. test.Arguments.Select((a, i) => new BoundArgument(buffers[i] + a.Column * SizeOf(a), a.Pitched ? a.Pitch : 0))], test.Rows);

    static float[] Values(CaseArgument a, byte[] bytes)
    {
        var values = new float[a.Count];
        int size = SizeOf(a), before = a.Column * size, width = a.Columns * size;
        var pitch = a.Pitch * size;
        var wrong = -1;
        Parallel.For(0, a.Rows, row =>
        {
            var line = bytes.AsSpan(row * pitch, pitch);
            if (line[..before].ContainsAnyExcept((byte)0xff) || line[(before + width)..].ContainsAnyExcept((byte)0xff)) wrong = row;
            for (var c = 0; c < a.Columns; c++)
                values[row * a.Columns + c] = a.Type == ElementType.Act
                    ? Checking.FromElem(MemoryMarshal.Read<ushort>(line[(before + 2 * c)..]), Elem.Act)
                    : MemoryMarshal.Read<float>(line[(before + 4 * c)..]) / a.DeviceScale;
        });
        Checking.Require(wrong < 0, $"row {wrong} of {a.Name} was written outside its {a.Columns} columns");
        Checking.Require(!bytes.AsSpan(a.Rows * pitch).ContainsAnyExcept((byte)0xff), $"{a.Name} was written behind its {a.Rows} rows");
        return values;
    }

    void Upload(CaseArgument a, nint buffer)
    {
        int size = SizeOf(a), width = a.Columns * size;
        byte[] bytes;
        if (a.Type == ElementType.I32) bytes = MemoryMarshal.AsBytes(a.Ints.AsSpan()).ToArray();
        else if (a.Type == ElementType.F32) bytes = MemoryMarshal.AsBytes<float>(a.Values.Select(v => v * a.DeviceScale).ToArray()).ToArray();
        else
        {
            bytes = GC.AllocateUninitializedArray<byte>(a.Count * size);
            Parallel.For(0, a.Rows, row =>
            {
                var line = MemoryMarshal.Cast<byte, ushort>(bytes.AsSpan(row * width, width));
                for (var c = 0; c < a.Columns; c++) line[c] = Checking.ToElem(a.Values[row * a.Columns + c], Elem.Act);
            });
        }
        device.Upload2D(buffer + a.Column * size, (long)a.Pitch * size, bytes, width, a.Rows);
    }

    nint Allocate(long bytes)
    {
        var address = device.Allocate(bytes);
        allocated.Add(address);
        return address;
    }

    static int SizeOf(CaseArgument a) => a.Type == ElementType.Act ? 2 : 4;

    static long BytesOf(CaseArgument a) => (long)(a.Rows + (a.PerToken || a.Rows > 1 ? Math.Clamp(2_000_000 / a.Pitch, 1, 130) : 0)) * a.Pitch * SizeOf(a);
}
