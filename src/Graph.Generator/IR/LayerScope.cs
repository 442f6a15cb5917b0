using System;
using System.Linq;

namespace Graph.Generator.IR;

/// <summary>Decoder layers in scope paths: exactly the two segments "layers.N".</summary>
public static class LayerScope
{
    const string Prefix = "layers.";
    const int MaxDigits = 6;

    /// <summary>N of "layers.N", or -1 where there is no such pair of segments.</summary>
    public static int Of(string scope)
    {
        for (var at = scope.IndexOf(Prefix, StringComparison.Ordinal); at >= 0; at = scope.IndexOf(Prefix, at + 1, StringComparison.Ordinal))
        {
            var (start, end, layer) = (at + Prefix.Length, at + Prefix.Length, 0);
            for (; end < scope.Length && end - start < MaxDigits && scope[end] is >= '0' and <= '9'; end++) layer = layer * 10 + (scope[end] - '0');
            if ((at == 0 || scope[at - 1] == '.') && end > start && (end == scope.Length || scope[end] == '.')) return layer;
        }
        return -1;
    }

    /// <summary>
    /// The part of a scope that looks like a layer although the scope is in none ("layer.0", "layers0", "layers.x", "sublayers.1", "blocks.2"); null where
    /// nothing does.
    /// </summary>
    public static string? Lookalike(string scope)
    {
        if (Of(scope) >= 0) return null;
        var segments = scope.Split('.');
        for (var i = 0; i < segments.Length; i++)
        {
            var word = segments[i].TrimEnd('0', '1', '2', '3', '4', '5', '6', '7', '8', '9').TrimEnd('_', '-');
            if (!new[] { "layer", "layers", "block", "blocks" }.Any(end => word.EndsWith(end, StringComparison.OrdinalIgnoreCase))) continue;
            if (word.Length < segments[i].Length) return segments[i];
            var next = i + 1 < segments.Length ? segments[i + 1] : "";
            if (next.Length > 0 && (word == "layers" || next.All(c => c is >= '0' and <= '9'))) return word + "." + next;
        }
        return null;
    }
}
