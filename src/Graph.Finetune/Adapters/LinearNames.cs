using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Finetune.Adapters;

/// <summary>Parts of a linear's name, such as model.layers.3.self_attn.q_proj.</summary>
static class LinearNames
{
    /// <summary>q_proj</summary>
    public static string Last(string linear) => linear[(linear.LastIndexOf('.') + 1)..];

    /// <summary>The number behind "layers"; null: there is none.</summary>
    public static int? Layer(string linear)
    {
        var parts = linear.Split('.');
        var at = Array.IndexOf(parts, "layers");
        return at >= 0 && at + 1 < parts.Length && int.TryParse(parts[at + 1], out var layer) ? layer : null;
    }

    /// <summary>
    /// A list that names just these of all linears: last names where all of a name are among them, else whole names, because a last name would mean every layer's.
    /// </summary>
    public static IReadOnlyList<string> Naming(IReadOnlySet<string> chosen, IReadOnlyCollection<string> all)
    {
        var whole = all.GroupBy(Last).ToDictionary(g => g.Key, g => g.All(chosen.Contains));
        return [.. all.Where(chosen.Contains).Select(l => whole[Last(l)] ? Last(l) : l).Distinct()];
    }
}
