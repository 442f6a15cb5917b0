using System;
using System.Linq;
using System.Text;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class NvrtcTests
{
    internal const string VectorAdd = """
        extern "C" __global__ void vector_add(float* __restrict__ sum, const float* __restrict__ a, const float* __restrict__ b, int rows)
        {
            __shared__ float tile[128];
            const int i = blockIdx.x * 128 + threadIdx.x;
            tile[threadIdx.x ^ 1] = i < rows ? a[i] : 0.0f;
            __syncthreads();
            if (i < rows) sum[i] = tile[threadIdx.x ^ 1] + b[i];
        }
        """;

    // 64 live values under a bound of 32 registers cannot all stay in registers.
    const string Spilling = """
        extern "C" __global__ void __launch_bounds__(1024, 2) spilling(float* x, int n)
        {
            float v[64];
            #pragma unroll
            for (int i = 0; i < 64; i++) v[i] = x[threadIdx.x + i * 1024];
            for (int k = 0; k < n; k++)
            {
                #pragma unroll
                for (int i = 0; i < 64; i++) v[i] = v[i] * v[(i + 7) & 63] + v[(i + 31) & 63];
            }
            #pragma unroll
            for (int i = 0; i < 64; i++) x[threadIdx.x + i * 1024] = v[i];
        }
        """;

    [Theory]
    [InlineData("sm_75")]
    [InlineData("sm_80")]
    [InlineData("sm_86")]
    [InlineData("sm_89")]
    [InlineData("sm_90a")]
    public void Compile_ForArchitecture_IsElfWithUsage(string architecture)
    {
        var kernel = Nvrtc.Compile(VectorAdd, architecture);
        Assert.Equal(ImageKind.Cubin, kernel.Kind);
        Assert.Equal("\x7f" + "ELF", Encoding.Latin1.GetString(kernel.Image, 0, 4));
        var usage = Assert.Single(kernel.Functions);
        Assert.Equal("vector_add", usage.Name);
        Assert.InRange(usage.Registers, 4, 64);
        Assert.Equal(512, usage.SharedBytes);
        Assert.Equal((0, 0, 0), (usage.StackBytes, usage.SpillStoreBytes, usage.SpillLoadBytes));
        Assert.Empty(kernel.Warnings);
    }

    [Fact]
    public void Compile_ForComputeCapability_IsPtxOfThatTarget()
    {
        var kernel = Nvrtc.Compile(VectorAdd, "compute_80");
        Assert.Equal(ImageKind.Ptx, kernel.Kind);
        Assert.Contains(".target sm_80", Encoding.UTF8.GetString(kernel.Image));
    }

    [Fact]
    public void Compile_TooFewRegisters_ReportsSpills()
    {
        var kernel = Nvrtc.Compile(Spilling, "sm_80");
        var usage = Assert.Single(kernel.Functions);
        Assert.True(usage.SpillStoreBytes > 0 && usage.SpillLoadBytes > 0, kernel.Log);
        Assert.Contains(kernel.Warnings, w => w.Contains("spill", StringComparison.OrdinalIgnoreCase));
    }

    [Fact]
    public void Compile_IgnoredSetmaxnreg_IsAWarning()
    {
        // setmaxnreg needs a known register count at entry: without launch bounds ptxas ignores it.
        const string text = """extern "C" __global__ void ignored(float* x) { asm volatile("setmaxnreg.dec.sync.aligned.u32 40;"); x[threadIdx.x] = 1.0f; }""";
        var kernel = Nvrtc.Compile(text, "sm_90a");
        Assert.Contains(kernel.Warnings, w => w.Contains("C7508") || w.Contains("setmaxnreg"));
    }

    [Fact]
    public void Compile_UnknownName_SaysWhichAndWhere()
    {
        var error = Assert.Throws<DeviceException>(() => Nvrtc.Compile("extern \"C\" __global__ void k(float* x) { x[0] = nothing_by_this_name; }", "sm_80", name: "k.cu"));
        Assert.Contains("k.cu does not compile for sm_80", error.Message);
        Assert.Contains("nothing_by_this_name", error.Message);
    }

    [Fact]
    public void SupportedCapabilities_ContainEveryTarget() =>
        Assert.Empty(new[] { 75, 80, 86, 89, 90 }.Except(Nvrtc.SupportedCapabilities()));
}
