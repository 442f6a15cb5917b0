using System;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Xunit;

namespace Graph.Runtime.Tests.Optimizers;

/// <summary>The dynamic map beside numbers that bitsandbytes' create_dynamic_map gives, and AdamW on its codes beside AdamW in fp32.</summary>
public unsafe class AdamW8BitTests
{
    [Fact]
    public void Map_IsThePublishedOne()
    {
        ReadOnlySpan<float> m = DynamicMap.Signed, v = DynamicMap.Unsigned;
        Assert.Equal([-0.99296874f, 0, 5.5e-7f, 3.25e-6f, 7.75e-6f, 2.125e-5f, 0.99296874f, 1], [m[0], m[127], m[128], m[129], m[130], m[131], m[254], m[255]]);
        Assert.Equal([0, 3.25e-7f, 7.75e-7f, 2.125e-6f, 0.103515625f, 0.9964844f, 1], [v[0], v[1], v[2], v[3], v[127], v[254], v[255]]);
        for (var i = 1; i < 256; i++) Assert.True(m[i] > m[i - 1] && v[i] > v[i - 1]);
        for (var i = 0; i < 127; i++) Assert.Equal(-m[i], m[254 - i]);
    }

    [Fact]
    public void Nearest_OfAnyValue_IsTheClosestOfAll()
    {
        var random = new Random(1);
        foreach (var map in new[] { DynamicMap.Signed.ToArray(), DynamicMap.Unsigned.ToArray() })
            foreach (var x in Enumerable.Range(0, 3000).Select(_ => (float)((random.NextDouble() * 2 - 1) * Math.Pow(10, -8 * random.NextDouble())))
                    .Concat(map).Concat([-1, 0, float.NaN]))
                if (float.IsNaN(x)) Assert.Equal(0, DynamicMap.Nearest(map, x));
                else Assert.Equal(map.Min(value => Math.Abs(value - x)), Math.Abs(map[DynamicMap.Nearest(map, x)] - x), 1e-9f);
    }

    /// <summary>
    /// 200 steps on gradients of one direction and ten times as much noise. A moment's code is off by at most 7% of itself in the two decades below its block's
    /// largest (14% and more far below), and a step by about half of v's error and all of m's; the errors of different steps are of either sign and mostly
    /// cancel, so that the way of 200 steps is off by far less than one of them.
    /// </summary>
    [Theory]
    [InlineData(16, 300), InlineData(5, 1001), InlineData(1, 7), InlineData(40, 256)]
    public void Update_ManySteps_GoesTheWayOfFp32(int rows, int columns)
    {
        using var device = new CpuDevice();
        var (exact, coded) = (new Matrix(rows, columns, codes: false), new Matrix(rows, columns, codes: true));
        var random = new Random(rows);
        var direction = Enumerable.Range(0, rows * columns).Select(_ => Normal(random)).ToArray();
        var start = exact.Master.ToArray();
        double worst = 0;
        for (var step = 1; step <= 200; step++)
        {
            var gradient = direction.Select(d => (float)(d + 10 * Normal(random)) * 1e-3f).ToArray();
            foreach (var matrix in new[] { exact, coded }) matrix.Update(device, gradient, step, skipped: step % 50 == 0);
            if (step == 1) Assert.Equal(exact.Master, coded.Master);
            double error = 0, way = 0;
            for (var i = 0; i < start.Length; i++) (error, way) = (error + Math.Pow(coded.Master[i] - exact.Master[i], 2), way + Math.Pow(exact.Master[i] - start[i], 2));
            worst = Math.Max(worst, Math.Sqrt(error / way));
        }
        // Seven elements have few errors that could cancel.
        Assert.InRange(worst, 1e-4, 0.05);
        coded.CheckUntouched();
    }

    [Fact]
    public void Update_Skipped_ChangesNothing()
    {
        using var device = new CpuDevice();
        var matrix = new Matrix(3, 100, codes: true);
        matrix.Update(device, [.. Enumerable.Range(0, 300).Select(i => i * 0.01f)], 1, skipped: false);
        var before = matrix.Bytes;
        matrix.Update(device, [.. Enumerable.Repeat(float.NaN, 300)], 2, skipped: true);
        Assert.Equal(before, matrix.Bytes);
    }

