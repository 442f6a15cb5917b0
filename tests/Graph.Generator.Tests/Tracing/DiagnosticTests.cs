using System.Linq;
using Microsoft.CodeAnalysis;
using Xunit;

namespace Graph.Generator.Tests.Tracing;

/// <summary>What a user reads, and on which code: the text under the squiggle and the sentence with its values.</summary>
public sealed class DiagnosticTests
{
    const string Model = """
        using System;
        using System.Collections.Generic;
        using System.Linq;
        using Graph.Dsl;
        using static Graph.Dsl.Ops;
        [GraphModel("m")] public sealed class M() : LanguageModel
        {
            readonly string? _null = null;
            public override Tensor Forward(Tensor ids)
            {
                var table = Param("table", 32, 16);
                var x = Embedding(ids, table);
                BODY
                return Linear(x, table);
            }
            Tensor Again(Tensor x) => Again(x);
            int Deep(int n) => Deep(n + 1) + 1;
            static readonly Tensor Shared = null!;
            public override ConfigField[] CheckpointConfig => [];
        }
        record Size(int N);
        static class Later { public static double First = Second + 1, Second = 3; }
        """;

    internal static Diagnostic[] Report(string source, params (string, string)[] properties) => Project.Driver(properties).RunGenerators(Project.Of(Project.Tree(source)))
        .GetRunResult().Diagnostics.ToArray();

    static void IsReported(string source, string id, string under, string message)
    {
        var diagnostic = Assert.Single(Report(source));
        Assert.Equal(id, diagnostic.Id);
        Assert.Equal(DiagnosticSeverity.Error, diagnostic.Severity);
        Assert.Equal(under, diagnostic.Location.SourceTree!.GetText(TestContext.Current.CancellationToken).ToString(diagnostic.Location.SourceSpan));
        Assert.Contains(message, diagnostic.GetMessage());
    }

