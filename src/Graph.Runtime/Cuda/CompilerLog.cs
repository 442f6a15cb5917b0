using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Graph.Runtime.Cuda;

/// <summary>Reads what ptxas --verbose wrote into NVRTC's log.</summary>
public static partial class CompilerLog
{
    /// <summary>
    /// One record per kernel entry, in the log's order. Frames of device functions that were not inlined follow the entry's lines; what spills there counts for the entry.
    /// </summary>
    public static IReadOnlyList<FunctionUsage> Functions(string log)
    {
        var functions = new List<FunctionUsage>();
        foreach (var line in log.Split('\n'))
        {
            if (Entry().Match(line) is { Success: true } entry)
            {
                functions.Add(new FunctionUsage(entry.Groups[1].Value, 0, 0, 0, 0, 0));
            }
            else if (functions.Count > 0 && Frame().Match(line) is { Success: true } frame)
            {
                var f = functions[^1];
                functions[^1] = f with { StackBytes = Math.Max(f.StackBytes, Number(frame, 1)), SpillStoreBytes = f.SpillStoreBytes + Number(frame, 2),
                    SpillLoadBytes = f.SpillLoadBytes + Number(frame, 3) };
            }
            else if (functions.Count > 0 && Used().Match(line) is { Success: true } used)
            {
                var shared = Shared().Match(line);
                functions[^1] = functions[^1] with { Registers = Number(used, 1), SharedBytes = shared.Success ? Number(shared, 1) : 0 };
            }
        }
        return functions;
    }

    /// <summary>Lines that say the code is slower than it reads.</summary>
    public static IReadOnlyList<string> Warnings(string log)
    {
        var warnings = new List<string>();
        foreach (var line in log.Split('\n'))
            if (Slow().IsMatch(line)) warnings.Add(line.Trim());
        return warnings;
    }

    static int Number(Match match, int group) => int.Parse(match.Groups[group].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"Compiling entry function '([^']+)'")] private static partial Regex Entry();
    [GeneratedRegex(@"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")] private static partial Regex Frame();
    [GeneratedRegex(@"Used (\d+) registers")] private static partial Regex Used();
    [GeneratedRegex(@"(\d+) bytes smem")] private static partial Regex Shared();
    [GeneratedRegex(@"\(C7508\)|\(C7511\)|\(C7515\)|Potential Performance Loss|ptxas warning.*([Ss]pilled|[Ll]ocal memory)")] private static partial Regex Slow();
}
