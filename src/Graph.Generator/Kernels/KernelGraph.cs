using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>One launch before kernels have names. Fused: told for the first launch of a kernel only, whose header has it.</summary>
public abstract record Step(int Layer, bool Backward);

public sealed record GemmStep(int Layer, bool Backward, GemmLayout Layout, View D, EquatableArray<GemmSegment> Segments, ScaleFactor Scale, bool Accumulate) : Step(Layer, Backward);

public sealed record KernelStep(int Layer, bool Backward, KernelBody Body, string Label, EquatableArray<View> Arguments, int Outputs, int InPlace, Lazy<FusedOps> Fused)
    : Step(Layer, Backward);

public sealed record LossStep(int Layer, CrossEntropyBody Body, View? DX, View Loss, View X, View Table, Lazy<FusedOps> Fused) : Step(Layer, false);

/// <summary>A dropped activation's steps.</summary>
public sealed record StepRecipe(string Tensor, IReadOnlyList<Step> Steps);

/// <summary>A graph in kernels: tensors placed in memory, steps in order.</summary>
public sealed record KernelGraph(IReadOnlyList<AdapterSet> Adapters, IReadOnlyList<ScheduleTensor> Tensors, IReadOnlyList<Step> Steps, IReadOnlyList<StepRecipe> Recipes)
{
    public IEnumerable<(Step First, Step Second)> Neighbours() => Steps.Zip(Steps.Skip(1), (a, b) => (a, b));
}
