using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

/// <summary>Bound products of several segments, and zeros where there is none, on memory that is NaN at first.</summary>
public class CpuProductTests
{
    [Theory]
    [InlineData(GemmLayout.Nt, 33, 65, 64, 16, 1f, false), InlineData(GemmLayout.Nn, 65, 31, 100, 48, 0.5f, false), InlineData(GemmLayout.Tn, 17, 70, 129, 1, 2f, true)]
    [InlineData(GemmLayout.Nt, 1, 1, 1, 1, 1f, true), InlineData(GemmLayout.Nn, 40, 96, 7, 0, 1f, false)]
    public void Gemm_Segments_AreOneSum(GemmLayout layout, int m, int n, int k, int k2, float alpha, bool accumulate)
    {
        const int Padding = 3;
        using var device = new CpuDevice(poison: true);
        var random = new Random(m + n);
        var expected = new double[m * n];
        var dPitch = n + Padding;
        var d = device.Allocate(4L * m * dPitch);
        if (accumulate)
        {
            var before = Values(m * dPitch);
            device.Upload(d, MemoryMarshal.AsBytes(before.AsSpan()));
            for (var i = 0; i < expected.Length; i++) expected[i] = before[i / n * dPitch + i % n];
        }
        var segments = new List<GemmOperands>();
        foreach (var depth in new[] { k, k2 }.Where(depth => depth > 0))
        {
            var (a, aPitch, aAt) = layout == GemmLayout.Tn ? Matrix(depth, m) : Matrix(m, depth);
            var (b, bPitch, bAt) = layout == GemmLayout.Nt ? Matrix(n, depth) : Matrix(depth, n);
            segments.Add(new GemmOperands(aAt, aPitch, bAt, bPitch, depth));
            for (var i = 0; i < expected.Length; i++)
                for (var p = 0; p < depth; p++)
                    expected[i] += alpha * (double)(layout == GemmLayout.Tn ? a[p * aPitch + i / n] : a[i / n * aPitch + p])
                        * (layout == GemmLayout.Nt ? b[i % n * bPitch + p] : b[p * bPitch + i % n]);
        }
        using var program = device.Prepare([new BoundGemm("d", -1, 0, 0, layout, ElementType.Act, d, dPitch, m, n, segments, alpha, accumulate)]);
        program.Run();
        var got = Read(device, d, m * dPitch);
        for (var i = 0; i < got.Length; i++)
            if (i % dPitch < n) Assert.Equal(expected[i / dPitch * n + i % dPitch], got[i], 1e-4);
            else Assert.Equal(accumulate, !float.IsNaN(got[i]));

        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];

        // Columns beyond the matrix are NaN.
        (float[] Values, int Pitch, nint Address) Matrix(int rows, int columns)
        {
            var pitch = columns + Padding;
            var values = Values(rows * pitch);
            for (var i = 0; i < values.Length; i++) values[i] = i % pitch < columns ? values[i] : float.NaN;
            var address = device.Allocate(4L * values.Length);
            device.Upload(address, MemoryMarshal.AsBytes(values.AsSpan()));
            return (values, pitch, address);
        }
    }

    [Fact]
    public void Zeros_OfAProductWithoutSegments_AreInItsColumnsOnly()
    {
        using var device = new CpuDevice(poison: true);
        var at = device.Allocate(4 * 5 * 12);
        using var program = device.Prepare([new BoundZeros("d", -1, at + 4 * 2, 4 * 12, 4 * 7, 4)]);
        program.Run();
        var got = Read(device, at, 5 * 12);
        for (var i = 0; i < got.Length; i++) Assert.Equal(i < 4 * 12 && i % 12 is >= 2 and < 9, got[i] == 0);
    }

    static float[] Read(CpuDevice device, nint address, int count)
    {
        var values = new float[count];
        device.Download(MemoryMarshal.AsBytes(values.AsSpan()), address);
        return values;
    }
}
