using System;
using System.Linq;
using Graph.Generator.IR;
using Microsoft.CodeAnalysis;
using Xunit;

namespace Graph.Generator.Tests.Tracing;

/// <summary>Several faults at once, whose weights and callers they name, scopes that are no layers, adapters that are not A and B of a linear.</summary>
public sealed class FaultTests
{
    // One layer in a method of its own, as Projection is in Gemma 2.
    const string Model = """
        using Graph.Dsl;
        using static Graph.Dsl.Ops;
        public class M(int heads, int window, int dim) : LanguageModel
        {
            public override Tensor Forward(Tensor ids)
            {
                var table = Param("table", 32, 16);
                var x = Embedding(ids, table);
                BODY
                return Linear(x, table);
            }
            static Tensor Project(Tensor x, string name, int outDim) => Linear(x, Param(name + ".weight", outDim, 16))
                + Linear(Linear(x, LoraA(name, 16)), LoraB(name, outDim)) * LoraScale(name);
            Tensor Attend(Tensor x) =>
                MergeHeads(Attention(SplitHeads(x, heads), SplitHeads(x, 2), SplitHeads(x, 2), 1, null, window));
            Tensor Twice(Tensor x)
            {
                x = Linear(x, Param("first", 16, dim));
                x = Linear(x, Param("second", 16, 16));
                return Linear(x, Param("third", 16, dim)) + x;
            }
            public override ConfigField[] CheckpointConfig => [];
        }
        [GraphModel("a")] public sealed class A() : M(HEADS);
        [GraphModel("b")] public sealed class B() : M(OTHER);
        """;

    static Diagnostic[] Report(string body, string a = "2, 4, 16", string b = "2, 4, 16") =>
        DiagnosticTests.Report(Model.Replace("BODY", body).Replace("HEADS", a).Replace("OTHER", b), ("GraphEmitTargets", "cpu"));

    static string Under(Location location) => location.SourceTree!.ToString().Substring(location.SourceSpan.Start, location.SourceSpan.Length);

    [Fact]
    public void DifferentFaults_OnOneCall_AreBothReported()
    {
        var messages = Report("x = Attend(x);", "1, 4, 16", "2, 0, 16").Select(d => d.GetMessage()).ToArray();
        Assert.Equal(2, messages.Length);
        Assert.Contains(messages, m => m.Contains("(variant a, in M.Forward, called at Model.cs(9))"));
        Assert.Contains(messages, m => m.Contains("window is 0; it must be at least 1 (variant b, in M.Forward, called at Model.cs(9))"));
    }

    [Fact]
    public void OneFault_WithOtherNumbers_IsOneDiagnosticThatNamesBothVariants()
    {
        var fault = Assert.Single(Report("x = Linear(x, Param(\"w\", 16, dim));", "2, 4, 17", "2, 4, 18"));
        Assert.Contains("w is act[16,17]", fault.GetMessage());
        Assert.EndsWith("(with w, variant a, in M.Forward; also in b)", fault.GetMessage());
    }

    [Fact]
    public void Trace_AfterAFault_GoesOnAndReportsTheNext()
    {
        // "second" and the sum read what does not fit and add nothing; "third" stands alone only in the second line.
        var faults = Report("var y = x; x = Twice(x); x = Linear(y, Param(\"other\", 16, 9)) + x;", "2, 4, 17");
        Assert.Equal(["Linear(x, Param(\"first\", 16, dim))", "Linear(y, Param(\"other\", 16, 9))"], faults.Select(f => Under(f.Location)).Order());
    }

    [Fact]
    public void Fault_InALoop_IsReportedOnce() => Assert.Single(Report("for (var i = 0; i < 3; i++) { var y = Linear(x, Param($\"w{i}\", 16, 9)); }"));

