using System;
using System.IO;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Planning;

namespace Graph.Runtime.Execution;

/// <summary>A device's profile, measured on it once for each device and driver and kept beside the compiled kernels.</summary>
public static class DeviceMeasurement
{
    /// <summary>Device memory for the measurement: three matrices of 8,192² and a copy.</summary>
    const long ScratchBytes = 512L << 20;

    const long CopyBytes = 64L << 20;

    /// <summary>The profile of a device whose kernels are loaded. A CPU is not measured: only the order of plans depends on it.</summary>
    /// <param name="folder">Where measured profiles are kept; null: nowhere.</param>
    public static DeviceProfile Of(IDevice device, string? folder)
    {
        if (device.Info.Target == "cpu") return DeviceProfile.Cpu(device.Info.TotalBytes, Environment.ProcessorCount);
        var file = folder is null ? null : Path.Combine(folder, $"device-{Key(device.Info)}.json");
        if (file is null || Read(file) is not { } rates)
        {
            rates = Measure(device);
            if (file is not null) Write(file, rates);
        }
        // What the process takes now is there before the plan; the workspace is among it.
        return new DeviceProfile(device.Info.Name, device.Act, device.Info.TotalBytes, device.Info.Multiprocessors, rates.Tflops, rates.Gbps,
            3, rates.ToDevice, rates.ToHost, device.TakenBytes - Footprint.WorkspaceBytes);
    }

    readonly record struct Rates(double Tflops, double Gbps, double ToDevice, double ToHost);

    static Rates Measure(IDevice device)
    {
        var bytes = Math.Min(ScratchBytes, device.FreeBytes / 2 / Arena.Alignment * Arena.Alignment);
        var scratch = device.Allocate(bytes);
        try
        {
            var limits = DeviceLimits.Measure(device, scratch, bytes);
            using var host = device.AllocateHost(CopyBytes);
            var copied = Math.Min(CopyBytes, bytes);
            var (to, from) = (DeviceLimits.Best(device, new BoundCopy("to device", scratch, host.Address, copied)), DeviceLimits.Best(device,
                new BoundCopy("to host", host.Address, scratch, copied)));
            return new Rates(limits.Tflops, limits.Gbps, copied / to / 1e6, copied / from / 1e6);
        }
        finally
        {
            device.Free(scratch);
        }
    }

    static string Key(DeviceInfo info) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{info.Name}\n{info.Target}\n{info.Multiprocessors}\n{info.Driver}")))[..16];

    // A file that is not there or damaged is measured again.
    static Rates? Read(string file)
    {
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(file));
            var root = json.RootElement;
            var rates = new Rates(Number("tflops"), Number("gbps"), Number("to_device_gbps"), Number("to_host_gbps"));
            return rates is { Tflops: > 0, Gbps: > 0, ToDevice: > 0, ToHost: > 0 } ? rates : null;

            double Number(string name) => root.TryGetProperty(name, out var value) && value.TryGetDouble(out var number) ? number : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    static void Write(string file, Rates rates)
    {
        try
        {
            var cache = KernelCache.Open(Path.GetDirectoryName(file)!);
            using var stream = new MemoryStream();
            using (var json = new Utf8JsonWriter(stream))
            {
                json.WriteStartObject();
                json.WriteNumber("tflops", rates.Tflops);
                json.WriteNumber("gbps", rates.Gbps);
                json.WriteNumber("to_device_gbps", rates.ToDevice);
                json.WriteNumber("to_host_gbps", rates.ToHost);
                json.WriteEndObject();
            }
            // By rename, so that a reader sees a whole file.
            var aside = Path.Combine(cache.Folder, $"{Guid.NewGuid():N}.partial");
            File.WriteAllBytes(aside, stream.ToArray());
            File.Move(aside, file, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or DeviceException)
        {
            // Measured again next time.
        }
    }
}
