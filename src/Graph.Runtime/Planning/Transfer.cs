using System;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// A copy of a tensor between the arena and page-locked host memory begins when all launches before this entry have ended, on a stream of its own. The arena's side is
/// taken from here to the wait of the same
/// number. Planning inserts it; a compiled schedule has none.
/// </summary>
/// <param name="Number">Of the copy, in the order in which copies start.</param>
public sealed record TransferStart(int Number, int Layer, Lane Lane, string Tensor) : Launch(-1, Layer);

/// <summary>Launches behind this entry begin when the copy has ended.</summary>
public sealed record TransferWait(TransferStart Start) : Launch(-1, Start.Layer);

/// <summary>
/// How fast a device computes and copies, against its memory: what decides how far before its wait a copy starts. A guess that is wrong costs time or memory, never a bit.
/// </summary>
/// <param name="LinkSlowness">Bytes that the device's memory moves while a copy to or from the host moves one: 75 on an H200 (4.1 TB/s, 55 GB/s), 25 on a T4, 40 on a
/// 4090, 80 on an A100.</param>
/// <param name="FlopsPerByte">Operations of a product while memory moves one byte: 170 on an H200, 160 to 220 elsewhere.</param>
/// <param name="LaunchBytes">What a launch costs beside its floor: 2.5 μs of 4 TB/s.</param>
/// <param name="Landing">Copies of a direction that are on the way take at most so many times the largest one of both in the arena.</param>
public sealed record TransferPace(double LinkSlowness = 100, double FlopsPerByte = 170, double LaunchBytes = 10_000_000, double Landing = TransferPace.TripleBuffered)
{
    /// <summary>While one is read, the next one is there and the one behind it arrives: of two, a small one that comes between large ones keeps the bus waiting.</summary>
    public const double TripleBuffered = 3;

    /// <summary>Times are milliseconds of this device in place of such bytes; null: the figures above.</summary>
    public DeviceProfile? Device { get; init; }

    public static TransferPace Of(DeviceProfile device) => new() { Device = device };

    /// <summary>Time of a launch's floor, in bytes that memory moves meanwhile.</summary>
    public double Of(LaunchCost floor) => Math.Max(floor.Flops / FlopsPerByte, floor.Bytes) + LaunchBytes;

    /// <summary>Time of a copy, in the same unit, or in milliseconds of the device.</summary>
    public double OfCopy(Lane lane, long bytes) => Device?.CopyMilliseconds(lane, bytes) ?? bytes * LinkSlowness;
}

/// <summary>
/// Where an activation is not needed: between its last use in the forward and its first in the backward.
/// </summary>
/// <param name="Written">Last launch that writes it in the forward.</param>
/// <param name="LastUse">Last launch of the forward that reads or writes it.</param>
/// <param name="FirstUse">First launch of the backward that does, recipes included.</param>
/// <param name="Time">Device time from the end of the write to the start of that first use, in bytes that memory moves meanwhile, or in milliseconds.</param>
/// <param name="RoundTrip">Time of its copies to the host and back, in the same unit. Longer than <paramref name="Time"/>: the device would wait for it.</param>
public sealed record Absence(string Tensor, int Written, int LastUse, int FirstUse, double Time, double RoundTrip);
