using System;
using System.Runtime.InteropServices;
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

/// <summary>Page-locked host memory: copies to and from it run at the bus's speed beside other work.</summary>
internal sealed class PinnedBuffer : SafeHandleZeroOrMinusOneIsInvalid, IHostBuffer
{
    public PinnedBuffer() : base(true) { }

    internal long Bytes { get; private init; }

    public nint Address => handle;

    internal static PinnedBuffer Allocate(long bytes)
    {
        var result = Driver.MemHostAlloc(out var raw, (nuint)bytes, Driver.HostAllocPortable);
        if (result == Driver.OutOfMemory)
            throw new DeviceMemoryException($"cuda: {bytes} bytes of host memory cannot be page-locked; give less with --host-memory, or free the machine of other programs");
        Driver.Check(result, $"cuMemHostAlloc of {bytes} bytes");
        var buffer = new PinnedBuffer { Bytes = bytes };
        buffer.SetHandle(raw);
        return buffer;
    }

    protected override bool ReleaseHandle() => Driver.MemFreeHost(handle) == 0;
}
