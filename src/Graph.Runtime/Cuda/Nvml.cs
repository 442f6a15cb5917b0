using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;

namespace Graph.Runtime.Cuda;

/// <summary>
/// NVML, as far as the runtime uses it: what the processes of a GPU take. Nothing here throws: without the library, or without the right to ask, there is no answer.
/// </summary>
internal static unsafe partial class Nvml
{
    const string Lib = NativeLibraries.NvmlName;
    const int MostProcesses = 256;

    /// <summary>nvmlProcessInfo_t of nvml.h, 24 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    readonly struct ProcessInfo
    {
        public readonly uint Process;
        public readonly ulong Bytes;
        public readonly uint GpuInstance, ComputeInstance;
    }

    static Nvml() => NativeLibraries.Register();

    /// <summary>The GPU with this PCI address, or 0.</summary>
    internal static nint Device(ReadOnlySpan<byte> pciBusId)
    {
        if (NativeLibraries.Nvml.Value == 0 || Init() != 0) return 0;
        fixed (byte* id = pciBusId) return DeviceByPciBusId(id, out var device) == 0 ? device : 0;
    }

    /// <summary>Bytes per process that computes on the GPU; null: it is not said. Inside a container the numbers of processes may be those of the machine.</summary>
    internal static IReadOnlyDictionary<uint, long>? Processes(nint device)
    {
        if (device == 0) return null;
        var infos = stackalloc ProcessInfo[MostProcesses];
        uint count = MostProcesses;
        if (ComputeRunningProcesses(device, &count, infos) != 0) return null;
        var found = new Dictionary<uint, long>();
        for (var i = 0; i < count; i++)
            // All bits set: the driver does not say.
            if (infos[i].Bytes != ulong.MaxValue) found[infos[i].Process] = (long)infos[i].Bytes;
        return found;
    }

    [LibraryImport(Lib, EntryPoint = "nvmlInit_v2")] private static partial int Init();
    [LibraryImport(Lib, EntryPoint = "nvmlDeviceGetHandleByPciBusId_v2")] private static partial int DeviceByPciBusId(byte* id, out nint device);
    [LibraryImport(Lib, EntryPoint = "nvmlDeviceGetComputeRunningProcesses_v3")] private static partial int ComputeRunningProcesses(nint device, uint* count, ProcessInfo* infos);
}