    [Fact]
    public void Fault_InsideAMethod_NamesTheWeightAndTheCallers()
    {
        var fault = Assert.Single(Report("using (Scope(\"layers.0\")) x = Project(x + Project(x, \"q_proj\", 8), \"k_proj\", 16);"));
        Assert.Equal("x + Project(x, \"q_proj\", 8)", Under(fault.Location));
        Assert.EndsWith("(with q_proj.weight, variant a, in layers.0; also in b)", fault.GetMessage());

        fault = Assert.Single(Report("x = Project(Linear(x, Param(\"narrow\", 8, 16)), \"q_proj\", 16);"), d => d.GetMessage().Contains("q_proj.weight"));
        Assert.Equal("Linear(x, Param(name + \".weight\", outDim, 16))", Under(fault.Location));
        Assert.Contains("q_proj.weight, variant a, in M.Forward, called at Model.cs(9); also in b)", fault.GetMessage());
        Assert.Equal("Project(Linear(x, Param(\"narrow\", 8, 16)), \"q_proj\", 16)", Under(Assert.Single(fault.AdditionalLocations)));
    }

    [Fact]
    public void Faults_OfVariantsOfGemma2_AreAllReportedWithTheAuthorsLine()
    {
        var mine = Project.Tree("""
            using Graph.Dsl;
            namespace Gemma2;
            [GraphModel("five")] public sealed class Five() : Gemma2Model(Gemma2Config.Nano with { Heads = 5 });
            [GraphModel("zero")] public sealed class Zero() : Gemma2Model(Gemma2Config.Nano with { Window = 0 });
            public class Narrow(Gemma2Config c, int i) : DecoderLayer(c, i)
            {
                protected override Tensor Mlp(Tensor x) => Project(Project(x, "mlp.up_proj", Config.Hidden, Config.Ffn), "mlp.down_proj", Config.Hidden, Config.Hidden);
            }
            [GraphModel("narrow")] public sealed class NarrowModel() : Gemma2Model(Gemma2Config.Nano) { protected override Module Layer(int i) => new Narrow(Config, i); }
            """, "Mine.cs");
        var faults = Project.Driver(("GraphEmitVariants", "five,zero,narrow"), ("GraphEmitTargets", "cpu"))
            .RunGenerators(Project.Gemma2().AddSyntaxTrees(mine), TestContext.Current.CancellationToken).GetRunResult().Diagnostics;
        Assert.All(faults, f => Assert.Equal("GRAPH003", f.Id));
        string Only(string part) => Assert.Single(faults, f => f.GetMessage().Contains(part)).GetMessage();
        Assert.Contains("model.layers.0.self_attn.q_proj.weight and", Only("variant five"));
        Assert.Contains("window is 0", Only("variant zero"));
        // W and A of the same line do not fit x.
        Assert.EndsWith("(with model.layers.0.mlp.up_proj.weight and model.layers.0.mlp.down_proj.weight, variant narrow, in layers.0.mlp, called at Mine.cs(7))",
            Only("w is act[128,128]"));
        Assert.Contains("LoraA(\"model.layers.0.mlp.down_proj\")", Only("w is f32[R,128]"));
        Assert.Contains(faults.Single(f => f.GetMessage().Contains("w is act[128,128]")).AdditionalLocations, l => l.SourceTree == mine);
        Assert.Equal(4, faults.Length);
    }

    [Theory]
    [InlineData("layers.0", 0), InlineData("layers.12.mlp", 12), InlineData("encoder.layers.3", 3), InlineData("sublayers.1", -1), InlineData("sublayers.1.layers.2.mlp", 2),
     InlineData("layers.x", -1),
     InlineData("layers.1x", -1), InlineData("layers", -1), InlineData("layers.", -1), InlineData("layer.0", -1), InlineData("layers0", -1), InlineData("M.Forward", -1),
     InlineData("layers.x.layers.4", 4),
     InlineData("layers.99999999999", -1)]
    public void Layer_OfAScope_IsExactlyASegmentLayersAndANumber(string scope, int layer) => Assert.Equal(layer, LayerScope.Of(scope));

