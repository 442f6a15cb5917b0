using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Graph.Dsl;
using Graph.Generator.Tracing;
using Graph.Tests;
using Xunit;

namespace Graph.Generator.Tests.Tracing;

/// <summary>The interpreter against the same C# run for real, and against the trace written by hand.</summary>
public sealed class Gemma2TraceTests
{
    static readonly Lazy<IReadOnlyDictionary<string, TracedModel>> Interpreted = new(() => Project.Trace(Project.Gemma2()).ToDictionary(t => t.Variant,
        t => t.Model ?? throw new InvalidOperationException(t.Error?.ToString() ?? t.Variant + ": the model does not compile")));

    static readonly IReadOnlyDictionary<string, Type> Classes = typeof(Gemma2TraceTests).Assembly.GetTypes()
        .Where(t => t.Namespace == "Gemma2" && t.GetCustomAttribute<GraphModelAttribute>() is not null).ToDictionary(t => t.GetCustomAttribute<GraphModelAttribute>()!.Name);

    public static TheoryData<string> All => new(Classes.Keys);
    public static TheoryData<string> ByHand => new(Gemma2Size.Small.Concat(Gemma2Size.Real).Select(s => s.Name));

    [Theory]
    [MemberData(nameof(All))]
    public void Interpreter_ModelThatTheRecorderRuns_GivesTheSameTrace(string variant)
    {
        var recorded = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Classes[variant])!);
        Assert.Equal(Dsl.TraceText.Print(recorded), Generator.Tracing.TraceText.Print(Interpreted.Value[variant].Nodes));
    }

    [Theory]
    [MemberData(nameof(All))]
    public void CheckpointConfig_Interpreted_IsWhatTheClassSays(string variant)
    {
        // A model's constructor calls no op, so its config can be read outside of a recording.
        var real = ((LanguageModel)Activator.CreateInstance(Classes[variant])!).CheckpointConfig;
        Assert.Equal(real.Select(f => f.Name), Interpreted.Value[variant].Config.Select(f => f.Key));
        Assert.Equivalent(real.Select(f => f.Value), Interpreted.Value[variant].Config.Select(f => f.Value), strict: true);
    }

    [Theory]
    [MemberData(nameof(ByHand))]
    public void Interpreter_Gemma2_GivesTheTraceWrittenByHand(string variant) =>
        Assert.Equal(Generator.Tracing.TraceText.Print(Gemma2Trace.Of(Gemma2Size.Find(variant))), Generator.Tracing.TraceText.Print(Interpreted.Value[variant].Nodes));

    [Fact]
    public void Variants_Models_AreTheOnesThatDocsAndTestsName() =>
        Assert.Equal(["27b", "27b-2l", "2b", "2b-full", "9b", "9b-2l", "9b-full", "nano", "nano-full", "nano-no-attn-softcap", "nano-no-final-softcap"],
            Classes.Keys.Order(StringComparer.Ordinal));

    [Fact]
    public void SoftcapsOff_Trace_HasNoTanh()
    {
        int Tanhs(string variant) => Interpreted.Value[variant].Nodes.Count(n => n.Op == "tanh");
        Assert.Equal([5, 1, 4], new[] { "nano", "nano-no-attn-softcap", "nano-no-final-softcap" }.Select(Tanhs));
    }
}
