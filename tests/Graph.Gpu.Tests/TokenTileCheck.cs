using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// Products on all tokens at once and in tiles of them: the same bits, on cuBLASLt and on the emitted GEMMs.
/// Rows of a product keep the kernel of all of them, also a last tile of a few rows; a sum over tokens
/// is made unit by unit, also with a gradient too large for eight units side by side; G and dB come from one read where the rank has a kernel.
/// </summary>
static class TokenTileCheck
{
    /// <summary>Of 9B: S and G of ranks 16 and 64, a frozen linear and its dX; dA of q, k, v and of down, dB of rank 64, and dA of rank 256.</summary>
    static readonly (GemmLayout Layout, int Rows, int Columns)[] Products =
    [
        (GemmLayout.Nt, 48, 3584), (GemmLayout.Nt, 192, 3584), (GemmLayout.Nn, 128, 28672), (GemmLayout.Nt, 3584, 4096), (GemmLayout.Nn, 4096, 3584),
        (GemmLayout.Tn, 48, 3584), (GemmLayout.Tn, 16, 14336), (GemmLayout.Tn, 8192, 192), (GemmLayout.Tn, 768, 3584),
    ];

    internal static string Run()
    {
        var compared = 0;
        var modes = new[] { "cublas", "generated", "" }.Where(g => g == "generated" || CudaFacts.Collect().CublasLt.Problem is null).ToArray();
        foreach (var gemm in modes)
        {
            Environment.SetEnvironmentVariable("GRAPH_GEMM", gemm);
            var model = Models.Find("nano");
            using var device = CudaDevice.Create(targets: model.Targets);
            device.Load(model);
            // A last tile of few rows, one of many, and tokens that fill their units.
            foreach (var tokens in new[] { 8192 + 40, 8192 + 904, 16384 })
            {
                foreach (var (layout, rows, columns) in Products) compared += Compare(device, layout, tokens, rows, columns);
                foreach (var rank in RankKernel.Ranks) compared += Gradients(device, tokens, rank, [4096, 2048, 2048]) + Gradients(device, tokens, rank, [3584]);
            }
        }
        return $"{compared} products in tiles have the bits of the whole, with GRAPH_GEMM {string.Join(", ", modes.Select(m => m.Length == 0 ? "unset" : m))}";
    }

    // nt: D [T, rows] = A [T, columns] B [rows, columns]ᵀ; nn: D [T, rows] = A [T, columns] B [columns, rows]; tn: D [rows, columns] += A [T, rows]ᵀ B [T, columns].
    static int Compare(CudaDevice device, GemmLayout layout, int tokens, int rows, int columns)
    {
        var sums = layout == GemmLayout.Tn;
        var unit = GemmKernel.TokenUnit(Math.Min(rows, columns));
        var (aColumns, bColumns) = sums ? (rows, columns) : (columns, layout == GemmLayout.Nt ? columns : rows);
        var bRows = sums ? tokens : layout == GemmLayout.Nt ? rows : columns;
        nint a = Operand(device, (long)tokens * aColumns, 1), b = Operand(device, (long)bRows * bColumns, 2);
        var dBytes = sums ? 4L * rows * columns : 2L * tokens * rows;
        var d = device.Allocate(dBytes);
        BoundGemm Part(int token, int count) => sums
            ? new BoundGemm("sum", 0, 0, 0, layout, ElementType.F32, d, columns, a + (nint)(2L * token * aColumns), aColumns, b + (nint)(2L * token * bColumns),
                bColumns, rows, columns, count, 1, true) { Unit = unit }
            : new BoundGemm("rows", 0, 0, 0, layout, ElementType.Act, d + (nint)(2L * token * rows), rows, a + (nint)(2L * token * aColumns), aColumns, b, bColumns,
                count, rows, columns, 0.75f, false) { WholeM = tokens };
        var seen = Bytes(device, d, dBytes, [Part(0, tokens)]);
        var tiles = new[] { unit, 4096 }.Distinct().ToArray();
        foreach (var tile in tiles)
        {
            var tiled = Bytes(device, d, dBytes, [.. Tiles(tokens, tile).Select(t => Part(t.Token, t.Count))]);
            Checking.Require(tiled.AsSpan().SequenceEqual(seen), $"{layout} of {tokens} tokens, {rows} and {columns}, on {device.Gemm}: tiles of {tile} tokens have other bits");
        }
        foreach (var address in new[] { a, b, d }) device.Free(address);
        return tiles.Length;
    }

