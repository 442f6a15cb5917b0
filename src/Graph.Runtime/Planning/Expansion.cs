using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Inserts the recipes of dropped activations into the backward, each as late as possible: right before the first launch that reads the tensor.</summary>
public static class Expansion
{
    /// <summary>The backward with recipes inserted. Inputs of a recipe that are dropped themselves are built first; a launch that several recipes share runs once.</summary>
    /// <exception cref="ArgumentException">A decision asks for what cannot be done, in a sentence.</exception>
    public static IReadOnlyList<Launch> WithRecipes(Shapes shapes, IReadOnlyList<Launch> backward, Decisions decisions)
    {
        var recipes = shapes.Schedule.Recipes.ToDictionary(r => r.Tensor);
        var dropped = new Dictionary<string, Recipe>();
        foreach (var (tensor, action) in decisions.Actions)
        {
            // What is offloaded comes back before whatever reads it, recipes included (Transfers).
            if (action != TensorAction.Recompute) continue;
            dropped[tensor] = recipes.TryGetValue(tensor, out var recipe)
                ? recipe
                : throw new ArgumentException($"decisions: {tensor} is to be recomputed but the schedule has no recipe for it; save it.");
        }
        var result = new List<Launch>();
        var done = new HashSet<int>();
        var ready = new HashSet<string>();
        var building = new Stack<string>();
        for (var i = 0; i < backward.Count; i++)
        {
            // Recompute launches come before two launches that may be one, never between them.
            if (shapes.FusionAt(backward, i + 1) is not null) MakeReady(backward[i + 1]);
            MakeReady(backward[i]);
            result.Add(backward[i]);
        }
        return result;

        void MakeReady(Launch launch)
        {
            foreach (var read in shapes.Of(launch).Reads)
                if (!read.IsEmpty && dropped.TryGetValue(read.Tensor, out var recipe) && !ready.Contains(read.Tensor) && !building.Contains(read.Tensor))
                    Build(recipe);
        }

        // While a recipe is being built its own tensor counts as there: later launches of the recipe read what earlier ones wrote (RoPE in place, S from x).
        void Build(Recipe recipe)
        {
            building.Push(recipe.Tensor);
            foreach (var launch in recipe.Launches)
            {
                if (shapes.IsEmpty(launch) || done.Contains(launch.Id)) continue;
                MakeReady(launch);
                done.Add(launch.Id);
                result.Add(launch);
            }
            building.Pop();
            ready.Add(recipe.Tensor);
        }
    }
}
