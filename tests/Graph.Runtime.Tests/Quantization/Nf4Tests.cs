using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;
using Graph.Runtime.Quantization;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

public unsafe class Nf4Tests
{
    // The rule with one value after the other, as its authors write it.
    static readonly float[] Thresholds =
    [
        -0.84809643f, -0.610632896f, -0.45999527f, -0.33967942f, -0.234607399f, -0.137911737f, -0.0455250181f, 0.0397901498f,
        0.120255254f, 0.203521252f, 0.292013764f, 0.389312536f, 0.501663387f, 0.64278692f, 0.861478388f,
    ];

    static int[] Codes(float[] values) => [.. values.Select((v, i) =>
    {
        var block = values.Skip(i / 64 * 64).Take(64).Max(MathF.Abs);
        return Thresholds.Count(t => v * (1 / block) > t);
    })];

    static int Code(ReadOnlySpan<byte> codes, int i) => i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15;

    static float[] Random(int count, int seed)
    {
        var random = new Random(seed);
        // Blocks of very different sizes, some of zeros, some of one value.
        return [.. Enumerable.Range(0, (count + 63) / 64).SelectMany(b =>
        {
            var size = (float)Math.Pow(10, random.Next(-6, 3));
            return Enumerable.Range(0, 64).Select(_ => b % 7 == 3 ? 0 : b % 11 == 5 ? size : size * (float)(random.NextDouble() * 2 - 1)).ToArray();
        }).Take(count)];
    }

    [Theory]
    [InlineData(64), InlineData(2), InlineData(63), InlineData(65), InlineData(64 * 256), InlineData(64 * 257 + 17), InlineData(40_001)]
    public void Quantize_AnyLength_IsTheRuleValueByValue(int count)
    {
        var values = Random(count, count);
        var quantizer = new Nf4Quantizer(count);
        quantizer.Add(0, MemoryMarshal.AsBytes(values.AsSpan()), bf16: false);
        var tensor = quantizer.Finish(count);
        var expected = Codes(values);
        for (var i = 0; i < count; i++) Assert.True(expected[i] == Code(tensor.Codes, i), $"element {i} of {count}, {values[i]:R}");
        // absmax - offset within half a step of the map, of its nested block's absmax.
        var absmax = values.Chunk(64).Select(b => b.Max(MathF.Abs)).ToArray();
        var offset = tensor.Offset;
        Assert.Equal(absmax.Average(a => (double)a), offset, 1e-6 * absmax.Max());
        for (var b = 0; b < absmax.Length; b++)
        {
            var nested = absmax.Skip(b / 256 * 256).Take(256).Max(a => Math.Abs(a - offset));
            Assert.Equal(nested, tensor.Stored[b / 256]);
            var best = Nf4.DynamicMap.Min(m => Math.Abs(m * nested + offset - (double)absmax[b]));
            Assert.InRange(Math.Abs(tensor.Absmax(b) - absmax[b]), 0, best + 1e-6 * (nested + Math.Abs(offset)));
        }
    }

    [Fact]
    public void Quantize_InPiecesAndFromBf16_IsTheSame()
    {
        const int count = 96 * 40;
        var bf16 = Random(count, 3).Select(Nf4.Bf16).ToArray();
        var values = bf16.Select(b => BitConverter.UInt32BitsToSingle((uint)b << 16)).ToArray();
        Nf4Quantizer whole = new(count), pieces = new(count);
        whole.Add(0, MemoryMarshal.AsBytes(values.AsSpan()), bf16: false);
        for (var at = 0; at < count; at += 64 * 7) pieces.Add(at, MemoryMarshal.AsBytes(bf16.AsSpan(at, Math.Min(64 * 7, count - at))), bf16: true);
        Nf4Tensor a = whole.Finish(count), b = pieces.Finish(count);
        Assert.Equal(a.Codes.ToArray(), b.Codes.ToArray());
        Assert.Equal(a.AbsmaxCodes.ToArray(), b.AbsmaxCodes.ToArray());
        Assert.Equal((a.Offset, a.Stored[0]), (b.Offset, b.Stored[0]));
        Assert.Throws<ArgumentException>(() => pieces.Add(32, MemoryMarshal.AsBytes(values.AsSpan()), bf16: false));
    }

    /// <summary>A value on a threshold has the code below it, the next float the one above.</summary>
    [Fact]
    public void Quantize_AtTheThresholds_IsStrict()
    {
        var values = new float[64];
        values[0] = 1;
        for (var t = 0; t < 15; t++) (values[1 + 2 * t], values[2 + 2 * t]) = (Thresholds[t], MathF.BitIncrement(Thresholds[t]));
        var quantizer = new Nf4Quantizer(64);
        quantizer.Add(0, MemoryMarshal.AsBytes(values.AsSpan()), bf16: false);
        var codes = quantizer.Finish(64).Codes.ToArray();
        for (var t = 0; t < 15; t++) Assert.Equal((t, t + 1), (Code(codes, 1 + 2 * t), Code(codes, 2 + 2 * t)));
    }

    [Fact]
    public void Quantize_Zeros_AreCodeZeroAndComeBackAsZeros()
    {
        var quantizer = new Nf4Quantizer(128);
        quantizer.Add(0, new byte[4 * 128], bf16: false);
        var tensor = quantizer.Finish(128);
        Assert.All(tensor.Codes.ToArray(), c => Assert.Equal(0, c));
        var values = new ushort[128];
        tensor.Dequantize(0, values);
        Assert.All(values, v => Assert.Equal(0, v & 0x7FFF));
    }

