using System;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading.Tasks;
using Graph.Runtime;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// G and dB of a stack of adapters from one read of dY, against fp64: stacks of one to four linears, some without an adapter, columns that end inside a stripe,
/// tokens that end inside a step, more tokens than the workspace holds sums for. What lies off dB's diagonal or beyond G must stay, NaN beside the columns of
/// dY, S and B must not matter, and every run gives the same bits.
/// </summary>
static class RankCheck
{
    sealed record Size(int Tokens, int[] Columns, bool[] Trained, int Runs);

    internal static Seen Run(CudaDeviceOfTarget on, KernelJob job)
    {
        var rank = job.Source.Info.Rank;
        // The two kernels work as a pair. No emitted GEMM is loaded here, so a launch that does not take them fails.
        foreach (var source in job.Sources(info => info.Rank == rank)) on.Load(source);
        Size[] sizes =
        [
            new(333, [520, 264, 512], [true, true, true], 100),
            new(1, [64], [true], 2),
            new(31, [136, 72], [true, true], 2),
            new(4100, [1024], [true], 2),
            new(257, [2048, 1024, 1024], [true, false, true], 2),
            new(65, [8, 512, 24, 1000], [true, true, true, true], 2),
            // Enough of both that the stripes are wide (r = 16), their last ones narrow, and every multiprocessor has a block.
            new(9000, [5640, 2056], [true, true], 2),
            // Eight columns are a stripe too: what 64 MiB hold of sums is less than these tokens need.
            new(rank == 16 ? 270_000 : 135_000, [8, 8, 8, 8], [true, true, true, true], 2),
        ];
        return sizes.Select(s => One(on, rank, s)).Aggregate((a, b) => new Seen(Math.Max(a.Error, b.Error), Math.Max(a.OfAllowed, b.OfAllowed)));
    }

    static Seen One(CudaDeviceOfTarget on, int rank, Size size)
    {
        var (device, what) = (on.Device, $"{size.Tokens} tokens, linears of {string.Join(", ", size.Columns)}");
        var random = new Random(size.Tokens + size.Columns.Length);
        const float alpha = 0.75f;
        var starts = size.Columns.Select((_, i) => size.Columns.Take(i).Sum()).ToArray();
        var trained = Enumerable.Range(0, size.Columns.Length).Where(i => size.Trained[i]).ToArray();
        RankBlock[] blocks = [.. trained.Select((linear, i) => new RankBlock(starts[linear], size.Columns[linear], i * rank, rank))];
        int columns = size.Columns.Sum(), ranks = blocks.Length * rank, dyPitch = columns + 8, sPitch = ranks + 16, gPitch = ranks + 8;
        // B is dense in a run; wider rows work too.
        var bPitch = size.Runs > 2 ? ranks + 24 : ranks;

        var dy = Elems(device, random, size.Tokens, columns, dyPitch);
        var (s, b) = (Elems(device, random, size.Tokens, ranks, sPitch), Elems(device, random, columns, ranks, bPitch));
        var before = Checking.Random(random, columns * ranks);
        nint dyAt = device.Upload<ushort>(dy.Bits), sAt = device.Upload<ushort>(s.Bits), bAt = device.Upload<ushort>(b.Bits), dAt = device.Upload<float>(before);
        // A row more than G has.
        var gHalves = (size.Tokens + 1) * gPitch;
        var gAt = device.Allocate(2L * gHalves);
        device.Fill(gAt, 0xff, 2L * gHalves);
        var g = new BoundGemm("g", 0, 0, 0, GemmLayout.Nn, ElementType.Act, gAt, gPitch, dyAt, dyPitch, bAt, bPitch, size.Tokens, ranks, columns, alpha, false);
        var d = new BoundGemm("grad_b", 0, 0, 0, GemmLayout.Tn, ElementType.F32, dAt, ranks, dyAt, dyPitch, sAt, sPitch, columns, ranks, size.Tokens, 1, true);
        using var program = device.Prepare([new BoundRankGradients(what, 0, 0, 0, g, d, blocks)]);
        program.Run();
        var gotG = device.Download<ushort>(gAt, gHalves);
        Checking.Require(device.Download<ushort>(dyAt, dy.Bits.Length).AsSpan().SequenceEqual(dy.Bits), $"{what}: dY was changed");
        var gotD = device.Download<float>(dAt, before.Length);
        for (var run = 2; run <= size.Runs; run++)
        {
            device.Upload(dAt, MemoryMarshal.AsBytes(before.AsSpan()));
            device.Fill(gAt, 0xff, 2L * gHalves);
            program.Run();
            Checking.Require(device.Download<ushort>(gAt, gHalves).AsSpan().SequenceEqual(gotG)
                && device.Download<float>(dAt, before.Length).AsSpan().SequenceEqual(gotD), $"{what}: run {run} gave other bits than the first");
        }

        // As in GemmCheck: tensor cores err by a few 2^-24 of the sum of magnitudes, and the output is rounded once.
        var worst = new double[size.Tokens + columns];
        Parallel.For(0, size.Tokens + 1, t =>
        {
            for (var c = 0; c < gPitch; c++)
            {
                if (t == size.Tokens || c >= ranks)
                {
                    Checking.Require(gotG[t * gPitch + c] == 0xffff, $"{what}: element {c} of row {t} is not G's and was changed");
                    continue;
                }
                var block = blocks[c / rank];
                worst[t] = Math.Max(worst[t], Error($"G[{t},{c}]", Checking.FromElem(gotG[t * gPitch + c], device.Act), 0, alpha, 1 / 256.0,
                    block.Columns, i => (double)dy.Values[t * dyPitch + block.Start + i] * b.Values[(block.Start + i) * bPitch + c]));
            }
        });
        Parallel.For(0, columns, n =>
        {
            for (var r = 0; r < ranks; r++)
            {
                var block = blocks[r / rank];
                if (n < block.Start || n >= block.Start + block.Columns)
                    Checking.Require(gotD[n * ranks + r] == before[n * ranks + r], $"{what}: dB[{n},{r}] is off the diagonal and was changed");
                else
                    worst[size.Tokens + n] = Math.Max(worst[size.Tokens + n],
                        Error($"dB[{n},{r}]", gotD[n * ranks + r], before[n * ranks + r], 1,
                            1e-6, size.Tokens, t => (double)dy.Values[t * dyPitch + n] * s.Values[t * sPitch + r]));
            }
        });
        foreach (var address in new[] { dyAt, sAt, bAt, gAt, dAt }) device.Free(address);
        return new Seen(worst.Max() * Elem.UnitRoundoff, worst.Max());

        double Error(string name, double got, double start, double scale, double rounding, int count, Func<int, double> product)
        {
            double sum = 0, magnitude = 0;
            for (var i = 0; i < count; i++)
            {
                var p = product(i);
                sum += p;
                magnitude += Math.Abs(p);
            }
            var expected = start + scale * sum;
            var error = Math.Abs(got - expected) / (4e-6 * magnitude + rounding * Math.Abs(expected) + 1e-7);
            Checking.Require(error <= 1, $"{what}: {name} is {got}, expected {expected}");
            return error;
        }
    }

    // NaN beside the columns.
    static (ushort[] Bits, float[] Values) Elems(Graph.Runtime.Cuda.CudaDevice device, Random random, int rows, int columns, int pitch)
    {
        var bits = Checking.Random(random, rows * pitch).Select((v, i) => Checking.ToElem(i % pitch < columns ? v : float.NaN, device.Act)).ToArray();
        return (bits, [.. bits.Select(x => Checking.FromElem(x, device.Act))]);
    }
}
