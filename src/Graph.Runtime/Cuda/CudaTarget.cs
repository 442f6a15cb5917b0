using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Which emitted texts a GPU runs, and what NVRTC makes of them. Machine code runs on later GPUs of the
/// same major capability; texts without an "a" suffix mean the same on every later GPU.
/// </summary>
/// <param name="Name">Emitted target: "sm_90a".</param>
/// <param name="Architecture">NVRTC's architecture: "sm_90a" for a cubin, "compute_80" for PTX that the driver compiles.</param>
public sealed record CudaTarget(string Name, string Architecture)
{
    /// <summary>What the target's texts store activations as.</summary>
    public ActType Act => ActOf(Name);

    public static ActType ActOf(string target) => Facts(target).HasBf16 ? ActType.Bf16 : ActType.F16;

    /// <summary>The best of the emitted targets for a GPU.</summary>
    /// <param name="emitted">Targets that the executable holds.</param>
    /// <param name="capability">Of the GPU: 90 is 9.0.</param>
    /// <param name="compilable">Capabilities that NVRTC knows; asked only when none of the emitted targets is of the GPU's major capability.</param>
    /// <exception cref="DeviceException">None of them runs on it.</exception>
    public static CudaTarget Choose(IReadOnlyList<string> emitted, int capability, Func<IReadOnlyList<int>> compilable)
    {
        var best = emitted.Where(target => RunsOn(target, capability)).OrderByDescending(Capability).FirstOrDefault()
            ?? throw new DeviceException($"cuda: this GPU has compute capability {Text(capability)}, but the kernels here are for {string.Join(", ", emitted)}; "
                + $"build with a target of {Text(capability)} or lower, or use --device cpu");
        if (Capability(best) / 10 == capability / 10) return new CudaTarget(best, best);
        return new CudaTarget(best, compilable().Contains(capability) ? $"sm_{capability}" : Virtual(best));
    }

    /// <summary>One target's texts on a GPU it was not written for, as PTX unless their machine code runs there: how every target is tested on one machine.</summary>
    /// <exception cref="DeviceException">The GPU cannot run it.</exception>
    public static CudaTarget Forced(string target, int capability) => !RunsOn(target, capability)
        ? throw new DeviceException($"cuda: kernels for {target} do not run on this GPU of compute capability {Text(capability)}")
        : new CudaTarget(target, Capability(target) / 10 == capability / 10 ? target : Virtual(target));

    /// <summary>90 → "9.0".</summary>
    public static string Text(int capability) => $"{capability / 10}.{capability % 10}";

    static bool RunsOn(string target, int capability) => Facts(target) is var facts && (facts.IsExact ? facts.Capability == capability : facts.Capability <= capability);

    static int Capability(string target) => Facts(target).Capability;

    static Target Facts(string target) =>
        Target.Find(target) ?? throw new DeviceException($"cuda: '{target}' is not a target; targets are {string.Join(", ", Target.All)}");

    static string Virtual(string target) => "compute_" + target[3..];
}
