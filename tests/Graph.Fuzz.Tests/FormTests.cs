using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Graph.Dsl;
using Graph.Fuzz.Tests.Forms;
using Xunit;

namespace Graph.Fuzz.Tests;

/// <summary>Every form trains as torch does: loss, gradients, and the same bits whatever is recomputed.</summary>
public sealed class FormTests
{
    static readonly Lazy<IReadOnlyDictionary<string, Verdict>> Verdicts = new(() =>
    {
        var types = typeof(Form).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(LanguageModel)) && !t.IsAbstract).ToArray();
        var cases = types.Select(type =>
        {
            var trace = Recorder.Record(() => (LanguageModel)Activator.CreateInstance(type)!);
            // What the fuzzer prints brings its own.
            return new Case(trace, type.GetProperty("Setup", BindingFlags.Public | BindingFlags.Static)?.GetValue(null) as Setup ?? Form.Setup(trace));
        }).ToArray();
        return types.Zip(Fuzzer.Check(cases)).ToDictionary(p => p.First.Name, p => p.Second);
    });

    public static TheoryData<string> All => new(typeof(Form).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(LanguageModel)) && !t.IsAbstract).Select(t => t.Name));

    [Theory]
    [MemberData(nameof(All))]
    public void Step_OfAForm_IsTorchs(string form) => Assert.Equal((Outcome.Right, ""), (Verdicts.Value[form].Outcome, Verdicts.Value[form].Message));
}
