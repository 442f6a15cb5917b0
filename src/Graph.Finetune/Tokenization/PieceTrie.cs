using System;
using System.Collections.Generic;

namespace Graph.Finetune.Tokenization;

/// <summary>The longest of a set of strings that a text begins with.</summary>
sealed class PieceTrie
{
    readonly Dictionary<(int Node, char Next), int> edges = [];
    readonly HashSet<int> ends = [];

    public PieceTrie(IEnumerable<string> strings)
    {
        foreach (var s in strings)
        {
            var node = 0;
            foreach (var c in s)
            {
                if (!edges.TryGetValue((node, c), out var next)) edges[(node, c)] = next = edges.Count + 1;
                node = next;
            }
            ends.Add(node);
        }
    }

    /// <summary>Length of the longest string at the start of <paramref name="text"/>, or 0.</summary>
    public int LongestPrefix(ReadOnlySpan<char> text)
    {
        var (node, longest) = (0, 0);
        for (var i = 0; i < text.Length && edges.TryGetValue((node, text[i]), out node); i++)
        {
            if (ends.Contains(node)) longest = i + 1;
        }
        return longest;
    }
}
