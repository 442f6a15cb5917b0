using System;
using System.Collections.Generic;
using Graph.Runtime;
using Graph.Runtime.Devices;

namespace Graph.Finetune.Tests.Training;

/// <summary>The CPU, said to run beside the host as a GPU does: then the loop starts a step before it has the result of the one before.</summary>
/// <param name="runs">Programs that run before the device fails for good, as a GPU does.</param>
sealed class AheadDevice(IDevice device, int runs = int.MaxValue) : IDevice
{
    int left = runs;

    void Require()
    {
        if (left <= 0) throw new DeviceException("the device failed");
    }

    public bool RunsAhead => true;
    public DeviceInfo Info => device.Info;
    public ActType Act => device.Act;
    public long FreeBytes => device.FreeBytes;
    public long AllocatedBytes => device.AllocatedBytes;
    public long PeakBytes => device.PeakBytes;
    public nint Allocate(long bytes) => device.Allocate(bytes);

    public void Free(nint address)
    {
        device.Free(address);
        Require();
    }

    public void Upload(nint destination, ReadOnlySpan<byte> source) => device.Upload(destination, source);
    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows) =>
        device.Upload2D(destination, pitchBytes, source, widthBytes, rows);

    public void Download(Span<byte> destination, nint source)
    {
        Require();
        device.Download(destination, source);
    }

    public void Fill(nint destination, byte value, long bytes) => device.Fill(destination, value, bytes);
    public void Synchronize() => Require();
    public void Load(CompiledModel model) => device.Load(model);
    public IProgram Prepare(IReadOnlyList<BoundLaunch> launches) => new Program(this, device.Prepare(launches));
    public IHostBuffer AllocateHost(long bytes) => device.AllocateHost(bytes);
    public IMarker CreateMarker() => device.CreateMarker();
    public void Dispose() => device.Dispose();

    sealed class Program(AheadDevice device, IProgram program) : IProgram
    {
        public void Run()
        {
            device.Require();
            device.left--;
            program.Run();
        }

        public IReadOnlyList<double> Time() => program.Time();
        public double Span() => program.Span();
        public void Dispose() => program.Dispose();
    }
}
