using System;
using System.Collections.Generic;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>A function on the device and how it is launched.</summary>
internal readonly record struct LoadedKernel(KernelInfo Info, nint Function);

/// <summary>The kernels that were loaded, by name. Modules stay until the table goes: CUDA graphs refer to their code.</summary>
internal sealed class KernelTable : IDisposable
{
    readonly List<CudaModule> modules = [];
    readonly Dictionary<string, LoadedKernel> byName = [];
    readonly Dictionary<GemmForm, LoadedKernel> gemms = [];
    readonly Dictionary<(KernelKind, int Rank), LoadedKernel> ranks = [];

    /// <summary>Loads compiled texts; one text may hold several kernels. A kernel of a name that was there before takes its place.</summary>
    /// <exception cref="DeviceException">The driver refuses the code, a function is missing, or a block's shared memory is more than the GPU has.</exception>
    internal void Add(IReadOnlyList<KernelSource> sources, IReadOnlyList<CompiledKernel> compiled)
    {
        var loaded = new Dictionary<CompiledKernel, CudaModule>(ReferenceEqualityComparer.Instance);
        for (var i = 0; i < sources.Count; i++)
        {
            var info = sources[i].Info;
            if (!loaded.TryGetValue(compiled[i], out var module))
            {
                module = CudaModule.Load(compiled[i]);
                modules.Add(module);
                loaded.Add(compiled[i], module);
            }
            Driver.Check(Driver.ModuleGetFunction(out var function, module, info.Name), $"cuModuleGetFunction of {info.Name}");
            // Also makes a lazily loaded function resident now rather than inside the first step.
            Driver.Check(Driver.FunctionSetAttribute(function, Driver.FunctionMaxDynamicShared, info.SharedBytes), $"giving {info.Name} {info.SharedBytes} bytes of shared memory");
            var kernel = new LoadedKernel(info, function);
            byName[info.Name] = kernel;
            if (info.Gemm is { } form) gemms[form] = kernel;
            if (info.Rank > 0) ranks[(info.Kind, info.Rank)] = kernel;
        }
    }

    internal bool Has(string name) => byName.ContainsKey(name);

    /// <exception cref="DeviceException">No such kernel was loaded.</exception>
    internal LoadedKernel Find(string name) =>
        byName.TryGetValue(name, out var kernel) ? kernel : throw new DeviceException($"cuda: there is no kernel {name} among the {byName.Count} that were loaded");

    /// <summary>The GEMM for products of this form; null: none was loaded.</summary>
    internal LoadedKernel? Gemm(GemmForm form) => gemms.TryGetValue(form, out var kernel) ? kernel : null;

    /// <summary>The two kernels that make G and dB of adapters of one padded rank; null: there are none.</summary>
    internal (LoadedKernel Gradients, LoadedKernel Sum)? Ranks(int rank) =>
        ranks.TryGetValue((KernelKind.RankGradients, rank), out var gradients) && ranks.TryGetValue((KernelKind.RankSum, rank), out var sum) ? (gradients, sum) : null;

    public void Dispose()
    {
        foreach (var module in modules) module.Dispose();
    }
}
