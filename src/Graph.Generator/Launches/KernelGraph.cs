using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Generator.IR;
using Graph.Generator.Kernels;
using Graph.Generator.Schedules;

namespace Graph.Generator.Launches;

/// <summary>One launch before kernels have names. Fused: told for the first launch of a kernel only, whose header has it.</summary>
public abstract record Step(int Layer, bool Backward);

public sealed record GemmStep(int Layer, bool Backward, GemmLayout Layout, View D, EquatableArray<GemmSegment> Segments, ScaleFactor Scale,
    bool Accumulate) : Step(Layer, Backward);

public sealed record KernelStep(int Layer, bool Backward, KernelBody Body, string Label, EquatableArray<View> Arguments, int Outputs, int InPlace, Lazy<FusedOps> Fused)
    : Step(Layer, Backward);

public sealed record LossStep(int Layer, CrossEntropyBody Body, View? DX, View? DTable, View Loss, View X, View Table, Lazy<FusedOps> Fused) : Step(Layer, false);

/// <summary>A dropped activation's steps.</summary>
public sealed record StepRecipe(string Tensor, IReadOnlyList<Step> Steps);

/// <summary>A graph in kernels: tensors placed in memory, steps in order.</summary>
public sealed record KernelGraph(IReadOnlyList<AdapterSet> Adapters, IReadOnlyList<ScheduleTensor> Tensors, IReadOnlyList<Step> Steps, IReadOnlyList<StepRecipe> Recipes)
{
    public IEnumerable<(Step First, Step Second)> Neighbours() => Steps.Zip(Steps.Skip(1), (a, b) => (a, b));

    /// <summary>What a step writes; what it adds to, too.</summary>
    public static IEnumerable<View> Writes(Step step) => step switch
    {
        GemmStep g => new[] { g.D },
        KernelStep k => k.Arguments.Take(k.Outputs),
        LossStep l => new[] { l.DX, l.DTable, l.Loss }.OfType<View>(),
        _ => throw new InvalidOperationException("launches: unknown step " + step.GetType().Name),
    };
}

/// <summary>
/// Two steps that one kernel can do; Second null: the product of the logits with the sums that its loss starts from, and FromSums, what is then left of the
/// loss.
/// </summary>
/// <param name="Places">Where the second step's arguments are the product (<see cref="EpilogueFusion"/>).</param>
public sealed record FusedSteps(Step First, Step? Second, string Kernel, EquatableArray<int> Places, string FromSums);
