using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading.Channels;

namespace Graph.Gpu.Tests;

/// <summary>How a child process ended. Hung: it printed nothing for the time it was given and was ended.</summary>
readonly record struct ChildEnd(int ExitCode, bool Hung, string LastError);

/// <summary>Checks run in processes of their own: a kernel that fails takes its CUDA context with it, and one that hangs must be ended.</summary>
static class Child
{
    internal static ChildEnd Run(IEnumerable<string> arguments, int quietSeconds, Action<string> line)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var lines = Channel.CreateUnbounded<string?>();
        var lastError = "";
        process.OutputDataReceived += (_, e) => lines.Writer.TryWrite(e.Data);
        process.ErrorDataReceived += (_, e) =>
        {
            if (e.Data is not { Length: > 0 } text) return;
            lastError = text;
            Lines.Write("     " + text);
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        while (true)
        {
            using var quiet = new System.Threading.CancellationTokenSource(TimeSpan.FromSeconds(quietSeconds));
            try
            {
                if (lines.Reader.ReadAsync(quiet.Token).AsTask().GetAwaiter().GetResult() is not { } text) break;
                line(text);
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                process.WaitForExit();
                return new ChildEnd(-1, true, lastError);
            }
        }
        process.WaitForExit();
        return new ChildEnd(process.ExitCode, false, lastError);
    }
}