    [Theory]
    // C# that a model may not use
    [InlineData("try { x += 1; } finally { }", "GRAPH001", "try { x += 1; } finally { }", "is not something a model may use")]
    [InlineData("lock (table) { }", "GRAPH001", "lock (table) { }", "(Lock) is not something a model may use")]
    [InlineData("x += new DateTime(2).Day;", "GRAPH001", "new DateTime(2)", "'DateTime' is a struct; a model may use classes, records and tuples")]
    [InlineData("using (new System.IO.StringReader(\"\")) { }", "GRAPH004", "new System.IO.StringReader(\"\")", "'StringReader' is part of the base library")]
    [InlineData("var d = 1.5m + 2; x *= (double)d;", "GRAPH001", "(double)d", "a decimal is not something a model may use")]
    [InlineData("int.TryParse(\"1\", out var n);", "GRAPH001", "out var n", "'result' is passed by reference")]
    [InlineData("var t = typeof(int);", "GRAPH001", "typeof(int)", "is not something a model may use")]
    [InlineData("x *= x.Id;", "GRAPH001", "x.Id", "'Id' of a tensor is not known while tracing")]
    // tensors decide nothing
    [InlineData("if ((object)x is true) x += 1;", "GRAPH006", "true", "a tensor act[T,16] is compared with true")]
    [InlineData("x = x > 0 ? x : x * 2;", "GRAPH006", "x > 0", "a tensor act[T,16] is compared with 0; the values of tensors are not known while tracing")]
    [InlineData("x *= (object)x is > 0 ? 1 : 2;", "GRAPH006", "> 0", "a tensor act[T,16] is compared with 0")]
    [InlineData("if (x == table) x += 1;", "GRAPH006", "x == table", "a tensor act[T,16] is compared with a tensor act[32,16]")]
    [InlineData("if (x.Equals(table)) x += 1;", "GRAPH006", "x.Equals(table)", "tensors are compared")]
    [InlineData("if (ReferenceEquals(x, table)) x += 1;", "GRAPH006", "ReferenceEquals(x, table)", "tensors are compared")]
    [InlineData("if ((bool)(object)x) x += 1;", "GRAPH002", "(bool)(object)x", "the condition is a tensor act[T,16]; it must be known while tracing")]
    // shapes
    [InlineData("x = Linear(x, Param(\"w\", 8, 24));", "GRAPH003", "Linear(x, Param(\"w\", 8, 24))",
        "linear: x is act[T,16] but w is act[8,24]; the last dims must match (with w, variant m, in M.Forward)")]
    [InlineData("x += Param(\"w\", 8);", "GRAPH003", "x += Param(\"w\", 8)", "add: x is act[T,16] but y is act[8]")]
    [InlineData("x *= RowMean(RowMean(x));", "GRAPH003", "RowMean(RowMean(x))", "row_mean: x is f32[T,1], which has one value per row already")]
    [InlineData("x *= RowMean(SplitHeads(x, 2));", "GRAPH003", "x *= RowMean(SplitHeads(x, 2))",
        "mul: x is act[T,16] but y is f32[T,2,1]; shapes must be equal, or one of them a scalar")]
    [InlineData("x += MergeHeads(RowMean(SplitHeads(x, 2)));", "GRAPH003", "MergeHeads(RowMean(SplitHeads(x, 2)))",
        "merge_heads: x is f32[T,2,1]; one value per row has no heads to split or merge")]
    [InlineData("x *= RowMean(ids);", "GRAPH003", "RowMean(ids)", "row_mean: x is i32[T]; it must have rows of numbers")]
    [InlineData("var b = LoraB(\"q\", 16); x *= RowMean(Linear(x, LoraA(\"q\", 16)));", "GRAPH003", "RowMean(Linear(x, LoraA(\"q\", 16)))",
        "row_mean: x is act[T,R]; there are no reductions over the rank of an adapter")]
    [InlineData("var b = LoraB(\"q\", 16); var s = Linear(x, LoraA(\"q\", 16)) * RowMean(x);", "GRAPH003", "Linear(x, LoraA(\"q\", 16)) * RowMean(x)",
        "mul: x is act[T,R] but y is f32[T,1]")]
    [InlineData("x = MergeHeads(SplitHeads(x, 2) * Param(\"g\", 3, 1));", "GRAPH003", "SplitHeads(x, 2) * Param(\"g\", 3, 1)", "mul: x is act[T,2,8] but y is act[3,1]")]
    [InlineData("x = MergeHeads(RmsNorm(SplitHeads(x, 2), Param(\"n\", 16), 1e-6));", "GRAPH003", "RmsNorm(SplitHeads(x, 2), Param(\"n\", 16), 1e-6)",
        "rms_norm: x is act[T,2,8] but w is act[16]")]
    [InlineData("x = LayerNorm(x, Param(\"n\", 16), Param(\"b\", 8), 1e-6);", "GRAPH003", "LayerNorm(x, Param(\"n\", 16), Param(\"b\", 8), 1e-6)",
        "layer_norm: x is act[T,16] but b is act[8]; b must have one value per column")]
    [InlineData("x = LayerNorm(x, Param(\"n\", 16), 0);", "GRAPH003", "LayerNorm(x, Param(\"n\", 16), 0)", "layer_norm: eps is 0; it must be positive")]
    [InlineData("var y = RmsNorm(Linear(x, Param(\"w\", 8200, 16)), Param(\"n\", 8200), 1e-6);", "GRAPH003", "RmsNorm(Linear(x, Param(\"w\", 8200, 16)), Param(\"n\", 8200), 1e-6)",
        "rows of more than 8192 columns cannot be reduced")]
    [InlineData("var y = Linear(x, Param(\"w\", 20, 16));", "GRAPH003", "Linear(x, Param(\"w\", 20, 16))",
        "linear: the result is act[T,20]; kernels read 8 columns at a time, so the last dimension must be a multiple of 8")]
    [InlineData("x = MergeHeads(SplitHeads(x, 4));", "GRAPH003", "SplitHeads(x, 4)", "split_heads: the result is act[T,4,4]; kernels read 8 columns at a time")]
    [InlineData("x *= Sigmoid(ids);", "GRAPH003", "Sigmoid(ids)", "sigmoid: i32[T]; integers take no part in arithmetic")]
    [InlineData("x *= ids;", "GRAPH003", "x *= ids", "mul: x is act[T,16] and y is i32[T]; integers take no part in arithmetic")]
    [InlineData("x = RmsNorm(x, Param(\"w\", 8), 1e-6);", "GRAPH003", "RmsNorm(x, Param(\"w\", 8), 1e-6)", "w must have one value per column of x")]
    [InlineData("x = RmsNorm(x, Param(\"w\", 16), 0);", "GRAPH003", "RmsNorm(x, Param(\"w\", 16), 0)", "rms_norm: eps is 0; it must be positive")]
    [InlineData("x = MergeHeads(SplitHeads(x, 3));", "GRAPH003", "SplitHeads(x, 3)", "its 16 columns do not divide into 3 heads")]
    [InlineData("x = SplitHeads(x, 0);", "GRAPH003", "SplitHeads(x, 0)", "split_heads: heads is 0; it must be at least 1")]
    [InlineData("x *= Param(\"a b\", 16);", "GRAPH003", "Param(\"a b\", 16)", "param: name is a b; it must have no spaces")]
    [InlineData("x *= Param(\"g\");", "GRAPH003", "Param(\"g\")", "param: 'g' has no dimensions; give its shape in the checkpoint")]
    [InlineData("x *= Param(\"table\", 16);", "GRAPH003", "Param(\"table\", 16)", "param: 'table' is act[16] here but act[32,16] where it was used first")]
    [InlineData("x *= 1 / (C(0) * 1.0);\n int C(int i) => i;", "GRAPH003", "1 / (C(0) * 1.0)", "const: value is")]
    [InlineData("var h = SplitHeads(x, 1); x = MergeHeads(Attention(h, h, h, 1, z => RowMean(z)));", "GRAPH003", "RowMean(z)",
        "the score function calls row_mean; it may use numbers, arithmetic and functions of one element")]
    [InlineData("var h = SplitHeads(x, 1); x = MergeHeads(Attention(h, h, h, 1, z => z * Param(\"w\", 16)));", "GRAPH003", "Param(\"w\", 16)",
        "the score function calls param; it may use")]
    [InlineData("var h = SplitHeads(x, 1); x = MergeHeads(Attention(h, h, h, 1, (z, at) => z + at.Distance * at.Head.Id));", "GRAPH001", "at.Head.Id",
        "'Id' of a tensor is not known while tracing")]
    [InlineData("var h = SplitHeads(x, 2); x = MergeHeads(Attention(h, h, h, 1));", "GRAPH003", "Attention(h, h, h, 1)",
        "attention: the head dim is 8; it must be a multiple of 16 up to 96, or of 32 up to 256 (variant m, in M.Forward)")]
    [InlineData("var h = SplitHeads(x, 1); Tensor? s = null; h = Attention(h, h, h, 1, z => { s = z * 2; return z; }); x = MergeHeads(h * s!);", "GRAPH003", "h * s!",
        "mul: reads a value of attention's score function")]
    [InlineData("var y = Linear(x, Param(\"w\", 2_000_000_000, 16));", "GRAPH003", "Param(\"w\", 2_000_000_000, 16)",
        "param: 'w' is [2000000000,16]; a weight has at most 2,147,483,647 elements")]
    [InlineData("var h = SplitHeads(x, 1); x = MergeHeads(Attention(h, h, h, 1, z => z * x));", "GRAPH003", "z * x", "the score function reads a tensor act[T,16] from outside")]
    [InlineData("var h = SplitHeads(x, 1); x = MergeHeads(Attention(h, h, h, 1, null, 0));", "GRAPH003", "Attention(h, h, h, 1, null, 0)",
        "attention: window is 0; it must be at least 1")]
    // calls
    [InlineData("x *= Random.Shared.NextDouble();", "GRAPH004", "Random.Shared", "'Random.Shared' is part of the base library, of which only a few members are traced")]
    [InlineData("x *= Environment.ProcessorCount;", "GRAPH004", "Environment.ProcessorCount", "is part of the base library")]
    [InlineData("x *= new Size(3).ToString().Length;", "GRAPH004", "new Size(3).ToString()", "'Size.ToString' has no body in this project that could be traced; write one")]
    [InlineData("x *= DateTime.Now.Day;", "GRAPH004", "DateTime.Now", "'DateTime.Now' is part of the base library")]
    [InlineData("x *= new[] { 1, 2 }.Where(i => i > 1).Sum();", "GRAPH004", "new[] { 1, 2 }.Where(i => i > 1)",
        "LINQ's 'Enumerable.Where' is not traced, or not with these arguments; a model may call Range, Repeat, Select")]
    [InlineData("x *= new[] { 1.5, 2 }.Sum();", "GRAPH004", "new[] { 1.5, 2 }.Sum()", "Sum of ints")]
    [InlineData("x *= Recorder.Record(() => this).Count;", "GRAPH004", "Recorder.Record(() => this)", "'Recorder.Record' belongs to another project")]
    [InlineData("x *= Math.BigMul(2, 3);", "GRAPH004", "Math.BigMul(2, 3)", "'Math.BigMul' is part of the base library")]
    // termination
    [InlineData("x = Again(x);", "GRAPH005", "Again(x)", "the model does not end: calls are nested 401 deep")]
    [InlineData("x *= Deep(0);", "GRAPH005", "Deep(n + 1)", "the model does not end: calls are nested 401 deep")]
    [InlineData("for (;;) ;", "GRAPH005", ";", "the model does not end")]
    // values
    [InlineData("x *= _null!.Length;", "GRAPH007", "_null!.Length", "'Length' is read from null")]
    [InlineData("x *= 7 / (_null is null ? 0 : 1);", "GRAPH007", "7 / (_null is null ? 0 : 1)", "7 is divided by zero")]
    [InlineData("var a = new int[2]; x *= a[2];", "GRAPH007", "a[2]", "index 2 is outside of the list of 2")]
    [InlineData("x *= (_null is null ? 3 : 1) switch { 1 => 2, 2 => 4 };", "GRAPH007", "(_null is null ? 3 : 1) switch { 1 => 2, 2 => 4 }", "no arm of the switch takes 3")]
    [InlineData("if (_null is null) throw new ArgumentException();", "GRAPH007", "throw new ArgumentException();", "the model throws here, without a message (variant m")]
    [InlineData("if (_null is null) throw new ArgumentException(\"a name must be given\");", "GRAPH007", "throw new ArgumentException(\"a name must be given\");",
        "a name must be given (variant m")]
    [InlineData("x *= Later.First;", "GRAPH007", "Second", "'Second' has no value yet when the initializer of 'First' reads it; declare it before")]
    [InlineData("x += Shared;", "GRAPH007", "x += Shared", "add: 'b' is null; it must be a tensor")]
    [InlineData("x += checked(int.MaxValue + _null?.Length ?? int.MaxValue + Deep2(1));\n static int Deep2(int n) => checked(int.MaxValue + n);", "GRAPH007", "int.MaxValue + n",
        "2147483647 Add 1 overflows")]
    public void Statement_NotAllowed_IsAnErrorOnItself(string statement, string id, string under, string message) =>
        IsReported(Model.Replace("BODY", statement), id, under, message);

