using System;
using System.Collections.Generic;
using System.Text;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <param name="Capability">Compute capability: 90 is 9.0.</param>
/// <param name="SharedBytes">Most shared memory of one block.</param>
public sealed record GpuFacts(int Ordinal, string Name, int Capability, long TotalBytes, int Multiprocessors, int SharedBytes)
{
    /// <summary>Facts of one GPU; the driver is open.</summary>
    internal static unsafe GpuFacts Of(int ordinal)
    {
        Driver.Check(Driver.DeviceGet(out var device, ordinal), "cuDeviceGet");
        const int nameBytes = 256;
        var name = stackalloc byte[nameBytes];
        Driver.Check(Driver.DeviceGetName(name, nameBytes, device), "cuDeviceGetName");
        Driver.Check(Driver.DeviceTotalMem(out var bytes, device), "cuDeviceTotalMem");
        var text = new ReadOnlySpan<byte>(name, nameBytes);
        return new GpuFacts(ordinal, Encoding.UTF8.GetString(text[..text.IndexOf((byte)0)]), 10 * Attribute(Driver.AttributeMajor) + Attribute(Driver.AttributeMinor),
            (long)bytes, Attribute(Driver.AttributeMultiprocessors), Attribute(Driver.AttributeMaxSharedPerBlockOptin));

        int Attribute(int attribute)
        {
            Driver.Check(Driver.DeviceGetAttribute(out var value, attribute, device), "cuDeviceGetAttribute");
            return value;
        }
    }
}

/// <summary>A part that may be missing: what and where it is, or the sentence that says it is not there.</summary>
public sealed record PartFacts(string? Version, string? Path, string? Problem);

/// <summary>What of CUDA this machine has, for 'doctor'. Collecting it never throws; each thing missing is a sentence.</summary>
/// <param name="EmbeddedKernels">Cubins in this executable.</param>
public sealed record CudaFacts(PartFacts Driver, IReadOnlyList<GpuFacts> Gpus, PartFacts Nvrtc, PartFacts CublasLt, PartFacts Cache, int EmbeddedKernels)
{
    public static CudaFacts Collect()
    {
        IReadOnlyList<GpuFacts> gpus = [];
        var driver = Part(() =>
        {
            Cuda.Driver.Open();
            Cuda.Driver.Check(Cuda.Driver.DriverGetVersion(out var version), "cuDriverGetVersion");
            Cuda.Driver.Check(Cuda.Driver.DeviceGetCount(out var count), "cuDeviceGetCount");
            var found = new GpuFacts[count];
            for (var i = 0; i < count; i++) found[i] = GpuFacts.Of(i);
            gpus = found;
            return (Cuda.Driver.VersionText(version), NativeLibraries.PathOf(OperatingSystem.IsWindows() ? "nvcuda" : "libcuda.so"));
        });
        var nvrtc = Part(() => (Cuda.Nvrtc.Version(), Cuda.Nvrtc.FilePath()));
        var cublas = Part(() =>
        {
            NativeLibraries.Require(NativeLibraries.CublasLt, NativeSearch.CublasLt(Environment.GetEnvironmentVariable));
            return (Cuda.CublasLt.Version(), Cuda.CublasLt.FilePath());
        });
        var cache = Part(() => (null, KernelCache.DefaultFolder(Environment.GetEnvironmentVariable) is { } folder ? KernelCache.Open(folder).Folder : "off"));
        return new CudaFacts(driver, gpus, nvrtc, cublas, cache, CubinArchive.OfThisProcess()?.Count ?? 0);
    }

    static PartFacts Part(Func<(string? Version, string? Path)> collect)
    {
        try
        {
            var (version, path) = collect();
            return new PartFacts(version, path, null);
        }
        catch (DeviceException e)
        {
            return new PartFacts(null, null, e.Message);
        }
    }
}
