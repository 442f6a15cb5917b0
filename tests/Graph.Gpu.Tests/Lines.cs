using System;

namespace Graph.Gpu.Tests;

/// <summary>Whole lines, flushed, so that a process that dies has said everything it knew.</summary>
static class Lines
{
    static readonly object Gate = new();

    internal static void Write(string line)
    {
        lock (Gate)
        {
            Console.Out.WriteLine(line);
            Console.Out.Flush();
        }
    }
}
