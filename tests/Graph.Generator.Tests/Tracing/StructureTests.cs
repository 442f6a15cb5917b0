using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using Graph.Dsl;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;
using Graph.Generator.Tracing;
using Xunit;

namespace Graph.Generator.Tests.Tracing;

/// <summary>A model changed in structure compiles for every target, or the compiler says in a sentence why it cannot.</summary>
public sealed class StructureTests
{
    static readonly Lazy<IReadOnlyDictionary<string, TracedModel>> Interpreted = new(() =>
        Project.Trace(Project.Gemma2().AddSyntaxTrees(
                Project.Tree(File.ReadAllText(Path.Combine(Project.Root, "tests", "Graph.Generator.Tests", "Tracing", "StructureModels.cs")), "StructureModels.cs")))
            .ToDictionary(t => t.Variant, t => t.Model ?? throw new InvalidOperationException(t.Error?.ToString() ?? t.Variant + ": the model does not compile")));

    static readonly IReadOnlyDictionary<string, Type> Classes = typeof(StructureTests).Assembly.GetTypes()
        .Where(t => t.Namespace == "Graph.Generator.Tests.Tracing.Structures" && t.GetCustomAttribute<GraphModelAttribute>() is not null)
        .ToDictionary(t => t.GetCustomAttribute<GraphModelAttribute>()!.Name);

    static readonly IReadOnlyDictionary<string, string> Refused = new Dictionary<string, string>
    {
        ["adaptedhead"] = "the logits must be one linear of a frozen table",
        ["nohead"] = "the logits must be one linear of a frozen table",
    };

    public static TheoryData<string> All => new(Classes.Keys);
    internal static IEnumerable<string> Compiled => Classes.Keys.Except(Refused.Keys);
    public static TheoryData<string> Good => new(Compiled);
    public static TheoryData<string> Bad => new(Refused.Keys);

    [Theory]
    [MemberData(nameof(All))]
    public void Structure_RunAndInterpreted_GivesTheSameTrace(string name) =>
        Assert.Equal(Dsl.TraceText.Print(Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Classes[name])!)),
            Generator.Tracing.TraceText.Print(Interpreted.Value[name].Nodes));

    /// <summary>What kernels fuse is told for any structure: no gradient of a copy, every text with words first.</summary>
    [Fact]
    public void Headers_OfChangedStructures_TellTheirOps()
    {
        var target = Graph.Generator.Schedules.Target.Named("sm_80");
        static string Sentence(string part) => string.Join(' ', part.Split('\n')
            .TakeWhile(l => l.StartsWith("// ", StringComparison.Ordinal) && !l.StartsWith("// k", StringComparison.Ordinal)).Select(l => l[3..]));
        var sentences = Compiled.ToDictionary(name => name,
            name => string.Join('\n', Compiler.Compile(name, Interpreted.Value[name].Nodes, [target]).Targets[0].Kernels.Select(k => Sentence(k.Parts[0]))));
        Assert.All(sentences, s => Assert.All(s.Value.Split('\n'), l => Assert.True(l.Length > 40 && char.IsUpper(l[0]), s.Key + ": " + l)));
        Assert.All(sentences, s => Assert.DoesNotContain("of copy", s.Value, StringComparison.OrdinalIgnoreCase));
        Assert.Contains("Gradient of GELU (tanh) in one kernel: ", sentences["plainmlp"], StringComparison.Ordinal);
        Assert.Contains("product with gain", sentences["gain"], StringComparison.Ordinal);
        Assert.DoesNotContain("RMSNorm post", sentences["nopostnorms"], StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Good))]
    public void Compile_ChangedStructure_HasKernelsForEveryTarget(string name)
    {
        var compiled = Compiler.Compile(name, Interpreted.Value[name].Nodes, Graph.Generator.Schedules.Target.All);
        Assert.All(compiled.Targets, t => Assert.Contains(t.Kernels, k => k.Info.Kind == KernelKind.CrossEntropy));
        Assert.Equal(name != "noattention", compiled.ScheduleText.Contains("attention_dkdv", StringComparison.Ordinal));
        // Every adapter of the trace is trained.
        var adapters = Interpreted.Value[name].Nodes.Where(n => n.Op == "lora_b").Select(n => (string)n.Attributes[0].Value!).ToArray();
        Assert.NotEmpty(adapters);
        var schedule = Runtime.Schedules.ScheduleText.Parse(compiled.ScheduleText);
        foreach (var adapter in adapters.Distinct())
        {
            var set = Assert.Single(schedule.Adapters, set => set.Adapters.Any(a => a.Name == adapter));
            var gradients = schedule.Tensors.Where(t => t.Stack == set.Id && t.Kind is (Runtime.Schedules.TensorKind.GradA or Runtime.Schedules.TensorKind.GradB)).ToArray();
            Assert.Equal([Runtime.Schedules.TensorKind.GradA, Runtime.Schedules.TensorKind.GradB], gradients.Select(t => t.Kind).Order());
            Assert.All(gradients, t => Assert.Contains(schedule.Backward, l => l is Runtime.Schedules.GemmLaunch { Accumulate: true } g && g.D.Tensor == t.Name));
        }
    }

    [Fact]
    public void Targets_LeftOut_AreTheLinearsThatHaveAnAdapter()
    {
        var schedule = Graph.Runtime.Schedules.ScheduleText.Parse(Compiler.Compile("m", Interpreted.Value["linearwithoutadapter"].Nodes, []).ScheduleText);
        var settings = Finetune.Training.AdapterSettings.Create(schedule, 16, 16, false, []);
        Assert.Equal(["gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"], settings.Targets.Order());
        Assert.Equal(12, settings.Ranks.Adapters.Count);
    }

    [Theory]
    [MemberData(nameof(Bad))]
    public void Compile_UnsupportedStructure_SaysWhy(string name) =>
        Assert.Contains(Refused[name], Assert.Throws<ShapeError>(() => Compiler.Compile(name, Interpreted.Value[name].Nodes, Graph.Generator.Schedules.Target.All)).Message);
}
