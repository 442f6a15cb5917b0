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

    static readonly IReadOnlyDictionary<string, Type> Types = typeof(Form).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(LanguageModel)) && !t.IsAbstract).ToDictionary(t => t.Name);

    static readonly Lazy<IReadOnlyDictionary<string, Verdict>> Verdicts = new(() =>
    {
        var types = Types.Values.ToArray();
        var cases = types.Select(type =>
        {
            var trace = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(type)!);
            // What the fuzzer prints brings its own.
            return new Case(trace, type.GetProperty("Setup", BindingFlags.Public | BindingFlags.Static)?.GetValue(null) as Setup ?? Form.Setup(trace));
        }).ToArray();
        return types.Zip(Fuzzer.Check(cases)).ToDictionary(p => p.First.Name, p => p.Second);
    });

    public static TheoryData<string> Good => new(Types.Keys.Except(Refused.Keys));
    public static TheoryData<string> Bad => new(Refused.Keys);

    [Theory]
    [MemberData(nameof(Good))]
    public void Step_OfAForm_IsTorchs(string form) => Assert.Equal((Outcome.Right, ""), (Verdicts.Value[form].Outcome, Verdicts.Value[form].Message));

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
        var trace = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Types[form])!).Select(n => new Generator.Tracing.TraceNode(n.Id, n.Op, n.Inputs, n.Attributes, n.Scope)).ToArray();
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
