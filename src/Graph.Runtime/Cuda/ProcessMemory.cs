using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Runtime.Cuda;

/// <summary>
/// What this process takes on a GPU. NVML says it by process; where it does not (no library, a container that hides process numbers),
/// it is counted: a reserve for the context, allocations as the driver gives them out,
/// and for what the driver takes by itself (modules, graphs) the memory that was free before and after.
/// </summary>
internal sealed class ProcessMemory
{
    /// <summary>For the context where nothing says what it takes: an upper end of what contexts of these drivers took.</summary>
    const long ContextReserve = 640L << 20;

    readonly nint device;
    readonly HashSet<uint> before;
    uint? process;
    long counted = ContextReserve;

    /// <param name="pciBusId">"0000:3b:00.0", ended by a zero.</param>
    /// <remarks>Made before the context: a process that is not in the list yet is ours.</remarks>
    internal ProcessMemory(ReadOnlySpan<byte> pciBusId)
    {
        device = Nvml.Device(pciBusId);
        before = [.. Nvml.Processes(device)?.Keys ?? []];
    }

    /// <summary>To be called once the context is there.</summary>
    internal void Opened()
    {
        if (Nvml.Processes(device) is not { } now) return;
        var own = (uint)Environment.ProcessId;
        // Under another number than our own, in a container: the only one that is new.
        var others = now.Keys.Where(p => !before.Contains(p)).ToArray();
        process = now.ContainsKey(own) ? own : others.Length == 1 ? others[0] : null;
    }

    /// <summary>NVML says it by process.</summary>
    internal bool IsMeasured => process is not null;

    /// <summary>Runs what makes the driver take memory by itself.</summary>
    internal T Count<T>(Func<T> work, Func<long> free, Func<long> allocated)
    {
        if (process is not null) return work();
        var (freeBefore, allocatedBefore) = (free(), allocated());
        var result = work();
        counted += Math.Max(0, freeBefore - free() - (allocated() - allocatedBefore));
        return result;
    }

    /// <param name="allocated">Bytes of the process's allocations, as the driver gave them out.</param>
    internal long Taken(long allocated) => process is { } p && Nvml.Processes(device) is { } now && now.TryGetValue(p, out var bytes) ? bytes : counted + allocated;
}
