using System;
using System.Collections.Generic;
using System.Text;

#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>
/// A kernel's text is kept in parts: its own lines, and names of templates such as "@prelude.cu", which are
/// stored once per assembly. Snapshots and runtime join them with this one function.
/// </summary>
public static class KernelText
{
    public static string Join(IReadOnlyList<string> parts, Func<string, string> template)
    {
        var text = new StringBuilder();
        foreach (var part in parts)
        {
            var lines = part.Length > 0 && part[0] == '@' ? template(part.Substring(1)) : part;
            text.Append(lines);
            if (lines.Length > 0 && lines[lines.Length - 1] != '\n') text.Append('\n');
        }
        return text.ToString();
    }
}
