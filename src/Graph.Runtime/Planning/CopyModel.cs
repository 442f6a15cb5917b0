using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Planning;

/// <summary>A copy to or from the host as <see cref="CopyModel"/> places it.</summary>
/// <param name="Item">The caller's number of what is copied.</param>
/// <param name="Ready">First launch before which it can start.</param>
/// <param name="Need">To the host: the first launch before which waiting for it is of use. From it: the launch that must wait for it.</param>
public record struct ModelCopy(int Item, long Bytes, int Ready, int Need)
{
    /// <summary>The launches before which the copy starts, and is waited for.</summary>
    public int Start { get; set; }
    public int Wait { get; set; }
}

/// <summary>
/// Where <see cref="Transfers"/> puts copies, and how long the device waits for them, without making a launch list: what a planner that tries thousands can afford. Copies of a
/// direction follow each other, and those on the way take at most <see cref="TransferPace.Landing"/> times the largest one of both. Times are milliseconds since the first launch.
/// </summary>
static class CopyModel
{
    /// <param name="clock">When each launch starts if no launch waits, slowed by copies, and when the last one ends.</param>
    /// <param name="copies">By <see cref="ModelCopy.Ready"/>; each wait is behind the end of its copy, or where room must be given back.</param>
    /// <param name="room">Bytes that those on the way may take.</param>
    /// <returns>Milliseconds that launches wait.</returns>
    public static double ToHost(ReadOnlySpan<double> clock, Span<ModelCopy> copies, DeviceProfile device, double room)
    {
        var (free, flying, oldest) = (0.0, 0L, 0);
        for (var k = 0; k < copies.Length; k++)
        {
            ref var copy = ref copies[k];
            copy.Start = copy.Ready;
            free = Math.Max(free, clock[copy.Start]) + device.CopyMilliseconds(Lane.ToHost, copy.Bytes);
            copy.Wait = Math.Max(copy.Need, First(clock, free));
            flying += copy.Bytes;
            for (; oldest < k && (copies[oldest].Wait <= copy.Start || flying > room); oldest++)
            {
                flying -= copies[oldest].Bytes;
                copies[oldest].Wait = Math.Min(copies[oldest].Wait, Math.Max(copies[oldest].Need, copy.Start));
            }
        }
        var (end, late) = (0.0, 0.0);
        foreach (ref readonly var copy in copies)
        {
            end = Math.Max(end, clock[copy.Start] + late) + device.CopyMilliseconds(Lane.ToHost, copy.Bytes);
            if (copy.Wait < clock.Length) late += Math.Max(0, end - (clock[copy.Wait] + late));
        }
        return late;
    }

    /// <param name="clock">When each launch starts if no launch waits, slowed by copies, and when the last one ends.</param>
    /// <param name="copies">By <see cref="ModelCopy.Need"/>; each starts as late as it can to be there in time.</param>
    /// <param name="room">Bytes that those on the way may take.</param>
    /// <returns>Milliseconds that launches wait.</returns>
    public static double ToDevice(ReadOnlySpan<double> clock, Span<ModelCopy> copies, DeviceProfile device, double room)
    {
        var free = double.PositiveInfinity;
        for (var k = copies.Length - 1; k >= 0; k--)
        {
            ref var copy = ref copies[k];
            copy.Wait = copy.Need;
            free = Math.Min(free, clock[copy.Wait]) - device.CopyMilliseconds(Lane.ToDevice, copy.Bytes);
            copy.Start = Math.Clamp(Last(clock, free), Math.Min(copy.Ready, copy.Wait), copy.Wait);
        }
        var (flying, oldest) = (0L, 0);
        for (var k = 0; k < copies.Length; k++)
        {
            ref var copy = ref copies[k];
            while (oldest < k && (copies[oldest].Wait <= copy.Start || flying + copy.Bytes > room))
            {
                flying -= copies[oldest].Bytes;
                copy.Start = Math.Max(copy.Start, copies[oldest++].Wait);
            }
            flying += copy.Bytes;
        }
        // They follow each other as they start; what launches before a start waited puts it off too.
        Span<int> order = new int[copies.Length];
        for (var k = 0; k < copies.Length; k++)
        {
            var place = k;
            for (; place > 0 && copies[order[place - 1]].Start > copies[k].Start; place--) order[place] = order[place - 1];
            order[place] = k;
        }
        var (end, late, next) = (0.0, 0.0, 0);
        Span<double> arrival = new double[copies.Length];
        arrival.Fill(double.NaN);
        for (var k = 0; k < copies.Length; k++)
        {
            for (; next < copies.Length && (copies[order[next]].Start < copies[k].Wait || double.IsNaN(arrival[k])); next++)
                arrival[order[next]] = end = Math.Max(end, clock[copies[order[next]].Start] + late) + device.CopyMilliseconds(Lane.ToDevice, copies[order[next]].Bytes);
            late += Math.Max(0, arrival[k] - (clock[copies[k].Wait] + late));
        }
        return late;
    }

    /// <summary>Milliseconds of all copies, one after the other.</summary>
    public static double Milliseconds(IEnumerable<ModelCopy> copies, DeviceProfile device, Lane lane) => copies.Sum(c => device.CopyMilliseconds(lane, c.Bytes));

    static int First(ReadOnlySpan<double> clock, double time) => clock.BinarySearch(time, Comparer<double>.Default) is var at && at >= 0 ? at : Math.Min(~at, clock.Length - 1);

    static int Last(ReadOnlySpan<double> clock, double time) => clock.BinarySearch(time, Comparer<double>.Default) is var at && at >= 0 ? at : Math.Max(0, ~at - 1);
}