    [Theory]
    [InlineData("Scope(\"layer.0\")", "Scope(\"layer.0\")", "'layer.0'"), InlineData("Scope(\"layers0\")", "Scope(\"layers0\")", "'layers0'"),
     InlineData("Scope(\"layers.x\")", "Scope(\"layers.x\")", "'layers.x'"),
     InlineData("Scope(\"sublayers.1\")", "Scope(\"sublayers.1\")", "'sublayers.1'"), InlineData("Scope(\"block_3\")", "Scope(\"block_3\")", "'block_3'")]
    public void Scope_ThatLooksLikeALayer_IsAWarning(string scope, string under, string says)
    {
        var warning = Assert.Single(Report($"using ({scope}) using (Scope(\"mlp\")) x = x * 2;"));
        Assert.Equal(("GRAPH012", DiagnosticSeverity.Warning, under), (warning.Id, warning.Severity, Under(warning.Location)));
        Assert.Contains(says, warning.GetMessage());
    }

    [Theory]
    [InlineData("layers.0"), InlineData("layers.1.sublayers.4"), InlineData("input_layernorm"), InlineData("head")]
    public void Scope_OfALayerOrOfSomethingElse_IsNoWarning(string scope) => Assert.Empty(Report($"using (Scope(\"{scope}\")) x = x * 2;"));

    [Fact]
    public void Scope_OpenedInTwoSteps_IsALayer() => Assert.Empty(Report("using (Scope(\"layers\")) using (Scope(\"0\")) x = x * 2;"));

    [Theory]
    [InlineData("var s = Linear(x, LoraA(\"q\", 16));", "GRAPH013", "LoraA(\"q\", 16)", "LoraA(\"q\") has no LoraB of that name; an adapter is the two")]
    [InlineData("var b = LoraB(\"q\", 16);", "GRAPH013", "LoraB(\"q\", 16)", "LoraB(\"q\") has no LoraA of that name")]
    [InlineData("x = x + Linear(Linear(x, LoraA(\"q\", 16) * 2), LoraB(\"q\", 16));", "GRAPH013", "LoraA(\"q\", 16) * 2",
        "mul: reads LoraA(\"q\"); an adapter matrix can only be the w of a Linear(x, w) (with LoraA(\"q\"),")]
    [InlineData("var a = Linear(LoraA(\"q\", 16), LoraB(\"q\", 16));", "GRAPH013", "Linear(LoraA(\"q\", 16), LoraB(\"q\", 16))", "linear: reads LoraA(\"q\") as x")]
    [InlineData("x = Project(x, \"q\", 16) + Linear(Linear(x, LoraA(\"q\", 16)), LoraB(\"q\", 8));", "GRAPH003", "LoraB(\"q\", 8)",
        "lora_b: 'q' is f32[8,R] here but f32[16,R] where it was used first")]
    [InlineData("x = Project(x, \"q\", 16) + Linear(x, Param(\"q.weight\", 16, 8));", "GRAPH003", "Param(\"q.weight\", 16, 8)",
        "param: 'q.weight' is act[16,8] here but act[16,16] where it was used first")]
    public void Adapter_ThatIsNotAAndBOfALinear_IsAnErrorOnTheOp(string body, string id, string under, string message)
    {
        var fault = Assert.Single(Report(body));
        Assert.Equal((id, under), (fault.Id, Under(fault.Location)));
        Assert.Contains(message, fault.GetMessage());
    }

    [Fact]
    public void Compiler_ThatFails_AsksForAReport()
    {
        // A trace that no model can give: the passes are reached with an op they do not know.
        var failed = CompiledVariant.Of(new Generator.Tracing.TracedModel("m", [new(0, "linear", [3], [], "")], [], [], []), Array.Empty<string>());
        Assert.True(failed.Error is { IsInternal: true, Origin: -1 }, failed.Error?.ToString());
        Assert.EndsWith("; please report it with the model", failed.Error!.Message);
    }
}
