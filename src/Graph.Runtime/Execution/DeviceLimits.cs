using System;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Execution;

/// <summary>
/// What a device reaches at best in this run: a square product of activations, and a copy inside its memory (bytes
/// read and written) or, if that is faster, a fill. 10^12 operations and 10^9 bytes a second.
/// </summary>
public sealed record DeviceLimits(double Tflops, double Gbps)
{
    const int Repeats = 11, LargestExtent = 8192;
    const long LargestCopy = 1L << 30;

    /// <summary>The time that a launch needs at least, in milliseconds.</summary>
    public double Floor(BoundLaunch launch) => Math.Max(launch.Flops / Tflops / 1e9, launch.Bytes / Gbps / 1e6);

    /// <summary>Operations, not bytes, decide a launch's floor.</summary>
    public bool IsCompute(BoundLaunch launch) => launch.Flops / Tflops / 1e9 >= launch.Bytes / Gbps / 1e6;

    /// <param name="scratch">Device memory that is overwritten.</param>
    public static DeviceLimits Measure(IDevice device, nint scratch, long bytes)
    {
        var element = device.Act == ActType.F32 ? 4 : 2;
        // A CPU takes a second for 2,048; the GPU needs 8,192 to fill its multiprocessors evenly.
        var extent = Math.Min(device.RunsAhead ? LargestExtent : 512, (int)Math.Sqrt(bytes / (3.0 * element)) / 64 * 64);
        var matrix = (long)extent * extent * element;
        Repeat(device, scratch, 2 * matrix, RandomValues(device.Act));
        nint a = scratch, b = scratch + (nint)matrix, d = scratch + (nint)(2 * matrix);
        var product = Best(device, new BoundGemm("limit", -1, 0, 0, GemmLayout.Nt, ElementType.Act, d, extent, a, extent, b, extent, extent, extent, extent, 1, false));
        var half = Math.Min(LargestCopy, bytes / 2) / 512 * 512;
        var copy = Best(device, new BoundCopy("limit", scratch + (nint)half, scratch, half));
        // Reading and writing at once should be the faster; if the driver copies badly, writing alone still shows what the memory can do.
        var fill = Best(device, new BoundFill("limit", scratch, 0, half));
        return new DeviceLimits(2.0 * extent * extent * extent / product / 1e9, Math.Max(2.0 * half / copy, half / fill) / 1e6);
    }

    /// <summary>16 MB of values near normal, of deviation 1, in a device's type: a product of equal or zero values draws less power and runs faster than a real one.</summary>
    public static byte[] RandomValues(ActType act)
    {
        var random = new Random(1);
        var values = new byte[16 << 20];
        for (var i = 0; i < values.Length; i += act == ActType.F32 ? 4 : 2)
        {
            var value = (float)((random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * 2);
            if (act == ActType.F32) BitConverter.TryWriteBytes(values.AsSpan(i), value);
            else BitConverter.TryWriteBytes(values.AsSpan(i), act == ActType.Bf16 ? Elements.Bf16(value) : BitConverter.HalfToUInt16Bits((Half)value));
        }
        return values;
    }

    /// <summary>Fills device memory with values, again and again.</summary>
    public static void Repeat(IDevice device, nint address, long bytes, byte[] values)
    {
        for (long done = 0; done < bytes; done += values.Length) device.Upload(address + (nint)done, values.AsSpan(0, (int)Math.Min(values.Length, bytes - done)));
    }

    // A copy inside a CUDA graph reached 2.7 TB/s on an H200, where copies on a stream reach 4.27: the better of both ways is what the device can do.
    internal static double Best(IDevice device, BoundLaunch launch)
    {
        using var program = device.Prepare([launch]);
        program.Run();
        return Math.Min(Median(() => program.Span()), Median(() => program.Time()[0]));
    }

    static double Median(Func<double> measure) => Enumerable.Range(0, Repeats).Select(_ => measure()).Order().ElementAt(Repeats / 2);
}
