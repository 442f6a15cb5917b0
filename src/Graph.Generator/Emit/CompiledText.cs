using Graph.Generator.IR;
using Graph.Generator.Kernels;

namespace Graph.Generator.Emit;

/// <summary>What the generator emits for one variant: the schedule, the cpu target as C#, and the kernels of every CUDA target. Equal models give equal texts.</summary>
public sealed record CompiledText(string Variant, string ScheduleText, string CpuSource, EquatableArray<TargetText> Targets);

public sealed record TargetText(string Target, EquatableArray<EmittedKernel> Kernels);