    /// <summary>Ends and middle of the published table: the smallest entries are ±(0.1 + 1)/2 · 10^-6, the largest but 1 is the mean of the last 64th of [0.1, 1].</summary>
    [Fact]
    public void DynamicMap_IsThePublishedOne()
    {
        Assert.Equal(256, Nf4.DynamicMap.Distinct().Count());
        Assert.Equal(Nf4.DynamicMap.Order(), Nf4.DynamicMap);
        Assert.Equal((0f, 1f), (Nf4.DynamicMap[127], Nf4.DynamicMap[255]));
        Assert.Equal(5.5e-7, Nf4.DynamicMap[128], 1e-13);
        Assert.Equal(0.99296875, Nf4.DynamicMap[254], 1e-7);
        Assert.Equal(Nf4.DynamicMap.Take(127).Select(v => -v).Reverse(), Nf4.DynamicMap.Skip(128).Take(127));
    }

    /// <summary>
    /// The kernel on a packed block, and a tensor's own values: all codes, odd lengths, stacks of parts,
    /// nested and plain, parts that are no multiple of a chunk.
    /// </summary>
    [Theory]
    [InlineData(1, 2, 1), InlineData(3, 22, 7), InlineData(2, 64, 128), InlineData(3, 130, 190), InlineData(2, 33, 513)]
    public void Kernel_RandomBlocks_IsTheTensorsValues(int parts, int rows, int columns)
    {
        foreach (var format in new[] { WeightFormat.Nf4, WeightFormat.Nf4Plain })
        {
            var weight = new ScheduleTensor("w", TensorKind.Weight, ElementType.Act, false, [parts * rows, columns],
                Parts: [.. Enumerable.Range(0, parts).Select(i => new WeightPart("w" + i, rows))]);
            var layout = Nf4Layout.Create(weight, format);
            var random = new Random(parts * rows);
            using var device = new CpuDevice(poison: true);
            nint block = device.Allocate(layout.Bytes), to = device.Allocate(4L * parts * rows * columns);
            var expected = new List<ushort>();
            var table = layout.Parts.ToArray();
            for (var i = 0; i < parts; i++)
            {
                var elements = rows * columns;
                var (codes, blocks) = (new byte[(elements + 1) / 2], (int)Nf4.Blocks(elements));
                random.NextBytes(codes);
                var absmaxCodes = new byte[format == WeightFormat.Nf4 ? blocks : 0];
                random.NextBytes(absmaxCodes);
                float[] stored = [.. Enumerable.Range(0, format == WeightFormat.Nf4 ? (int)Nf4.NestedBlocks(blocks) : blocks).Select(_ => random.NextSingle())],
                    map = format == WeightFormat.Nf4 ? [.. Nf4.DynamicMap] : [];
                table[i].Offset = format == WeightFormat.Nf4 ? random.NextSingle() : 0;
                var values = new ushort[elements];
                new Nf4Tensor(elements, codes, absmaxCodes, stored, map, table[i].Offset).Dequantize(0, values);
                expected.AddRange(values);
                // By hand, with the two roundings of absmax and the one of the product.
                for (var e = 0; e < elements; e += 5)
                {
                    var absmax = format == WeightFormat.Nf4 ? (float)((float)(map[absmaxCodes[e / 64]] * stored[e / 64 / 256]) + table[i].Offset) : stored[e / 64];
                    Assert.Equal(Nf4.Bf16(Nf4.Table[Code(codes, e)] * absmax), values[e]);
                }
                device.Upload(block + (nint)table[i].Codes, codes);
                device.Upload(block + (nint)table[i].Absmax, format == WeightFormat.Nf4 ? absmaxCodes : MemoryMarshal.AsBytes(stored.AsSpan()));
                if (format == WeightFormat.Nf4)
                {
                    device.Upload(block + (nint)table[i].Nested, MemoryMarshal.AsBytes(stored.AsSpan()));
                    device.Upload(block + (nint)table[i].Map, MemoryMarshal.AsBytes(map.AsSpan()));
                }
            }
            device.Upload(block, MemoryMarshal.AsBytes(table.AsSpan()));
            device.Prepare([new BoundKernel("w", 0, 0, 0, Nf4Layout.Kernel, [new(to, 0), new(block, parts)], layout.Chunks)]).Run();
            var got = new Span<uint>((void*)to, expected.Count).ToArray();
            Assert.Equal(expected.Select(v => (uint)v << 16), got);
        }
    }

    [Fact]
    public void Dequantize_AnyRange_IsThatPartOfTheWhole()
    {
        var quantizer = new Nf4Quantizer(1000);
        quantizer.Add(0, MemoryMarshal.AsBytes(Random(1000, 8).AsSpan()), bf16: false);
        var tensor = quantizer.Finish(1000);
        var whole = new ushort[1000];
        tensor.Dequantize(0, whole);
        foreach (var (first, count) in new[] { (0, 1), (63, 2), (64, 64), (100, 333), (999, 1), (65, 0) })
        {
            var part = new ushort[count];
            tensor.Dequantize(first, part);
            Assert.Equal(whole[first..(first + count)], part);
        }
    }
}
