using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.CompilerServices;

namespace Graph.Finetune.Tests;

/// <summary>Paths of the repository, and directories that go away after a test.</summary>
static class Fixture
{
    public static string Reference { get; } = Path.Combine(Repository(), "tests", "fixtures", "reference");
    public static string Chat { get; } = Path.Combine(Repository(), "tests", "fixtures", "chat");
    public static string Checkpoint => Path.Combine(Reference, "checkpoint");
    public static string TokenizerModel => Path.Combine(Checkpoint, "tokenizer.model");

    public static string Repository([CallerFilePath] string here = "")
    {
        var directory = new DirectoryInfo(Path.GetDirectoryName(here)!);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "Compiler.sln"))) directory = directory.Parent;
        return directory?.FullName ?? throw new InvalidOperationException("the repository's root was not found above " + here);
    }
}

static class Cache
{
    /// <summary>Tests leave nothing in the user's cache.</summary>
    [ModuleInitializer]
    internal static void IsOff() => Environment.SetEnvironmentVariable("GRAPH_CACHE", Environment.GetEnvironmentVariable("GRAPH_CACHE") ?? "off");
}

sealed class Scratch : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("graph-finetune-").FullName;

    public string File(string name, params IEnumerable<string> lines)
    {
        var path = System.IO.Path.Combine(Path, name);
        System.IO.File.WriteAllText(path, string.Join('\n', lines));
        return path;
    }

    public string File(string name, byte[] content)
    {
        var path = System.IO.Path.Combine(Path, name);
        System.IO.File.WriteAllBytes(path, content);
        return path;
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
