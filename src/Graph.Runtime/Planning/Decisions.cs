using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>What happens to an activation between forward and backward.</summary>
public enum TensorAction { Save, Recompute, Offload }

/// <summary>One action per activation; tensors that are not named are saved. Every choice trains to the same bits: a recipe repeats the launches that made the tensor.</summary>
public sealed record Decisions(string Name, IReadOnlyDictionary<string, TensorAction> Actions)
{
    public static Decisions None { get; } = new("none", new Dictionary<string, TensorAction>());

    public TensorAction this[string tensor] => Actions.GetValueOrDefault(tensor);

    /// <summary>
    /// Drops what costs almost nothing to build again: activations whose recipe has no attention and no GEMM but those on the rank side (S = s·x·Aᵀ). Boundary tensors stay,
    /// or the residual stream would be rebuilt from the first layer up.
    /// </summary>
    public static Decisions Cheap(Shapes shapes) => Recompute("cheap", shapes, recipe => recipe.Launches.All(l => IsCheap(shapes, l)));

    /// <summary>Keeps the layers' inputs and statistics of at most 64 bytes per token, which save no memory worth a launch; rebuilds everything else.</summary>
    public static Decisions Full(Shapes shapes) => Recompute("full", shapes, recipe => shapes[recipe.Tensor].BytesPerToken > 64);

    /// <param name="name">none, cheap or full.</param>
    /// <exception cref="ArgumentException">Another name.</exception>
    public static Decisions Named(string name, Shapes shapes) => name switch
    {
        "none" => None,
        "cheap" => Cheap(shapes),
        "full" => Full(shapes),
        _ => throw new ArgumentException($"recompute: '{name}' is not a list of decisions; use none, cheap or full."),
    };

    static Decisions Recompute(string name, Shapes shapes, Func<Recipe, bool> choose) =>
        new(name, shapes.Schedule.Recipes.Where(r => !shapes[r.Tensor].Tensor.Boundary && choose(r)).ToDictionary(r => r.Tensor, _ => TensorAction.Recompute));

    static bool IsCheap(Shapes shapes, Launch launch) => launch switch
    {
        GemmLaunch g => shapes[g.D.Tensor].Tensor.Dims is [{ Stack: >= 0 }],
        KernelLaunch k => k.Attention is null,
        CrossEntropyLaunch => false,
        _ => throw new ArgumentException($"decisions: unknown launch {launch.GetType().Name}."),
    };
}
