using System;
using System.IO;
using System.Linq;
using Graph.Finetune;
using Graph.Finetune.Commands;
using Microsoft.CodeAnalysis;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>README's variants, as it prints them: they compile without a warning, trace, and train on the checkpoint of what they derive from.</summary>
public sealed class ReadmeTests
{
    /// <summary>The blocks of README that declare a variant, each a whole file.</summary>
    static string[] Snippets()
    {
        var blocks = string.Join('\n', File.ReadAllLines(Path.Combine(Project.Root, "README.md"))
                .Select(l => l.StartsWith("    ", StringComparison.Ordinal) ? l[4..] : l.Length == 0 ? "" : "\0"))
            .Split('\0', StringSplitOptions.RemoveEmptyEntries);
        // A line of the shell may follow a block without text in between.
        return [.. blocks.Where(b => b.Contains("using Graph.Dsl;")).Select(b => string.Join('\n', b.Split('\n').Where(l => !l.StartsWith("dotnet ", StringComparison.Ordinal))))];
    }

    static Compilation With(Func<string, string> change) =>
        Project.Gemma2().AddSyntaxTrees(Snippets().Select((s, i) => Project.Tree(change(s), $"Readme{i}.cs")).ToArray());

    [Fact]
    public void Snippets_OfReadme_CompileWithoutAWarningAndTrace()
    {
        Assert.Equal(2, Snippets().Length);
        var compilation = (Microsoft.CodeAnalysis.CSharp.CSharpCompilation)With(s => s);
        Assert.Empty(compilation.GetDiagnostics(TestContext.Current.CancellationToken).Where(d => d.Severity >= DiagnosticSeverity.Warning));
        var traces = Project.Trace(compilation).Where(t => t.Variant is "9b-short" or "9b-plain")
            .ToDictionary(t => t.Variant, t => t.Model ?? throw new InvalidOperationException(t.Error?.ToString()));
        Assert.Equal(["sliding_window"], traces["9b-short"].Changes);
        Assert.Equal(["DecoderLayer.Mlp", "DecoderLayer.Window", "Gemma2Model.Layer"], traces["9b-plain"].Overrides);
        Assert.All(traces["9b-plain"].Nodes.Where(n => n.Op == "attention"), n => Assert.Equal(4096, n.Attributes.Single(a => a.Key == "window").Value));
        Assert.DoesNotContain(traces["9b-plain"].Nodes, n => n.Op == "param" && ((string)n.Attributes[0].Value!).Contains("gate_proj"));
    }

    [Theory]
    [InlineData("9b-short"), InlineData("9b-plain")]
    public void Variant_OfReadme_TrainsOnTheCheckpointItDerivesFrom(string variant)
    {
        // The fixture's checkpoint is nano's.
        var compilation = With(s => s.Replace("Gemma2Config.B9", "Gemma2Config.Nano"));
        Project.Driver(("GraphEmitVariants", variant), ("GraphEmitTargets", "cpu")).RunGeneratorsAndUpdateCompilation(
            compilation, out var whole, out var diagnostics, TestContext.Current.CancellationToken);
        Assert.Empty(diagnostics);
        var model = Assert.Single(EmittedModelTests.Load(whole));
        Assert.NotEmpty(model.Changes!().Declared);

        var folder = Directory.CreateTempSubdirectory("graph-readme-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(folder, "data.jsonl"), "{\"input_ids\":[2,5,6,7,8,9]}\n");
            string[] train = ["train", "--model", Path.Combine(Project.Root, "tests", "fixtures", "reference", "checkpoint"),
                "--device", "cpu", "--data", Path.Combine(folder, "data.jsonl"),
                "--out", Path.Combine(folder, "out"), "--steps", "1", "--seq", "8", "--batch-tokens", "8"];
            var quiet = new Terminal(TextWriter.Null, TextWriter.Null, Interactive: false);
            Assert.Equal(0, CommandLine.Run(train, [model], quiet));
            Assert.True(File.Exists(Path.Combine(folder, "out", "adapter_model.safetensors")));
            // The same without its Changes is refused.
            Assert.Equal(3, CommandLine.Run(train, [model with { Changes = null }], quiet));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
