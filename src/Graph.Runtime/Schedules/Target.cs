using System;
using System.Collections.Generic;
using System.Linq;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// A CUDA target: what the compiler may use of the GPUs that run its texts. Tiles are chosen by these facts, so a target that differs from another one in
/// nothing else needs no tile of its own.
/// </summary>
/// <param name="Name">NVRTC's architecture, for example "sm_80". Texts mean the same on every later GPU, those of a name that ends in "a" on that capability alone.</param>
/// <param name="Capability">90 is 9.0.</param>
/// <param name="SharedKilobytes">Dynamic shared memory that a block may have.</param>
/// <param name="HasBf16">Arithmetic on bf16; else activations are fp16.</param>
/// <param name="HasAsyncCopies">cp.async: copies to shared memory that do not pass through registers.</param>
/// <param name="HasWgmma">wgmma, TMA and setmaxnreg: kernels whose warpgroups are producers and consumers.</param>
public sealed record Target(string Name, int Capability, int SharedKilobytes, bool HasBf16, bool HasAsyncCopies, bool HasWgmma)
{
    /// <summary>Every target that the compiler can emit.</summary>
    public static IReadOnlyList<Target> All { get; } = new[]
    {
        new Target("sm_75", 75, 64, HasBf16: false, HasAsyncCopies: false, HasWgmma: false),
        new Target("sm_80", 80, 163, HasBf16: true, HasAsyncCopies: true, HasWgmma: false),
        new Target("sm_86", 86, 99, HasBf16: true, HasAsyncCopies: true, HasWgmma: false),
        new Target("sm_89", 89, 99, HasBf16: true, HasAsyncCopies: true, HasWgmma: false),
        new Target("sm_90a", 90, 227, HasBf16: true, HasAsyncCopies: true, HasWgmma: true),
    };

    /// <summary>Null: there is no such target.</summary>
    public static Target? Find(string name) => All.FirstOrDefault(t => t.Name == name);

    /// <exception cref="ArgumentException">There is no such target.</exception>
    public static Target Named(string name) =>
        Find(name) ?? throw new ArgumentException("'" + name + "' is not a target; targets are " + string.Join(", ", All.Select(t => t.Name)));

    /// <summary>The texts run on that capability alone.</summary>
    public bool IsExact => Name[Name.Length - 1] == 'a';

    public override string ToString() => Name;
}
