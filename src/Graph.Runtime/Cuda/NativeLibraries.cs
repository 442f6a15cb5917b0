using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>The libraries behind the bindings of this folder. Each is looked for once, when it is first needed; nothing is loaded before.</summary>
internal static class NativeLibraries
{
    /// <summary>Names the bindings import from; the resolver below turns them into what the searches found.</summary>
    internal const string DriverName = "graph-cuda", NvrtcName = "graph-nvrtc", CublasLtName = "graph-cublaslt", NvmlName = "graph-nvml";

    internal static readonly Lazy<nint> Driver = new(() => Load(NativeSearch.Driver()));
    internal static readonly Lazy<nint> Nvrtc = new(() => Load(NativeSearch.Nvrtc(Environment.GetEnvironmentVariable)));
    internal static readonly Lazy<nint> Nvml = new(() => Load(NativeSearch.Nvml()));
    internal static readonly Lazy<nint> CublasLt = new(() => Load(NativeSearch.CublasLt(Environment.GetEnvironmentVariable)));

    static NativeLibraries() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, Resolve);

    /// <summary>Called by the bindings' static constructors: the resolver stands before their first call.</summary>
    internal static void Register() { }

    static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path) => name switch
    {
        DriverName => Driver.Value,
        NvrtcName => Nvrtc.Value,
        CublasLtName => CublasLt.Value,
        NvmlName => Nvml.Value,
        _ => 0,
    };

    /// <summary>Handle of the first candidate that loads, or 0.</summary>
    internal static nint Load(NativeSearch search)
    {
        foreach (var candidate in search.Candidates)
        {
            var folder = Path.GetDirectoryName(candidate);
            if (!string.IsNullOrEmpty(folder))
            {
                if (!File.Exists(candidate)) continue;
                if (search.Companions is not null)
                    foreach (var companion in Directory.EnumerateFiles(folder, search.Companions).Order(StringComparer.Ordinal)) NativeLibrary.TryLoad(companion, out _);
            }
            if (NativeLibrary.TryLoad(candidate, out var handle)) return handle;
        }
        return 0;
    }

    /// <exception cref="DeviceException">The library is not there.</exception>
    internal static void Require(Lazy<nint> library, NativeSearch search)
    {
        if (library.Value == 0) throw new DeviceException(search.Missing);
    }

    /// <summary>File that a loaded library came from, found among the process's modules by the start of its name; null when it is not loaded.</summary>
    internal static string? PathOf(string namePrefix)
    {
        using var process = Process.GetCurrentProcess();
        return process.Modules.Cast<ProcessModule>().Select(m => m.FileName)
            .FirstOrDefault(file => file is not null && Path.GetFileName(file).StartsWith(namePrefix, StringComparison.OrdinalIgnoreCase));
    }
}
