using System;
using System.Collections.Generic;
using System.Linq;

namespace Graph.Finetune.Commands;

/// <summary>What somebody who mistyped a verb or an option may have meant.</summary>
static class Nearest
{
    /// <summary>" (did you mean NAME?)" of the nearest name, or nothing where none is within a third of its length.</summary>
    public static string Hint(string typed, IEnumerable<string> names) =>
        typed.Length > 64 ? "" : names.Select(name => (Name: name, Edits: Edits(typed, name))).Where(n => n.Edits <= Math.Max(1, n.Name.Length / 3)).OrderBy(n => n.Edits)
        .ThenBy(n => n.Name, StringComparer.Ordinal)
            .Select(n => $" (did you mean {n.Name}?)").FirstOrDefault("");

    /// <summary>Characters to insert, delete, replace or swap with their neighbour to make one text of the other.</summary>
    static int Edits(string from, string to)
    {
        var table = new int[from.Length + 1, to.Length + 1];
        for (var i = 0; i <= from.Length; i++)
            for (var j = 0; j <= to.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    table[i, j] = i + j;
                    continue;
                }
                table[i, j] = Math.Min(Math.Min(table[i - 1, j], table[i, j - 1]) + 1, table[i - 1, j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1]) table[i, j] = Math.Min(table[i, j], table[i - 2, j - 2] + 1);
            }
        return table[from.Length, to.Length];
    }
}