    static int Gradients(CudaDevice device, int tokens, int rank, int[] linears)
    {
        int columns = linears.Sum(), ranks = rank * linears.Length;
        nint dy = Operand(device, (long)tokens * columns, 3), s = Operand(device, (long)tokens * ranks, 4), b = Operand(device, (long)columns * ranks, 5);
        long gBytes = 2L * tokens * ranks, dBytes = 4L * columns * ranks;
        var g = device.Allocate(gBytes + dBytes);
        var d = g + (nint)gBytes;
        RankBlock[] blocks = [.. linears.Select((n, i) => new RankBlock(linears.Take(i).Sum(), n, i * rank, rank))];
        BoundLaunch Part(int token, int count)
        {
            nint from = dy + (nint)(2L * token * columns), at = s + (nint)(2L * token * ranks);
            return new BoundRankGradients("gradients", 0, 0, 0,
                new BoundGemm("g", 0, 0, 0, GemmLayout.Nn, ElementType.Act, g + (nint)(2L * token * ranks), ranks, from, columns, b, ranks, count, ranks, columns, 0.75f,
                    false) { WholeM = tokens },
                new BoundGemm("grad_b", 0, 0, 0, GemmLayout.Tn, ElementType.F32, d, ranks, from, columns, at, ranks, columns, ranks, count, 1,
                    true) { Unit = GemmKernel.TokenUnit(ranks) }, blocks);
        }
        var seen = Bytes(device, g, gBytes + dBytes, [Part(0, tokens)]);
        foreach (var tile in new[] { 1024, 2048, 5120 })
        {
            var tiled = Bytes(device, g, gBytes + dBytes, [.. Tiles(tokens, tile).Select(t => Part(t.Token, t.Count))]);
            Checking.Require(tiled.AsSpan().SequenceEqual(seen),
                $"G and dB of rank {rank}, {tokens} tokens, {string.Join(" + ", linears)} columns, on {device.Gemm}: tiles of {tile} tokens have other bits");
        }
        foreach (var address in new[] { dy, s, b, g }) device.Free(address);
        return 3;
    }

    static IEnumerable<(int Token, int Count)> Tiles(int tokens, int tile)
    {
        for (var token = 0; token < tokens; token += tile) yield return (token, Math.Min(tile, tokens - token));
    }

    // What launches leave of a block that was 1.5 in fp32, so that what is added to has a value.
    static byte[] Bytes(CudaDevice device, nint address, long count, IReadOnlyList<BoundLaunch> launches)
    {
        var start = new float[Math.Min(count / 4, 1 << 22)];
        Array.Fill(start, 1.5f);
        for (long at = 0; at < count; at += 4L * start.Length) device.Upload(address + (nint)at,
            MemoryMarshal.AsBytes(start.AsSpan(0, (int)Math.Min(start.Length, (count - at) / 4))));
        using var program = device.Prepare(launches);
        program.Run();
        return device.Download<byte>(address, (int)count);
    }

    // A million random elements, again and again with a shift.
    static nint Operand(CudaDevice device, long count, int seed)
    {
        ushort[] elems = [.. Checking.Random(new Random(seed), 1_000_003).Select(v => Checking.ToElem(v, device.Act))];
        var address = device.Allocate(2 * count);
        for (long done = 0; done < count; done += elems.Length) device.Upload(address + (nint)(2 * done),
            MemoryMarshal.AsBytes(elems.AsSpan(0, (int)Math.Min(elems.Length, count - done))));
        return address;
    }
}
