using System;
using System.Collections.Generic;
using Graph.Runtime.Schedules;

namespace Graph.Runtime;

/// <summary>One emitted kernel for one target: how it is launched, and its whole CUDA C text (prelude included).</summary>
public sealed record KernelSource(KernelInfo Info, string Text);

/// <summary>The kernels a model needs on one target, for example "sm_90a".</summary>
public sealed record TargetKernels(string Target, IReadOnlyList<KernelSource> Kernels);

/// <summary>A row kernel on the CPU: fp32, over <paramref name="rows"/> rows that start at the arguments' addresses. Safe to call for disjoint row ranges at once.</summary>
public delegate void CpuKernel(ReadOnlySpan<CpuView> arguments, int rows);

/// <summary>
/// An emitted CPU kernel. SplitRows: rows are independent, so the device may run row ranges on several
/// threads; false for kernels that read other rows (attention), which split themselves.
/// </summary>
public sealed record CpuKernelEntry(CpuKernel Run, bool SplitRows);

/// <summary>Address of an argument's first element and its pitch in elements (0 where the tensor has one dimension).</summary>
public readonly unsafe struct CpuView(nint address, int pitch)
{
    public int Pitch => pitch;
    public float* Floats => (float*)address;
    public int* Ints => (int*)address;
    public float* Row(int row) => (float*)address + (long)row * pitch;
}

/// <summary>
/// What the generator makes of one [GraphModel] class. Created by generated code only; everything heavy is behind a function so that listing variants costs nothing.
/// </summary>
/// <param name="Name">Variant name, for example "9b".</param>
/// <param name="Schedule">The schedule's text (<see cref="ScheduleText"/>).</param>
/// <param name="Targets">Names of the CUDA targets that were emitted.</param>
/// <param name="Kernels">Kernels of one of these targets.</param>
/// <param name="CpuKernels">Emitted C# by kernel name.</param>
/// <param name="Config">Fields that a checkpoint's config.json must have, in Hugging Face's names, with their values (int, double, bool, string, null, int[] or string[]).</param>
/// <param name="Changes">In what the model differs from its checkpoint on purpose; null: in nothing.</param>
public sealed record CompiledModel(
    string Name,
    Func<string> Schedule,
    IReadOnlyList<string> Targets,
    Func<string, TargetKernels> Kernels,
    Func<IReadOnlyDictionary<string, CpuKernelEntry>> CpuKernels,
    Func<IReadOnlyList<KeyValuePair<string, object?>>> Config,
    Func<CheckpointChanges>? Changes = null);

/// <summary>
/// In what a model differs from its checkpoint. Declared: fields of config.json that may differ, tensors that the model leaves out (names with dots, where *
/// stands for any text), overridden members.
/// Overrides: members of base classes that the model overrides while it inherits their config, as "DecoderLayer.Mlp"; a checkpoint cannot confirm them.
/// </summary>
public sealed record CheckpointChanges(IReadOnlyList<string> Declared, IReadOnlyList<string> Overrides);
