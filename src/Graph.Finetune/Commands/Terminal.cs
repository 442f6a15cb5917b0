using System;
using System.IO;

namespace Graph.Finetune.Commands;

/// <summary>Where a run writes. Interactive: a person watches <paramref name="Out"/>, so a progress bar may be drawn.</summary>
public sealed record Terminal(TextWriter Out, TextWriter Error, bool Interactive)
{
    public static Terminal OfConsole() => new(Console.Out, Console.Error, !Console.IsOutputRedirected);

    /// <summary>GRAPH_DEBUG: 0 when it is not set, 1 when it is no number.</summary>
    public static int DebugLevel => Environment.GetEnvironmentVariable("GRAPH_DEBUG") is not { Length: > 0 } text ? 0 : int.TryParse(text, out var level) ? level : 1;
}
