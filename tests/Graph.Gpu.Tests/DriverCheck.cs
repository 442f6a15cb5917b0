using System;
using System.Diagnostics;
using System.Linq;
using Graph.Runtime.Devices;

namespace Graph.Gpu.Tests;

/// <summary>
/// Memory: allocation and its count, copies of every path (small, larger than a staging buffer, pitched, rows wider than a buffer), fills, an allocation that cannot fit.
/// </summary>
static class DriverCheck
{
    internal static string Run()
    {
        using var device = Checking.Open();
        var before = device.AllocatedBytes;
        var random = new Random(1);

        foreach (var count in new[] { 1, 4097, (16 << 20) - 1, 16 << 20, (40 << 20) + 3 })
        {
            var bytes = new byte[count];
            random.NextBytes(bytes);
            var address = device.Upload<byte>(bytes);
            Checking.Require(device.AllocatedBytes == before + count, $"{device.AllocatedBytes} bytes are counted, expected {before + count}");
            Checking.Require(device.Download<byte>(address, count).AsSpan().SequenceEqual(bytes), $"{count} bytes did not come back as they were sent");
            device.Free(address);
        }

        Pitched(device, random, width: 1026, pitch: 1280, rows: 1000);
        Pitched(device, random, width: 7168, pitch: 7200, rows: 6000);
        Pitched(device, random, width: (16 << 20) + 6, pitch: (16 << 20) + 512, rows: 3);

        var filled = device.Allocate(1000);
        device.Fill(filled, 0xff, 1000);
        device.Fill(filled + 10, 7, 100);
        var seen = device.Download<byte>(filled, 1000);
        Checking.Require(seen.Take(10).Concat(seen.Skip(110)).All(b => b == 0xff) && seen.Skip(10).Take(100).All(b => b == 7), "a fill went beyond its bytes or missed some");
        device.Free(filled);

        var refused = false;
        try
        {
            device.Allocate(device.Info.TotalBytes * 2);
        }
        catch (DeviceMemoryException)
        {
            refused = true;
        }
        Checking.Require(refused, "twice the GPU's memory was given");
        Checking.Require(device.AllocatedBytes == before && device.PeakBytes >= before + (40 << 20), $"{device.AllocatedBytes} bytes are left over, peak {device.PeakBytes}");

        var large = new byte[1 << 30];
        random.NextBytes(large.AsSpan(0, 1 << 20));
        var target = device.Upload<byte>(large);
        device.Synchronize();
        var clock = Stopwatch.StartNew();
        device.Upload(target, large);
        device.Synchronize();
        return $"{device.Info.Name}, {device.Info.Driver}, upload {large.Length / clock.Elapsed.TotalSeconds / 1e9:F1} GB/s, {device.FreeBytes >> 20} MiB free";
    }

    static void Pitched(IDevice device, Random random, int width, int pitch, int rows)
    {
        var source = new byte[width * rows];
        random.NextBytes(source);
        var address = device.Allocate((long)pitch * rows);
        device.Fill(address, 0xee, (long)pitch * rows);
        device.Upload2D(address, pitch, source, width, rows);
        var seen = new byte[pitch * rows];
        device.Download(seen, address);
        for (var row = 0; row < rows; row++)
        {
            Checking.Require(seen.AsSpan(row * pitch, width).SequenceEqual(source.AsSpan(row * width, width)), $"row {row} of {rows} x {width}, pitch {pitch}, arrived changed");
            Checking.Require(!seen.AsSpan(row * pitch + width, pitch - width).ContainsAnyExcept((byte)0xee), $"the gap after row {row} was written");
        }
        device.Free(address);
    }
}
