using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Graph.Dsl;
using Graph.Fuzz.Tests.Forms;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Fuzz.Tests;

/// <summary>Every form trains as torch does: loss, gradients, and the same bits whatever is recomputed.</summary>
public sealed class FormTests
{
    /// <summary>A part of the sentence that each form gets which the compiler does not take.</summary>
    static readonly IReadOnlyDictionary<string, string> Refused = new Dictionary<string, string>
    {
        ["AdaptedHead"] = "the logits must be one linear of a frozen table",
        ["NoHead"] = "the logits must be one linear of a frozen table",
        ["BiasOnLogits"] = "the logits must be one linear of a frozen table",
        ["ScaleOnLogits"] = "the logits must be one linear of a frozen table",
        ["ComputedWeight"] = "linear: its weight is computed (mul)",
        ["MeanOverRanks"] = "no reductions over the rank",
        ["NameWithASpace"] = "must have no spaces",
        ["NoDimensions"] = "has no dimensions",
        ["LinearOfOneColumn"] = "multiple of 8",
    };

    static readonly IReadOnlyDictionary<string, Type> Types = typeof(Form).Assembly.GetTypes()
        .Where(t => t.IsSubclassOf(typeof(LanguageModel)) && !t.IsAbstract).ToDictionary(t => t.Name);

    static readonly Lazy<IReadOnlyDictionary<string, Verdict>> Verdicts = new(() => Check(Types.Keys, setup => setup));

    static Dictionary<string, Verdict> Check(IEnumerable<string> forms, Func<Setup, Setup> with)
    {
        var names = forms.ToArray();
        var cases = names.Select(name =>
        {
            var trace = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Types[name])!);
            // What the fuzzer prints brings its own.
            return new Case(trace, with(Types[name].GetProperty("Setup", BindingFlags.Public | BindingFlags.Static)?.GetValue(null) as Setup ?? Form.Setup(trace)));
        }).ToArray();
        return names.Zip(Fuzzer.Check(cases)).ToDictionary(p => p.First, p => p.Second);
    }

    public static TheoryData<string> Good => new(Types.Keys.Except(Refused.Keys));
    public static TheoryData<string> Bad => new(Refused.Keys);

    [Theory]
    [MemberData(nameof(Good))]
    public void Step_OfAForm_IsTorchs(string form) => Assert.Equal((Outcome.Right, ""), (Verdicts.Value[form].Outcome, Verdicts.Value[form].Message));

    /// <summary>A value that two sets of adapters read has a mask for each of them, in one product of the backward too.</summary>
    [Fact]
    public void Step_WithDropout_IsTorchs() =>
        Assert.Empty(Check(Types.Keys.Except(Refused.Keys), s => s with { Dropout = 0.3 }).Where(v => v.Value.IsFailure).Select(v => v.Key + ": " + v.Value.Message));

    /// <summary>Rank and alpha by pattern: each adapter is multiplied by its own number, or the model cannot have several.</summary>
    [Fact]
    public void Step_WithAScaleForEachAdapter_IsTorchsOrRefused()
    {
        var failed = Check(Types.Keys.Except(Refused.Keys), s => s with { OwnScales = true }).Where(v => v.Value.IsFailure).ToArray();
        Assert.Equal(["TwoAdaptersOneScale"], failed.Select(v => v.Key));
        Assert.EndsWith("so all adapters must have one scale, but w has 2.5 and second 2; give them the same alpha and rank.", failed[0].Value.Message);
    }

    /// <summary>All weights trained, adapters gone. A norm's weight that two norms read has both of their gradients.</summary>
    [Fact]
    public void Step_OfAllWeights_IsTorchsOrRefused()
    {
        var failed = Check(Types.Keys.Except(Refused.Keys), s => s with { Full = true }).Where(v => v.Value.IsFailure).ToArray();
        Assert.All(failed, f => Assert.Contains("reads an adapter's product; only adapters that are added to something can be left out", f.Value.Message));
        Assert.DoesNotContain("NormsOfOneWeight", failed.Select(f => f.Key));
    }

    /// <summary>A sentence, and no exception's name.</summary>
    [Theory]
    [MemberData(nameof(Bad))]
    public void Compile_WhatIsNotSupported_SaysSo(string form)
    {
        Assert.Equal(Outcome.Refused, Verdicts.Value[form].Outcome);
        Assert.Contains(Refused[form], Verdicts.Value[form].Message);
    }

    /// <summary>
    /// The kernel of G and dB knows dY's columns and the blocks of B. dX = G·A with dA += Gᵀ·x has the same layouts and is none; taken for one it read past G's
    /// columns, on the GPU alone.
    /// </summary>
    [Theory]
    [MemberData(nameof(Good))]
    public void Fusions_OfAForm_ReadTheSameDY(string form)
    {
        var trace = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Types[form])!)
            .Select(n => new Generator.Tracing.TraceNode(n.Id, n.Op, n.Inputs, n.Attributes, n.Scope)).ToArray();
        var schedule = ScheduleText.Parse(Generator.Compiler.Compile(form, trace, []).ScheduleText);
        var launches = schedule.Forward.Concat(schedule.Backward).OfType<GemmLaunch>().ToDictionary(l => l.Id);
        var kinds = schedule.Tensors.ToDictionary(t => t.Name);
        Assert.All(schedule.Fusions.OfType<RankGradientsFusion>(), fusion =>
        {
            var (g, b, gradient) = (launches[fusion.First], kinds[launches[fusion.First].Segments[0].B.Tensor], kinds[launches[fusion.Second].D.Tensor]);
            Assert.Equal((TensorKind.AdapterB, TensorKind.GradB, b.Stack), (b.Kind, gradient.Kind, gradient.Stack));
            Assert.Equal(g.Segments[0].A, launches[fusion.Second].Segments[0].A);
        });
    }
}
