using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// What a kernel computes, apart from the tensors it is given. A family of kernels is a record of this type with a folder of its own, which has all there is to
/// know of it: facts for the schedule, CUDA C for every target, the C# of the CPU target, tiles and templates.
/// </summary>
public abstract record KernelBody
{
    public abstract KernelKind Kind { get; }

    /// <summary>What attention's cost and memory depend on; null for other families.</summary>
    public virtual AttentionFacts? Attention => null;

    /// <summary>Bodies with equal keys are one kernel.</summary>
    internal virtual KernelBody Key() => this;

    /// <summary>Expressions that were traced from the model, for the functions that their text calls.</summary>
    internal abstract IEnumerable<Expr> Expressions { get; }

    /// <summary>CUDA C: the kernel, and those that a device may run instead of it.</summary>
    internal abstract IEnumerable<EmittedKernel> Cuda(Target target, Kernel kernel);

    /// <summary>The CPU target's kernel.</summary>
    internal abstract CpuKernel Cpu(Kernel kernel);
}

/// <summary>
/// One kernel: its name, what it computes, the tensors of its first launch and what was fused there (for its header), how often it is launched and by which layers.
/// </summary>
/// <param name="Layers">In order, recomputations too; -1: outside of the layers.</param>
/// <param name="Forward">No launch of it is part of the backward; building an activation again is not.</param>
public sealed record Kernel(string Name, KernelBody Body, EquatableArray<View> FirstArguments, FusedOps Fused, int Launches, EquatableArray<int> Layers, bool Forward = false);

/// <summary>The kernels of a model, and which one a body is.</summary>
public sealed class SharedKernels(IReadOnlyList<Kernel> kernels, IReadOnlyDictionary<KernelBody, int> index)
{
    // A key is a copy of the body, so it is made once for each.
    readonly Dictionary<object, Kernel> _known = new(ReferenceComparer.Instance);

    public IReadOnlyList<Kernel> All => kernels;

    public Kernel Of(KernelBody body)
    {
        if (!_known.TryGetValue(body, out var kernel)) _known[body] = kernel = kernels[index[body.Key()]];
        return kernel;
    }

    public string Name(KernelBody body) => Of(body).Name;
}

/// <summary>A kernel's launch facts and its text in parts (<see cref="KernelText"/>).</summary>
public sealed record EmittedKernel(KernelInfo Info, EquatableArray<string> Parts);

/// <summary>A kernel as C#.</summary>
/// <param name="Entry">An expression that converts to the runtime's CpuKernel delegate.</param>
/// <param name="SplitRows">Threads may share the rows; false: the kernel needs all of them and shares its work itself.</param>
/// <param name="Members">Methods and types that the entry names.</param>
public sealed record CpuKernel(string Entry, bool SplitRows, string Members);
