using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;

namespace Graph.Parsers.Fuzz;

static class AllParsers
{
    /// <summary>Every parser of bytes from outside. Their order is what an input's number means.</summary>
    /// <param name="repository">Its fixtures and samples are the valid inputs.</param>
    public static IReadOnlyList<Parser> Of(string repository)
    {
        var fixtures = Path.Combine(repository, "tests", "fixtures");
        if (!Directory.Exists(fixtures)) throw new DirectoryNotFoundException($"'{repository}' has no tests/fixtures; give the repository.");
        return [.. DataParsers.Of(fixtures), .. ModelParsers.Of(fixtures), .. RunParsers.Of(fixtures), .. CommandParsers.Of(repository)];
    }

    public static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    public static byte[] File(params string[] path) => System.IO.File.ReadAllBytes(Path.Combine(path));
}
