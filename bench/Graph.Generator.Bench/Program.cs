using System;
using System.Diagnostics;
using System.Linq;
using Graph.Generator;
using Graph.Generator.Tests;
using Graph.Generator.Tracing;
using Microsoft.CodeAnalysis;

// What the generator costs, on models/Gemma2 with every variant and target: dotnet run -c Release --project bench/Graph.Generator.Bench
//   cold:           the first run of the generator in a process, its JIT included: what a build pays.
//                   Roslyn itself has run before, as the SDK's is compiled ahead and the one from NuGet is not.
//   unrelated edit: what an editor pays per key in a file beside the model's, once the JIT has settled
var other = Project.Tree("class Other { int x = 0; }", "Other.cs");
var compilation = Project.Gemma2().AddSyntaxTrees(other);
GeneratorDriver driver = Project.Driver();
Project.Gemma2().GetDiagnostics();

// Time on the clock, and of all processors (which other work on the machine does not lengthen, but JIT and GC threads do).
(double Wall, double Cpu) Run()
{
    var (watch, cpu) = (Stopwatch.StartNew(), Environment.CpuUsage.TotalTime);
    driver = driver.RunGenerators(compilation);
    return (watch.Elapsed.TotalMilliseconds, (Environment.CpuUsage.TotalTime - cpu).TotalMilliseconds);
}

string Reasons(string step) => string.Join(",", driver.GetRunResult().Results[0].TrackedSteps[step].SelectMany(s => s.Outputs).Select(o => o.Reason).Distinct());

var cold = Run();
var variants = driver.GetRunResult().Results[0].TrackedSteps[GraphGenerator.TraceStep].Sum(s => s.Outputs.Length);
Console.WriteLine($"cold, {variants} variants, {Graph.Generator.Schedules.Target.All.Count} targets: {cold.Wall,8:F0} ms, cpu {cold.Cpu:F0} ms");
var edits = new (double Wall, double Cpu)[200];
for (var i = 0; i < edits.Length; i++)
{
    var edited = Project.Tree($"class Other {{ int x = {i + 1}; }}", "Other.cs");
    compilation = compilation.ReplaceSyntaxTree(other, edited);
    other = edited;
    edits[i] = Run();
}
var warm = edits.Skip(150).Select(e => e.Wall).Order().ToArray();
Console.WriteLine($"unrelated edit, median of {warm.Length}: {warm[warm.Length / 2],6:F1} ms, {warm[warm.Length / 2] / variants:F1} ms per model; "
    + $"best {warm[0]:F1} ms, worst {warm[^1]:F1} ms, cpu {edits.Skip(150).Average(e => e.Cpu):F1} ms; "
    + $"trace {Reasons(GraphGenerator.TraceStep)}, compile {Reasons(GraphGenerator.CompileStep)}");

foreach (var (variant, model, _) in Project.Trace(compilation))
{
    var watch = Stopwatch.StartNew();
    Compiler.Compile(variant, model!.Nodes, Graph.Generator.Schedules.Target.All);
    Console.WriteLine($"compile {variant,-22} {model.Nodes.Count,5} ops {watch.Elapsed.TotalMilliseconds,8:F0} ms");
}
