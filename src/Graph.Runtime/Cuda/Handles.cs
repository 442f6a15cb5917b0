using System;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Graph.Runtime.Devices;
using Microsoft.Win32.SafeHandles;

namespace Graph.Runtime.Cuda;

// A release runs on whichever thread drops the last reference, so it must not throw and must not depend on the thread's current context:
// all objects here live in the primary context, which CudaDevice keeps until after them.

/// <summary>A CUDA stream.</summary>
internal sealed class CudaStream : SafeHandleZeroOrMinusOneIsInvalid
{
    public CudaStream() : base(true) { }

    internal static CudaStream Create()
    {
        // Non-blocking: the legacy stream of another library in the process must not order itself between our launches.
        Driver.Check(Driver.StreamCreate(out var raw, Driver.StreamNonBlocking), "cuStreamCreate");
        var stream = new CudaStream();
        stream.SetHandle(raw);
        return stream;
    }

    protected override bool ReleaseHandle() => Driver.StreamDestroy(handle) == 0;
}

/// <summary>A CUDA event.</summary>
internal sealed class CudaEvent : SafeHandleZeroOrMinusOneIsInvalid
{
    public CudaEvent() : base(true) { }

    internal static CudaEvent Create(bool timing = true)
    {
        Driver.Check(Driver.EventCreate(out var raw, timing ? Driver.EventDefault : Driver.EventDisableTiming), "cuEventCreate");
        var created = new CudaEvent();
        created.SetHandle(raw);
        return created;
    }

    protected override bool ReleaseHandle() => Driver.EventDestroy(handle) == 0;
}

/// <summary>An event on the device's stream.</summary>
internal sealed class CudaMarker(CudaDevice device, CudaStream stream) : IMarker
{
    readonly CudaEvent point = CudaEvent.Create();

    public void Set()
    {
        device.MakeCurrent();
        Driver.Check(Driver.EventRecord(point, stream), "cuEventRecord");
    }

    public void Wait()
    {
        device.MakeCurrent();
        Driver.Check(Driver.EventSynchronize(point), "waiting for the GPU");
    }

    public void Dispose() => point.Dispose();
}

/// <summary>A loaded module: the functions of one compiled text.</summary>
internal sealed class CudaModule : SafeHandleZeroOrMinusOneIsInvalid
{
    public CudaModule() : base(true) { }

    /// <param name="image">A cubin, or PTX with or without its closing zero byte.</param>
    internal static unsafe CudaModule Load(CompiledKernel image)
    {
        // The driver reads PTX up to a zero byte.
        byte[] bytes = image.Kind == ImageKind.Ptx ? [.. image.Image, 0] : image.Image;
        nint raw;
        fixed (byte* pointer = bytes) Driver.Check(Driver.ModuleLoadData(out raw, pointer, 0, null, null), $"cuModuleLoadDataEx of {image.Architecture} code");
        var module = new CudaModule();
        module.SetHandle(raw);
        return module;
    }

    protected override bool ReleaseHandle() => Driver.ModuleUnload(handle) == 0;
}

/// <summary>An instantiated CUDA graph.</summary>
internal sealed class CudaGraph : SafeHandleZeroOrMinusOneIsInvalid
{
    public CudaGraph() : base(true) { }

    /// <summary>Captures what <paramref name="launch"/> puts on the stream; nothing of it runs.</summary>
    internal static CudaGraph Capture(CudaStream stream, Action launch)
    {
        Driver.Check(Driver.StreamBeginCapture(stream, Driver.CaptureRelaxed), "cuStreamBeginCapture");
        nint graph = 0;
        try
        {
            launch();
        }
        catch
        {
            // The stream must leave capture mode, or every later call on it fails with this error's echo.
            if (Driver.StreamEndCapture(stream, out graph) == 0 && graph != 0) Driver.GraphDestroy(graph);
            throw;
        }
        Driver.Check(Driver.StreamEndCapture(stream, out graph), "cuStreamEndCapture");
        try
        {
            Driver.Check(Driver.GraphInstantiate(out var raw, graph, 0), "cuGraphInstantiate");
            var executable = new CudaGraph();
            executable.SetHandle(raw);
            return executable;
        }
        finally
        {
            Driver.GraphDestroy(graph);
        }
    }

    protected override bool ReleaseHandle() => Driver.GraphExecDestroy(handle) == 0;
}

/// <summary>
/// Page-locked host memory: copies to and from it run at the bus's speed beside other work, and kernels reach it by the same address.
/// Of much, all cores touch the pages first, huge ones where the system has them: the driver by itself fills them on one core, at about 2 GB/s on the machine with the H200.
/// </summary>
internal sealed unsafe partial class PinnedBuffer : SafeHandleZeroOrMinusOneIsInvalid, IHostBuffer
{
    public PinnedBuffer() : base(true) { }

    const long ParallelFrom = 64L << 20, HugePage = 2L << 20, SmallPage = 4096;
    const int HugePages = 14; // MADV_HUGEPAGE

    internal long Bytes { get; private init; }

    // Our own pages, which the driver has locked; else they are the driver's.
    bool registered;

    public nint Address => handle;

    internal static PinnedBuffer Allocate(long bytes)
    {
        var buffer = new PinnedBuffer { Bytes = bytes, registered = bytes >= ParallelFrom && OperatingSystem.IsLinux() };
        nint raw = 0;
        try
        {
            if (buffer.registered) raw = Touched(bytes);
        }
        catch (OutOfMemoryException)
        {
            throw TooMuch(bytes);
        }
        var result = buffer.registered ? Driver.MemHostRegister(raw, (nuint)bytes, Driver.HostRegisterPortable | Driver.HostRegisterMapped)
            : Driver.MemHostAlloc(out raw, (nuint)bytes, Driver.HostAllocPortable);
        if (result != 0 && buffer.registered) NativeMemory.AlignedFree((void*)raw);
        if (result == Driver.OutOfMemory) throw TooMuch(bytes);
        Driver.Check(result, $"page-locking {bytes} bytes of host memory");
        buffer.SetHandle(raw);
        return buffer;
    }

    static DeviceMemoryException TooMuch(long bytes) =>
        new($"cuda: {bytes} bytes of host memory cannot be page-locked; give less with --host-memory, or free the machine of other programs");

    static nint Touched(long bytes)
    {
        var pages = (nint)NativeMemory.AlignedAlloc((nuint)bytes, (nuint)HugePage);
        // Where the system has no huge pages the advice fails, and small ones do.
        _ = Advise(pages, (nuint)bytes, HugePages);
        Parallel.For(0L, (bytes + HugePage - 1) / HugePage, page =>
        {
            for (var at = page * HugePage; at < Math.Min(bytes, (page + 1) * HugePage); at += SmallPage) ((byte*)pages)[at] = 0;
        });
        return pages;
    }

    protected override bool ReleaseHandle()
    {
        if (!registered) return Driver.MemFreeHost(handle) == 0;
        var result = Driver.MemHostUnregister(handle);
        NativeMemory.AlignedFree((void*)handle);
        return result == 0;
    }

    [LibraryImport("libc", EntryPoint = "madvise")] private static partial int Advise(nint address, nuint bytes, int advice);
}