    [Theory]
    [InlineData("return Linear(x, table);", "return SplitHeads(x, 2);", "GRAPH009",
        "cross_entropy: the model returns act[T,2,8]; it must return logits [T,V] (variant m, in M.Forward)", null)]
    [InlineData("return Linear(x, table);", "var y = Linear(x, table); x = x * 2; return y;", "GRAPH009", "but records mul after it, whose result nothing reads; remove it", null)]
    [InlineData("[GraphModel(\"m\")]", "[GraphModel(\"M 1\")]", "GRAPH008", "has the name 'M 1'; use lower-case letters", null)]
    [InlineData("public sealed class M()", "public abstract class M()", "GRAPH008", "is abstract", null)]
    [InlineData("public sealed class M()", "public sealed class M(int i)", "GRAPH008", "has no constructor without parameters", null)]
    [InlineData("CheckpointConfig => []", "CheckpointConfig => [new(\"a\", new double[1])]", "GRAPH009",
        "CheckpointConfig has a = a list of 1; a value is an int", "CheckpointConfig")]
    [InlineData("CheckpointConfig => []", "CheckpointConfig => [new(\"a\", 1), new(\"b\", 2)]; public override string[] Changes => [\"a\", \"c\"]",
        "GRAPH009", "Changes names 'c', which is no field of CheckpointConfig (a, b) and no tensor or member (whose names have dots)", "Changes")]
    [InlineData("CheckpointConfig => []", "CheckpointConfig => []; public override string[] Changes => null!", "GRAPH009",
        "Changes is null; it must be a list of texts", "Changes")]
    [InlineData("readonly string? _null = null;", "static readonly Tensor Wrong = Param(\"w\", 16); Tensor Use() => Wrong; readonly string? _null = Wrong is null ? null : null;",
        "GRAPH001", "the static member 'Wrong' calls ops", "Param(\"w\", 16)")]
    public void Class_WrongForm_IsAnErrorOnTheClass(string old, string changed, string id, string message, string? under) =>
        IsReported(Model.Replace("BODY", "").Replace(old, changed), id, under ?? "M", message);

