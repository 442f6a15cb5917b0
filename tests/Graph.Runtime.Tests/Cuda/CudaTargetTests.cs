using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class CudaTargetTests
{
    static readonly string[] All = [.. Target.All.Select(t => t.Name)];

    static readonly Func<IReadOnlyList<int>> Unasked = () => throw new InvalidOperationException("NVRTC was asked although machine code of the target runs here");

    [Theory]
    [InlineData(75, "sm_75")]
    [InlineData(80, "sm_80")]
    [InlineData(86, "sm_86")]
    [InlineData(87, "sm_86")]
    [InlineData(89, "sm_89")]
    [InlineData(90, "sm_90a")]
    public void Choose_AllTargets_TakesTheNearestOfTheFamily(int capability, string target) =>
        Assert.Equal(new CudaTarget(target, target), CudaTarget.Choose(All, capability, Unasked));

    [Theory]
    [InlineData(120, "sm_89", "sm_120")]
    [InlineData(110, "sm_89", "compute_89")]
    public void Choose_LaterFamily_CompilesTheTextForItOrLeavesThatToTheDriver(int capability, string target, string architecture) =>
        Assert.Equal(new CudaTarget(target, architecture), CudaTarget.Choose(All, capability, () => [75, 80, 90, 120]));

    [Theory]
    [InlineData(70, "sm_75")]
    [InlineData(80, "sm_90a")]
    [InlineData(100, "sm_90a")]
    public void Choose_NothingThatRuns_IsASentence(int capability, string emitted)
    {
        var error = Assert.Throws<DeviceException>(() => CudaTarget.Choose([emitted], capability, Unasked));
        Assert.Contains(CudaTarget.Text(capability), error.Message);
        Assert.Contains(emitted, error.Message);
    }

    [Fact]
    public void Forced_OlderTargetOnNewerGpu_IsPtx()
    {
        Assert.Equal(new CudaTarget("sm_80", "compute_80"), CudaTarget.Forced("sm_80", 90));
        Assert.Equal(new CudaTarget("sm_75", "compute_75"), CudaTarget.Forced("sm_75", 90));
        Assert.Equal(new CudaTarget("sm_80", "sm_80"), CudaTarget.Forced("sm_80", 86));
        Assert.Contains("do not run", Assert.Throws<DeviceException>(() => CudaTarget.Forced("sm_90a", 89)).Message);
        Assert.Contains("not a target", Assert.Throws<DeviceException>(() => CudaTarget.Forced("hopper", 90)).Message);
    }

    [Fact]
    public void Act_BeforeAmpere_IsHalf() =>
        Assert.Equal([ActType.F16, ActType.Bf16, ActType.Bf16, ActType.Bf16, ActType.Bf16], Target.All.Select(t => new CudaTarget(t.Name, t.Name).Act));

    [Theory]
    [InlineData(1, 128, 1)]
    [InlineData(128, 128, 1)]
    [InlineData(129, 128, 2)]
    [InlineData(8192, int.MaxValue, 1)]
    [InlineData(int.MaxValue, 1, int.MaxValue)]
    public void Blocks_CoverTheExtent(int extent, int tile, int blocks) => Assert.Equal(blocks, Launcher.Blocks(extent, tile));

    [Theory]
    [InlineData(256, 256)]
    [InlineData(512 + 32, 32)]
    [InlineData(7, 1)]
    [InlineData(1L << 40, 256)]
    public void Alignment_OfAddress_IsAtMost256(long address, int alignment) => Assert.Equal(alignment, GemmShape.Alignment((nint)address));

    [Fact]
    public unsafe void MatmulHeuristic_HasTheHeadersLayout()
    {
        Assert.Equal(64, sizeof(MatmulAlgorithm));
        Assert.Equal(96, sizeof(MatmulHeuristic));
        var result = default(MatmulHeuristic);
        Assert.Equal(64, (int)((byte*)&result.WorkspaceBytes - (byte*)&result));
        Assert.Equal(72, (int)((byte*)&result.State - (byte*)&result));
        Assert.Equal(76, (int)((byte*)&result.Waves - (byte*)&result));
    }

    [Fact]
    public void Copy2DArguments_HasTheHeadersLayout()
    {
        Assert.Equal(128, Unsafe.SizeOf<Copy2DArguments>());
        Assert.Equal(24, (int)Marshal.OffsetOf<Copy2DArguments>(nameof(Copy2DArguments.SourceHost)));
        Assert.Equal(72, (int)Marshal.OffsetOf<Copy2DArguments>(nameof(Copy2DArguments.DestinationType)));
        Assert.Equal(120, (int)Marshal.OffsetOf<Copy2DArguments>(nameof(Copy2DArguments.Height)));
    }

    [Fact]
    public void Collect_OnAnyMachine_NamesEveryPartOrItsProblem()
    {
        var facts = CudaFacts.Collect();
        foreach (var part in new[] { facts.Driver, facts.Nvrtc, facts.CublasLt, facts.Cache }) Assert.True(part.Problem is null ? part.Path is not null : part.Problem.Length > 20);
        Assert.NotNull(facts.Nvrtc.Version);
        Assert.Equal(facts.Driver.Problem is not null, facts.Gpus.Count == 0);
    }
}
