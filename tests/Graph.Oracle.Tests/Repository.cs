using System;
using System.IO;

namespace Graph.Oracle.Tests;

/// <summary>Where the repository's files are, seen from the test's folder.</summary>
static class Repository
{
    public static string Root { get; } = Find(AppContext.BaseDirectory);
    public static string Fixture(string name) => Path.Combine(Root, "tests", "fixtures", "reference", name);

    static string Find(string folder) =>
        File.Exists(Path.Combine(folder, "Compiler.sln")) ? folder
        : Find(Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("oracle: no Compiler.sln above " + AppContext.BaseDirectory));
}
