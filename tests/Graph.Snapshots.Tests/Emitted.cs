using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using Graph.Dsl;
using Graph.Generator;
using Graph.Generator.Emit;
using Graph.Generator.Kernels;
using Graph.Generator.Schedules;
using Graph.Tests;

namespace Graph.Snapshots.Tests;

/// <summary>One emitted kernel of one variant and target, with its whole text.</summary>
sealed record EmittedText(string Variant, string Target, KernelInfo Info, string Text);

/// <summary>What the compiler makes of each variant; compiled once per test run.</summary>
static class Emitted
{
    static readonly ConcurrentDictionary<string, (CompiledText Model, IReadOnlyList<(string Stage, string Text)> Stages)> Models = new();

    public static CompiledText Model(string variant) => Compile(variant).Model;
    public static IReadOnlyList<(string Stage, string Text)> Stages(string variant) => Compile(variant).Stages;

    static (CompiledText Model, IReadOnlyList<(string Stage, string Text)> Stages) Compile(string variant) => Models.GetOrAdd(variant, name =>
    {
        var stages = new List<(string, string)>();
        if (Functions.TryGetValue(name, out var model))
            return (Compiler.Compile(name, Traced(model), Graph.Generator.Schedules.Target.All, (stage, print) => stages.Add((stage, print()))), stages);
        return (Compiler.Compile(name, Gemma2Trace.Of(Gemma2Size.Find(name)), Gemma2Size.Find(name).Targets,
            (stage, print) => stages.Add((stage, print())), Gemma2Size.Find(name).Full), stages);
    });

    /// <summary>Models of FunctionModels.cs by name: what Gemma 2 has not.</summary>
    public static IReadOnlyDictionary<string, System.Type> Functions { get; } = typeof(Emitted).Assembly.GetTypes()
        .Where(t => t.GetCustomAttribute<GraphModelAttribute>() is not null).ToDictionary(t => t.GetCustomAttribute<GraphModelAttribute>()!.Name);

    // The recorder's trace: tests of the interpreter hold that it gives the same.
    static Generator.Tracing.TraceNode[] Traced(System.Type model) =>
        [.. Recorder.Record(() => (LanguageModel)System.Activator.CreateInstance(model)!)
            .Select(n => new Generator.Tracing.TraceNode(n.Id, n.Op, n.Inputs, n.Attributes, n.Scope))];

    public static IEnumerable<EmittedText> Kernels(string variant) =>
        from target in Model(variant).Targets
        from kernel in target.Kernels
        select new EmittedText(variant, target.Target, kernel.Info, KernelText.Join(kernel.Parts, CudaText.Template));

    public static string Root { get; } = FindRoot(System.AppContext.BaseDirectory);

    static string FindRoot(string folder) =>
        File.Exists(Path.Combine(folder, "Compiler.sln")) ? folder
        : FindRoot(Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("snapshots: no Compiler.sln above " + System.AppContext.BaseDirectory));
}
