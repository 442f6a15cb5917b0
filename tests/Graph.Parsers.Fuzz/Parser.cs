using System;
using System.Collections.Generic;
using System.IO;

namespace Graph.Parsers.Fuzz;

/// <summary>A parser of bytes from outside.</summary>
/// <param name="Seeds">Valid inputs.</param>
/// <param name="Open">Makes what parses, for one thread, which may write in a folder of its own. It may throw the project's own exceptions, and nothing else.</param>
sealed record Parser(string Name, IReadOnlyList<byte[]> Seeds, Func<string, Action<byte[]>> Open)
{
    /// <summary>A parser that reads a file of a folder; the folder has it, and what lies beside it, from here on.</summary>
    /// <param name="beside">Files that stay as they are.</param>
    public static Parser OfFile(string name, IReadOnlyList<byte[]> seeds, string file, Func<string, Action> open, params (string Name, byte[] Content)[] beside) =>
        new(name, seeds, folder =>
    {
        folder = Directory.CreateDirectory(Path.Combine(folder, name.Replace(' ', '-'))).FullName;
        foreach (var (other, content) in beside) File.WriteAllBytes(Path.Combine(folder, other), content);
        var (path, read) = (Path.Combine(folder, file), open(folder));
        return input =>
        {
            File.WriteAllBytes(path, input);
            read();
        };
    });
}

/// <summary>A parser took what it had to refuse.</summary>
sealed class UnnoticedException(string message) : Exception(message);
