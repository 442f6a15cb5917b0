using System;
using System.IO;
using System.Linq;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>Where a run writes. Interactive: a person watches <paramref name="Out"/>, so a view may be drawn.</summary>
public sealed record Terminal(TextWriter Out, TextWriter Error, bool Interactive)
{
    /// <summary>Told of every step before it is saved, on the thread that trains: for tests.</summary>
    internal Action<StepReport>? AfterStep { get; init; }

    const int MostShown = 4000;

    public static Terminal OfConsole() => new(Console.Out, Console.Error, !Console.IsOutputRedirected);

    /// <summary>A terminal obeys control characters; a text that holds some from elsewhere is shown with their codes instead, and a very long one without its middle.</summary>
    public static string Plain(string text)
    {
        // A name in a damaged file may be as long as the file.
        if (text.Length > MostShown) text = $"{text[..(MostShown / 2)]} … {text[^(MostShown / 4)..]}";
        return text.Any(char.IsControl) ? string.Concat(text.Select(c => char.IsControl(c) ? $"\\u{(int)c:X4}" : c.ToString())) : text;
    }

    /// <summary>The same where a line that cannot be written is no reason to stop: the first one that fails is said on the other stream, if that still writes.</summary>
    public Terminal Forgiving()
    {
        var error = new ForgivingWriter(Error, _ => { });
        return this with { Out = new ForgivingWriter(Out,
            reason => error.WriteLine($"warning: standard output cannot be written ({reason}); the run goes on without it")), Error = error };
    }

    /// <summary>GRAPH_DEBUG: 0 when it is not set, 1 when it is no number.</summary>
    public static int DebugLevel => Environment.GetEnvironmentVariable("GRAPH_DEBUG") is not { Length: > 0 } text ? 0 : int.TryParse(text, out var level) ? level : 1;
}
