using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Tests;

/// <summary>When a copy between its start and its wait happens: hardware may do it at any time, and these are both ends.</summary>
public enum CopyTime { AtStart, AtWait }

/// <summary>
/// The CPU with a bus that is as early or as late as it may be, and with NaN wherever a plan must not look: in the destination from a copy's start until it happens, in
/// the device's source once a copy to the host has
/// been waited for. Whoever reads too early, writes into a copy's place or gives room away too soon changes bits.
/// </summary>
sealed unsafe class LateCopies(CpuDevice cpu, CopyTime toHost, CopyTime toDevice) : IDevice
{
    public DeviceInfo Info => cpu.Info;
    public ActType Act => cpu.Act;
    public long FreeBytes => cpu.FreeBytes;
    public long AllocatedBytes => cpu.AllocatedBytes;
    public long PeakBytes => cpu.PeakBytes;
    public bool RunsAhead => cpu.RunsAhead;

    /// <summary>Bytes that crossed the bus, in both directions.</summary>
    public long Copied { get; private set; }

    public nint Allocate(long bytes) => cpu.Allocate(bytes);
    public void Free(nint address) => cpu.Free(address);
    public void Upload(nint destination, ReadOnlySpan<byte> source) => cpu.Upload(destination, source);
    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows) =>
        cpu.Upload2D(destination, pitchBytes, source, widthBytes, rows);
    public void Download(Span<byte> destination, nint source) => cpu.Download(destination, source);
    public void Fill(nint destination, byte value, long bytes) => cpu.Fill(destination, value, bytes);
    public void Synchronize() => cpu.Synchronize();
    public void Load(CompiledModel model) => cpu.Load(model);
    public IHostBuffer AllocateHost(long bytes) => cpu.AllocateHost(bytes);
    public IMarker CreateMarker() => cpu.CreateMarker();
    public void Dispose() => cpu.Dispose();

    public IProgram Prepare(IReadOnlyList<BoundLaunch> launches)
    {
        var starts = launches.OfType<BoundTransferStart>().ToDictionary(s => s.Number);
        return new Program([.. launches.Select(launch => launch switch
        {
            BoundTransferStart start => (null, () => Start(start)),
            BoundTransferWait wait => (null, () => Wait(starts[wait.Number])),
            _ => ((IProgram?)cpu.Prepare([launch]), (Action?)null),
        })]);
    }

    void Start(BoundTransferStart copy)
    {
        if (At(copy) == CopyTime.AtStart) Copy(copy);
        else NativeMemory.Fill((void*)copy.Destination, (nuint)copy.Count, 0xFF);
    }

    void Wait(BoundTransferStart copy)
    {
        if (At(copy) == CopyTime.AtWait) Copy(copy);
        if (copy.Lane == Lane.ToHost) NativeMemory.Fill((void*)copy.Source, (nuint)copy.Count, 0xFF);
    }

    void Copy(BoundTransferStart copy)
    {
        Buffer.MemoryCopy((void*)copy.Source, (void*)copy.Destination, copy.Count, copy.Count);
        Copied += copy.Count;
    }

    CopyTime At(BoundTransferStart copy) => copy.Lane == Lane.ToHost ? toHost : toDevice;

    sealed class Program((IProgram? Of, Action? Copy)[] parts) : IProgram
    {
        public void Run()
        {
            foreach (var (of, copy) in parts)
            {
                of?.Run();
                copy?.Invoke();
            }
        }

        public IReadOnlyList<double> Time() => throw new NotSupportedException("a bus at its worst has no time");

        public double Span() => throw new NotSupportedException("a bus at its worst has no time");

        public void Dispose()
        {
            foreach (var (of, _) in parts) of?.Dispose();
        }
    }
}
