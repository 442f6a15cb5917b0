using System;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Devices;

namespace Graph.Gpu.Tests;

/// <summary>
/// Copies between host and device inside a graph: what went to the host, and came back after its place was overwritten, is what it was, in every replay and one by one,
/// and copies run beside kernels, in both
/// directions at once.
/// </summary>
static class TransferCheck
{
    const int Count = 16 << 20, Busy = 40;
    const long Bytes = 4L * Count;

    internal static string Run()
    {
        using var device = Checking.Open();
        device.Load(new TargetKernels(device.Info.Target, NvrtcCheck.Sources));
        nint Room() => device.Allocate(Bytes);
        nint a = Room(), b = Room(), x = Room(), back = Room(), sum = Room(), work = Room();
        using var host = device.AllocateHost(2 * Bytes);
        var random = new Random(5);
        var addend = Checking.Random(random, Count);
        device.Upload(b, System.Runtime.InteropServices.MemoryMarshal.AsBytes(addend.AsSpan()));
        device.Fill(work, 0, Bytes);
        BoundKernel Add(string label, nint to, nint left, nint right) => new(label, 0, 0, 0, "vector_add", [new(to, 0), new(left, 0), new(right, 0)], Count);
        var busy = Enumerable.Repeat<BoundLaunch>(Add("work", work, b, b), Busy).ToArray();
        BoundTransferStart Start(int number, Lane lane, nint to, nint from) => new("copy", 0, lane, number, to, from, Bytes);
        BoundTransferWait Wait(int number) => new("copy", 0, number);
        BoundLaunch[] launches =
        [
            Add("x", x, a, b), Start(0, Lane.ToHost, host.Address, x), .. busy, Wait(0), new BoundFill("x", x, 0xff, Bytes),
            // Both directions at once.
            Start(1, Lane.ToDevice, back, host.Address), Start(2, Lane.ToHost, host.Address + (nint)Bytes, b), .. busy, Wait(2), Wait(1), Add("sum", sum, back, b),
        ];
        using var program = device.Prepare(launches);
        using var alone = device.Prepare([.. launches.Where(l => l is not (BoundTransferStart or BoundTransferWait))]);
        for (var replay = 0; replay < 4; replay++)
        {
            var values = Checking.Random(random, Count);
            device.Upload(a, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
            foreach (var address in new[] { x, back, sum }) device.Fill(address, 0xff, Bytes);
            if (replay == 3) Checking.Require(program.Time().Count == launches.Length, "not every launch was timed");
            else program.Run();
            // Two in a row share arena and host memory.
            if (replay == 1) program.Run();
            var got = device.Download<float>(sum, Count);
            for (var i = 0; i < Count; i++)
                Checking.Require(got[i] == values[i] + addend[i] + addend[i], $"replay {replay}: element {i} is {got[i]}, and {values[i] + addend[i]} went to the host and back");
        }

        var times = launches.Zip(program.Time()).ToArray();
        var copies = times.Where(t => t.First is BoundTransferStart).Select(t => t.Second).ToArray();
        double compute = Enumerable.Range(0, 5).Min(_ => alone.Span()), both = Enumerable.Range(0, 5).Min(_ => program.Span());
        // Two copies follow each other with kernels beside them, the third is beside the second: hidden, or as good as.
        Checking.Require(both < 0.8 * (compute + copies[0] + copies[1]),
            $"with copies of {copies[0]:F2} and {copies[1]:F2} ms the kernels' {compute:F2} ms take {both:F2} ms: copies run alone");
        var rates = FormattableString.Invariant($"to the host {Bytes / copies[0] / 1e6:F1} GB/s, back {Bytes / copies[1] / 1e6:F1} GB/s");
        var hidden = FormattableString.Invariant($"{compute:F2} ms of kernels take {both:F2} ms with 3 copies of {copies.Sum():F2} ms beside them");
        return $"what went to the host came back in 5 replays; {rates}; {hidden}";
    }
}
