using System.Diagnostics;
using System.Globalization;

namespace Graph.Finetune.Commands;

/// <summary>Milliseconds of the phases of a start, on stderr when GRAPH_DEBUG is set.</summary>
sealed class Phases(Terminal terminal)
{
    readonly bool print = Terminal.DebugLevel > 0;
    long last = Stopwatch.GetTimestamp();

    public void Done(string phase)
    {
        if (!print) return;
        var now = Stopwatch.GetTimestamp();
        terminal.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"debug: {phase,-10} {Stopwatch.GetElapsedTime(last, now).TotalMilliseconds,9:F1} ms"));
        last = now;
    }
}
