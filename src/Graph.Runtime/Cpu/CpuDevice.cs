using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cpu;

/// <summary>
/// The host as a device: fp32, the same bound launches as on a GPU. Row kernels run in pieces of 64 rows on all cores; results do not depend on how many there are.
/// </summary>
/// <param name="poison">Fill new memory with NaN, so that a read before a write shows (tests).</param>
public sealed unsafe class CpuDevice(bool poison = false) : IDevice
{
    const int PieceRows = 64;

    readonly Dictionary<nint, long> allocations = [];
    Dictionary<string, CpuKernelEntry> kernels = Own().ToDictionary();

    public DeviceInfo Info { get; } = new("CPU", "cpu", GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, 1, "");
    public ActType Act => ActType.F32;
    public long AllocatedBytes { get; private set; }
    public long PeakBytes { get; private set; }
    public long FreeBytes => Math.Max(0, Info.TotalBytes - AllocatedBytes);

    public nint Allocate(long bytes)
    {
        if (bytes > FreeBytes)
            throw new DeviceMemoryException($"cpu: {bytes} bytes do not fit in the {FreeBytes} bytes of memory that are free; use fewer tokens or recompute more.");
        nint address;
        try
        {
            address = (nint)NativeMemory.AlignedAlloc((nuint)bytes, 512);
        }
        catch (OutOfMemoryException)
        {
            throw new DeviceMemoryException($"cpu: the system gives no {bytes} bytes, although {FreeBytes} count as free; use fewer tokens or recompute more.");
        }
        allocations[address] = bytes;
        AllocatedBytes += bytes;
        PeakBytes = Math.Max(PeakBytes, AllocatedBytes);
        if (poison) Fill(address, 0xFF, bytes);
        return address;
    }

    public void Free(nint address)
    {
        if (!allocations.Remove(address, out var bytes)) throw new DeviceException($"cpu: address {address} was not allocated here or was freed before.");
        AllocatedBytes -= bytes;
        NativeMemory.AlignedFree((void*)address);
    }

    public void Upload(nint destination, ReadOnlySpan<byte> source) => source.CopyTo(new Span<byte>((void*)destination, source.Length));

    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows)
    {
        for (var row = 0; row < rows; row++) source.Slice((int)(row * widthBytes), (int)widthBytes)
            .CopyTo(new Span<byte>((void*)(destination + (nint)(row * pitchBytes)), (int)widthBytes));
    }

    public void Download(Span<byte> destination, nint source) => new ReadOnlySpan<byte>((void*)source, destination.Length).CopyTo(destination);
    public void Fill(nint destination, byte value, long bytes) => NativeMemory.Fill((void*)destination, (nuint)bytes, value);

    public void Synchronize()
    {
        // Every launch has ended when Run returns.
    }

    public void Load(CompiledModel model) => Load(model.CpuKernels());

    /// <summary>Kernels by name, beside those that no graph names.</summary>
    public void Load(IReadOnlyDictionary<string, CpuKernelEntry> emitted) => kernels = Own().Concat(emitted).ToDictionary();

    static IEnumerable<KeyValuePair<string, CpuKernelEntry>> Own() => CpuAdamW.Kernels().Concat(CpuLabelRows.Kernels()).Concat(CpuNf4.Kernels()).Concat(CpuDropout.Kernels());

    /// <exception cref="DeviceException">A launch names a kernel that was not loaded.</exception>
    public IProgram Prepare(IReadOnlyList<BoundLaunch> launches) => new Program(launches.Select(l => (Action)(l switch
    {
        BoundGemm g => () => Multiply(g),
        BoundRankGradients r => () =>
        {
            Multiply(r.G);
            Multiply(r.GradB);
        },
        BoundGemmEpilogue f => Multiplied(f),
        BoundKernel k => Kernel(k),
        BoundFill f => () => Fill(f.Address, f.Value, f.Count),
        BoundZeros z => () => Zero(z),
        BoundCopy c => () => Buffer.MemoryCopy((void*)c.Source, (void*)c.Destination, c.Count, c.Count),
        BoundTransferStart t => () => Buffer.MemoryCopy((void*)t.Source, (void*)t.Destination, t.Count, t.Count),
        // The copy ended at its start.
        BoundTransferWait => () => { },
        _ => throw new DeviceException($"cpu: launches of type {l.GetType().Name} are unknown."),
    })).ToArray());

    Action Multiplied(BoundGemmEpilogue f)
    {
        var kernel = Kernel(f.Kernel);
        return () =>
        {
            Multiply(f.Gemm);
            kernel();
        };
    }

    static void Multiply(BoundGemm g)
    {
        foreach (var part in g.Apart())
        {
            var s = part.Operands;
            CpuGemm.Run(g.Layout, (float*)g.D, g.DPitch, (float*)s.A, s.APitch, (float*)s.B, s.BPitch, RowsOf(g), g.N, s.K, g.Alpha, part.Accumulate, g.Unit);
        }
    }

    void Zero(BoundZeros z)
    {
        for (var row = 0; row < z.Rows; row++) Fill(z.Address + (nint)(row * z.Pitch), 0, z.Width);
    }

    static int RowsOf(BoundGemm g) => g.Limit is { } limit ? Math.Clamp(*(int*)limit.Count - limit.First, 0, g.M) : g.M;

    Action Kernel(BoundKernel k)
    {
        if (!kernels.TryGetValue(k.Kernel, out var entry)) throw new DeviceException($"cpu: kernel {k.Kernel} is not loaded; load the model the schedule came from.");
        var views = k.Arguments.Select(a => new CpuView(a.Address, a.Pitch)).ToArray();
        if (!entry.SplitRows) return () => entry.Run(views, k.Rows);
        var steps = k.Arguments.Select(a => a.RowBytes).ToArray();
        return () => Parallel.For(0, (k.Rows + PieceRows - 1) / PieceRows, piece =>
        {
            var first = piece * PieceRows;
            var moved = new CpuView[views.Length];
            for (var i = 0; i < views.Length; i++) moved[i] = new CpuView((nint)views[i].Floats + (nint)((long)first * steps[i]), views[i].Pitch);
            entry.Run(moved, Math.Min(PieceRows, k.Rows - first));
        });
    }

    public bool RunsAhead => false;

    public IHostBuffer AllocateHost(long bytes)
    {
        try
        {
            var buffer = new HostBuffer(bytes);
            if (poison) Fill(buffer.Address, 0xFF, bytes);
            return buffer;
        }
        catch (OutOfMemoryException)
        {
            throw new DeviceMemoryException($"cpu: {bytes} bytes of host memory do not fit; offload less.");
        }
    }

    public IMarker CreateMarker() => new Here();

    public void Dispose()
    {
        foreach (var address in allocations.Keys.ToArray()) Free(address);
    }

    sealed class Program(Action[] launches) : IProgram
    {
        public void Run()
        {
            foreach (var launch in launches) launch();
        }

        public IReadOnlyList<double> Time() => launches.Select(launch =>
        {
            var start = Stopwatch.GetTimestamp();
            launch();
            return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }).ToArray();

        public double Span() => Time().Sum();

        public void Dispose()
        {
        }
    }

    sealed class HostBuffer(long bytes) : IHostBuffer
    {
        public nint Address { get; } = (nint)NativeMemory.AlignedAlloc((nuint)bytes, 512);

        public void Dispose() => NativeMemory.AlignedFree((void*)Address);
    }

    /// <summary>Every launch has ended when Run returns, so there is nothing to wait for.</summary>
    sealed class Here : IMarker
    {
        public void Set()
        {
        }

        public void Wait()
        {
        }

        public void Dispose()
        {
        }
    }
}
