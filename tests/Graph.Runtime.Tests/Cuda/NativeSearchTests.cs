using System;
using System.Collections.Generic;
using System.IO;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Xunit;

namespace Graph.Runtime.Tests.Cuda;

public sealed class NativeSearchTests
{
    static Func<string, string?> Environment(params (string Name, string Value)[] set) => name =>
    {
        foreach (var (key, value) in set) if (key == name) return value;
        return null;
    };

    [Fact]
    public void Nvrtc_PlainEnvironment_NewestFirstThenToolkit()
    {
        if (OperatingSystem.IsWindows()) return;
        Assert.Equal(["libnvrtc.so.13", "/usr/local/cuda/lib64/libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so.12"],
            NativeSearch.Nvrtc(Environment()).Candidates);
        Assert.Equal(["libnvrtc.so.13", "/c/lib64/libnvrtc.so.13", "libnvrtc.so.12", "/c/lib64/libnvrtc.so.12"], NativeSearch.Nvrtc(Environment(("CUDA_PATH", "/c"))).Candidates);
    }

    [Fact]
    public void Nvrtc_OwnVariable_IsTheOnlyPlace()
    {
        if (OperatingSystem.IsWindows()) return;
        Assert.Equal(["/n/libnvrtc.so.13", "/n/libnvrtc.so.12"], NativeSearch.Nvrtc(Environment(("GRAPH_NVRTC", "/n"), ("CUDA_PATH", "/c"))).Candidates);
        var file = Path.GetTempFileName();
        Assert.Equal([file], NativeSearch.CublasLt(Environment(("GRAPH_CUBLASLT", file))).Candidates);
        File.Delete(file);
    }

    [Fact]
    public void Missing_Nvrtc_NamesWhatWasLookedForAndWhatToDo()
    {
        var search = NativeSearch.Nvrtc(Environment(("GRAPH_NVRTC", "/nowhere")));
        Assert.Equal(0, NativeLibraries.Load(search));
        var error = Assert.Throws<DeviceException>(() => NativeLibraries.Require(new Lazy<nint>(() => NativeLibraries.Load(search)), search));
        foreach (var part in search.Candidates) Assert.Contains(part, error.Message);
        Assert.Contains("GRAPH_NVRTC", error.Message);
        Assert.Contains("'compile'", error.Message);
    }

    [Fact]
    public void Load_FileThatIsNoLibrary_GoesOnToTheNext()
    {
        var folder = Directory.CreateTempSubdirectory("graph-search-").FullName;
        var fake = Path.Combine(folder, "libnothing.so");
        File.WriteAllText(fake, "not a library");
        var real = OperatingSystem.IsWindows() ? "kernel32.dll" : "libc.so.6";
        Assert.Equal(0, NativeLibraries.Load(new NativeSearch("x", [fake, Path.Combine(folder, "absent.so")], null, "")));
        Assert.NotEqual(0, NativeLibraries.Load(new NativeSearch("x", [fake, real], null, "")));
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void Driver_NotInstalled_IsASentence()
    {
        Assert.Contains("no NVIDIA driver (", Driver.NoDriver);
        Assert.Contains("--device cpu", Driver.NoDriver);
        // Only where there is no driver can opening it be seen to fail.
        if (NativeLibraries.Driver.Value == 0) Assert.Equal(Driver.NoDriver, Assert.Throws<DeviceException>(Driver.Open).Message);
        else Driver.Open();
    }

    [Theory]
    [InlineData(12040, "12.4")]
    [InlineData(13000, "13.0")]
    public void VersionText_OfDriverNumber(int number, string text) => Assert.Equal(text, Driver.VersionText(number));
}