    /// <summary>A second moment far below its block's largest would round to 0, and the next step divide by little more than epsilon.</summary>
    [Fact]
    public void Update_SmallBesideLarge_KeepsItsSecondMomentAboveZero()
    {
        using var device = new CpuDevice();
        var matrix = new Matrix(1, 4, codes: true);
        for (var step = 1; step <= 3; step++) matrix.Update(device, [1000, 1e-3f, 0, -1e-3f], step, skipped: false);
        Assert.Equal([255, 1, 0, 1], matrix.SecondCodes.Take(4));
        Assert.All(matrix.Master, p => Assert.InRange(p, -1.05f, 1.05f));
    }

    static double Normal(Random random) => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());

    /// <summary>One matrix in a segment table of its own; what lies beside its gradient's and copy's columns is not a number.</summary>
    sealed class Matrix
    {
        const int Pad = 3;
        readonly int rows, columns, blocks;
        readonly AdamSegment[] table = GC.AllocateArray<AdamSegment>(1, pinned: true);
        readonly float[] scalars = GC.AllocateArray<float>(sizeof(ScalarBlock) / 4, pinned: true);
        readonly float[] gradients, copy;
        readonly byte[] first, second;
        readonly string kernel;

        public Matrix(int rows, int columns, bool codes)
        {
            (this.rows, this.columns) = (rows, columns);
            kernel = codes ? "adamw_8bit" : "adamw";
            blocks = (rows * columns + 255) / 256;
            var bytes = codes ? blocks * (256 + 4) : 4 * rows * columns;
            (first, second) = (GC.AllocateArray<byte>(bytes, pinned: true), GC.AllocateArray<byte>(bytes, pinned: true));
            Master = GC.AllocateArray<float>(rows * columns, pinned: true);
            for (var i = 0; i < Master.Length; i++) Master[i] = MathF.Sin(i);
            (gradients, copy) = (GC.AllocateArray<float>(rows * (columns + Pad), pinned: true), GC.AllocateArray<float>(rows * (columns + Pad), pinned: true));
            Array.Fill(gradients, float.NaN);
            Array.Fill(copy, float.NaN);
            table[0] = new AdamSegment
            {
                Master = Address(Master), FirstMoment = Address(first), SecondMoment = Address(second), Gradient = Address(gradients), Copy = Address(copy),
                Rows = rows, Columns = columns, GradientPitch = columns + Pad, CopyPitch = columns + Pad,
            };
        }

        public float[] Master { get; }
        public byte[] SecondCodes => second;
        public byte[] Bytes => [.. MemoryMarshal.AsBytes(Master.AsSpan()), .. first, .. second, .. MemoryMarshal.AsBytes(copy.AsSpan())];

        public void Update(CpuDevice device, float[] gradient, int step, bool skipped)
        {
            for (var r = 0; r < rows; r++) gradient.AsSpan(r * columns, columns).CopyTo(gradients.AsSpan(r * (columns + Pad)));
            MemoryMarshal.Cast<float, ScalarBlock>(scalars.AsSpan())[0] = new ScalarBlock
            {
                LearningRate = 1e-3f, Beta1 = 0.9f, OneMinusBeta1 = 0.1f, Beta2 = 0.999f, OneMinusBeta2 = 0.001f, Epsilon = 1e-8f, WeightDecay = 0.01f, ClipCoefficient = 1,
                BiasCorrection1 = (float)(1 - Math.Pow(0.9, step)), SqrtBiasCorrection2 = (float)Math.Sqrt(1 - Math.Pow(0.999, step)), Skipped = skipped ? 1 : 0,
            };
            var chunks = (rows * columns + AdamSegment.ChunkElements - 1) / AdamSegment.ChunkElements;
            using var program = device.Prepare([new BoundKernel(kernel, -1, 0, 0, kernel, [new((nint)Address(table), 1), new((nint)Address(scalars), 0)], chunks)]);
            program.Run();
        }

        public void CheckUntouched()
        {
            for (var r = 0; r < rows; r++)
                for (var c = 0; c < columns + Pad; c++)
                    if (c < columns) Assert.Equal(Master[r * columns + c], copy[r * (columns + Pad) + c]);
                    else Assert.True(float.IsNaN(copy[r * (columns + Pad) + c]));
            // Codes behind the last element of the last block.
            Assert.All(first[(rows * columns)..(256 * blocks)].Concat(second[(rows * columns)..(256 * blocks)]), code => Assert.Equal(0, code));
        }

        static long Address(Array array) => Marshal.UnsafeAddrOfPinnedArrayElement(array, 0);
    }
}
