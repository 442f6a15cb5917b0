using System;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>A text compiled here runs here: as machine code, and as PTX of older targets; arguments with and without a pitch arrive as the convention says.</summary>
static class NvrtcCheck
{
    internal const string VectorAdd = """
        extern "C" __global__ void vector_add(float* __restrict__ sum, const float* __restrict__ a, const float* __restrict__ b, int rows)
        {
            const int i = blockIdx.x * 128 + threadIdx.x;
            if (i < rows) sum[i] = a[i] + b[i];
        }
        extern "C" __global__ void row_scale(float* __restrict__ y, int y_pitch, const float* __restrict__ x, int x_pitch, const float* __restrict__ scale, int rows)
        {
            extern __shared__ float held[];
            for (int row = blockIdx.x * 4; row < min(rows, blockIdx.x * 4 + 4); row++)
            {
                held[threadIdx.x] = x[(long long)row * x_pitch + blockIdx.y * 64 + threadIdx.x];
                y[(long long)row * y_pitch + blockIdx.y * 64 + threadIdx.x] = held[threadIdx.x] * scale[blockIdx.y];
            }
        }
        """;

    // 20,000 floats of shared memory: more than a block has unless it was asked for.
    internal static readonly KernelSource[] Sources =
    [
        new(new KernelInfo("vector_add", KernelKind.Row, 128, 0, 128, 0, 1), VectorAdd),
        new(new KernelInfo("row_scale", KernelKind.Row, 64, 64 * 1024, 4, 0, 3), VectorAdd),
    ];

    internal static string Run()
    {
        var seen = new[] { null, "sm_80", "sm_75" }.Select(On).ToArray();
        return string.Join(", ", seen);
    }

    static string On(string? target)
    {
        using var device = Checking.Open(target);
        device.Load(new TargetKernels(device.Info.Target, Sources));
        var random = new Random(2);
        foreach (var count in new[] { 1, 127, 128, 4097 })
        {
            float[] a = Checking.Random(random, count), b = Checking.Random(random, count);
            var sum = device.Allocate(4L * count);
            device.Fill(sum, 0xff, 4L * count);
            using var program = device.Prepare([new BoundKernel("add", 0, 0, 0, "vector_add",
                [new(sum, 0), new(device.Upload<float>(a), 0), new(device.Upload<float>(b), 0)], count)]);
            program.Run();
            var got = device.Download<float>(sum, count);
            for (var i = 0; i < count; i++) Checking.Require(got[i] == a[i] + b[i], $"vector_add for {device.Target}: element {i} of {count} is {got[i]}, expected {a[i] + b[i]}");
        }

        const int rows = 13, columns = 192, xPitch = 200, yPitch = 300;
        float[] x = Checking.Random(random, rows * xPitch), scale = [2, -3, 0.5f];
        var y = device.Upload<float>(new float[rows * yPitch]);
        using var scaled = device.Prepare([new BoundKernel("scale", 0, 0, 0, "row_scale",
            [new(y, yPitch), new(device.Upload<float>(x), xPitch), new(device.Upload<float>(scale), 0)], rows)]);
        scaled.Run();
        var result = device.Download<float>(y, rows * yPitch);
        for (var i = 0; i < result.Length; i++)
        {
            var (row, column) = (i / yPitch, i % yPitch);
            var expected = column < columns ? x[row * xPitch + column] * scale[column / 64] : 0;
            Checking.Require(result[i] == expected, $"row_scale for {device.Target}: y[{row},{column}] is {result[i]}, expected {expected}");
        }
        return $"{device.Target.Name} as {device.Target.Architecture}";
    }
}
