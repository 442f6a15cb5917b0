using System;
using System.Collections.Generic;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Tests;

/// <summary>
/// The CPU as a device that breaks: from its call number <paramref name="failsAt"/> on every call fails, as
/// those of a GPU do after an error that stays; what it gave and did not get back is counted.
/// </summary>
/// <param name="once">Only that one call fails.</param>
sealed class FaultyDevice(CpuDevice inner, int failsAt, bool once = false) : IDevice
{
    public int Calls { get; private set; }

    /// <summary>Programs, markers and host buffers that were not disposed.</summary>
    public int Living { get; private set; }

    void Call(string what)
    {
        var number = ++Calls;
        if (once ? number == failsAt : number >= failsAt) throw new DeviceException($"call {number}, {what}, failed");
    }

    T Called<T>(string what, Func<T> call)
    {
        Call(what);
        return call();
    }

    public DeviceInfo Info => inner.Info;
    public ActType Act => inner.Act;
    public long FreeBytes => Called("asking for free memory", () => inner.FreeBytes);
    public long AllocatedBytes => inner.AllocatedBytes;
    public long PeakBytes => inner.PeakBytes;
    public bool RunsAhead => true;
    public nint Allocate(long bytes) => Called("allocating", () => inner.Allocate(bytes));

    // What a broken device does not free is gone with its context.
    public void Free(nint address)
    {
        inner.Free(address);
        Call("freeing");
    }

    public void Upload(nint destination, ReadOnlySpan<byte> source)
    {
        Call("uploading");
        inner.Upload(destination, source);
    }

    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows)
    {
        Call("uploading rows");
        inner.Upload2D(destination, pitchBytes, source, widthBytes, rows);
    }

    public void Download(Span<byte> destination, nint source)
    {
        Call("downloading");
        inner.Download(destination, source);
    }

    public void Fill(nint destination, byte value, long bytes)
    {
        Call("filling");
        inner.Fill(destination, value, bytes);
    }

    public void Synchronize() => Call("synchronizing");
    public void Load(CompiledModel model) => inner.Load(model);

    public IProgram Prepare(IReadOnlyList<BoundLaunch> launches)
    {
        Call("preparing");
        Living++;
        return new Program(this, inner.Prepare(launches));
    }

    public IHostBuffer AllocateHost(long bytes)
    {
        Call("allocating host memory");
        Living++;
        return new Host(this, inner.AllocateHost(bytes));
    }

    public IMarker CreateMarker()
    {
        Call("creating a marker");
        Living++;
        return new Marker(this, inner.CreateMarker());
    }

    public void Dispose() => inner.Dispose();

    sealed class Program(FaultyDevice device, IProgram program) : IProgram
    {
        public void Run()
        {
            device.Call("running");
            program.Run();
        }

        public IReadOnlyList<double> Time() => device.Called("timing", program.Time);
        public double Span() => device.Called("timing", program.Span);

        public void Dispose()
        {
            device.Living--;
            program.Dispose();
        }
    }

    sealed class Host(FaultyDevice device, IHostBuffer buffer) : IHostBuffer
    {
        public nint Address => buffer.Address;

        public void Dispose()
        {
            device.Living--;
            buffer.Dispose();
        }
    }

    sealed class Marker(FaultyDevice device, IMarker marker) : IMarker
    {
        public void Set()
        {
            device.Call("setting a marker");
            marker.Set();
        }

        public void Wait()
        {
            device.Call("waiting");
            marker.Wait();
        }

        public void Dispose()
        {
            device.Living--;
            marker.Dispose();
        }
    }
}