    [Fact]
    public void Model_NotDerivedFromLanguageModel_IsAnErrorOnTheClass() =>
        IsReported("using Graph.Dsl; [GraphModel(\"m\")] public sealed class M;", "GRAPH008", "M", "[GraphModel(\"m\")] M does not derive from LanguageModel");

    [Fact]
    public void Fault_InALayerThatVariantsShare_IsOneDiagnostic()
    {
        var source = Model.Replace("[GraphModel(\"m\")] public sealed class M()",
            "[GraphModel(\"a\")] public sealed class A : M; [GraphModel(\"b\")] public sealed class B : M; public class M()").Replace("BODY", "x = Linear(x, ids);");
        var diagnostic = Assert.Single(Report(source));
        Assert.EndsWith("(variant a, in M.Forward; also in b)", diagnostic.GetMessage());
    }

    [Fact]
    public void Variants_OfOneName_AreAnErrorOnTheSecondClass()
    {
        var source = Model.Replace("BODY", "")
            .Replace("[GraphModel(\"m\")] public sealed class M()", "[GraphModel(\"m\")] public sealed class N : M; [GraphModel(\"m\")] public class M()");
        Assert.Contains("two [GraphModel] classes are called 'm'", Assert.Single(Report(source), d => d.Id == "GRAPH008").GetMessage());
    }

    [Fact]
    public void Code_WithErrorsOfTheCompiler_IsLeftToTheCompiler() => Assert.Empty(Report(Model.Replace("BODY", "x = Missing(x);")));

    [Fact]
    public void Names_Unknown_AreErrorsThatListWhatThereIs()
    {
        var messages = Report(Model.Replace("BODY", ""), ("GraphEmitVariants", "m,9b"), ("GraphEmitTargets", "sm_90a,sm_12")).Select(d => d.Id + " " + d.GetMessage());
        Assert.Equal(["GRAPH011 GraphVariants names '9b', but the variants here are m",
            "GRAPH011 GraphTargets names 'sm_12', but the targets are cpu, " + string.Join(", ", Graph.Generator.Schedules.Target.All)], messages);
    }

    [Fact]
    public void Passes_ThatCannotCompileATrace_ReportOnTheOp() =>
        IsReported(Model.Replace("BODY", "").Replace("return Linear(x, table);", "return Tanh(x);"), "GRAPH010", "Tanh(x)",
            "the logits must be one linear of a frozen table, with pointwise functions of constants around it (variant m, in M.Forward)");
}
