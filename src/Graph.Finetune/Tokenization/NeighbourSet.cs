using System.Collections.Generic;

namespace Graph.Finetune.Tokenization;

/// <summary>The pairs of UTF-16 units that stand side by side in at least one of many strings.</summary>
sealed class NeighbourSet
{
    readonly ulong[] ofBytes = new ulong[(1 << 16) / 64];
    readonly HashSet<uint> others = [];

    public NeighbourSet(IEnumerable<string> strings)
    {
        foreach (var s in strings)
        {
            for (var i = 1; i < s.Length; i++)
            {
                if ((s[i - 1] | s[i]) < 256) ofBytes[(s[i - 1] << 8 | s[i]) / 64] |= 1ul << (s[i] & 63);
                else others.Add((uint)s[i - 1] << 16 | s[i]);
            }
        }
    }

    public bool Contains(char left, char right) => (left | right) < 256 ? (ofBytes[(left << 8 | right) / 64] >> (right & 63) & 1) != 0 : others.Contains((uint)left << 16 | right);
}
