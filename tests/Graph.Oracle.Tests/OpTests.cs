using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Text.RegularExpressions;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Schedules;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>Every op's fp64 reference and derived backward against torch and its autograd in fp64.</summary>
public sealed class OpTests
{
    // Both sides compute in fp64 on a few hundred numbers near 1.
    const double Tolerance = 1e-11;

    public static TheoryData<string> Names => new(OpCases.All.Select(c => c.Name));
    public static TheoryData<string> DifferentiableNames => new(OpCases.All.Where(c => c.Operands.Any(o => o.Differentiable)).Select(c => c.Name));

    [Theory]
    [MemberData(nameof(Names))]
    public void Reference_RandomOperands_IsTorch(string name)
    {
        using var scope = NewDisposeScope();
        var test = OpCases.All.Single(c => c.Name == name);
        var types = test.Operands.Select(o => o.Type).ToArray();
        var y = test.Op.Reference(OpCases.Sizes, types, test.Operands.Select(o => o.Values).ToArray());
        Assert.Equal(OpCases.Sizes.Count(test.Op.Infer(types)), y.Length);
        AssertClose(Values(test.Torch(Tensors(test))), y);
    }

    [Theory]
    [MemberData(nameof(DifferentiableNames))]
    public void Adjoint_RandomOperands_IsTorchAutograd(string name)
    {
        using var scope = NewDisposeScope();
        var test = OpCases.All.Single(c => c.Name == name);
        var (values, gradients, seed) = Differentiate(test);

        var tensors = Tensors(test).Select((t, i) => test.Operands[i].Differentiable ? t.requires_grad_() : t).ToArray();
        var y = test.Torch(tensors);
        y.backward(new[] { tensor(seed.Length == 1 ? Enumerable.Repeat(seed[0], (int)y.numel()).ToArray() : seed, y.shape) });

        var wanted = tensors.Where((_, i) => test.Operands[i].Differentiable).ToArray();
        for (var i = 0; i < wanted.Length; i++) AssertClose(Values(wanted[i].grad!), values[gradients[i]]);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Expansion_RandomOperands_IsTorch(string name)
    {
        using var scope = NewDisposeScope();
        var test = OpCases.All.Single(c => c.Name == name);
        var (nodes, y) = Forward(test);
        var leaves = test.Operands.Select((o, i) => (i, o.Values)).ToDictionary(p => p.i, p => p.Values);
        AssertClose(Values(test.Torch(Tensors(test))), GraphEvaluator.Run(nodes, OpCases.Sizes, leaves)[y]);
    }

    [Fact]
    public void Cases_AllOpsOfTheGenerator_AreExercised()
    {
        var exercised = OpCases.All.Select(c => c.Op.GetType())
            .Concat(OpCases.All.Where(c => c.Operands.Any(o => o.Differentiable)).SelectMany(c => Nodes(c).Select(n => n.Op.GetType())))
            .ToHashSet();
        var all = typeof(Op).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(Op)) && !t.IsAbstract && !t.IsSubclassOf(typeof(Leaf)));
        // A score's arguments exist only while a score function is traced.
        // Gradients of weights exist in a full model alone; FullFinetuningTests compares each of them with torch's.
        Type[] elsewhere = [typeof(ScoreArgument), typeof(WeightGradient), typeof(TokenSum), typeof(EmbeddingGradient), typeof(LinearCrossEntropyTableGrad)];
        Assert.Empty(all.Where(t => !elsewhere.Contains(t) && !exercised.Contains(t)).Select(t => t.Name));
    }

    /// <summary>The DSL's methods, the arms of the catalog, the rows of the table in architecture.md and the cases above name the same ops.</summary>
    [Fact]
    public void Ops_DslCatalogTableAndCases_AreTheSame()
    {
        var dsl = typeof(Dsl.Ops).GetMethods().Concat(typeof(Dsl.Tensor).GetMethods()).Select(m => m.GetCustomAttribute<Dsl.OpAttribute>()?.Name).OfType<string>().Distinct()
            .Except(new[] { "attention" }).Concat(new[] { "input", "score_input", "score_distance", "score_head" }).Order().ToArray();
        var catalog = Regex.Matches(File.ReadAllText(Path.Combine(Repository.Root, "src", "Graph.Generator", "Ops", "OpCatalog.cs")),
            "^ +\"(\\w+)\" => new ", RegexOptions.Multiline).Select(m => m.Groups[1].Value).Order();
        Assert.Equal(dsl, catalog);
        var table = File.ReadAllLines(Path.Combine(Repository.Root, "docs", "architecture.md"))
            .SkipWhile(l => !l.StartsWith("| op | C# |", StringComparison.Ordinal)).Skip(2).TakeWhile(l => l.StartsWith('|'))
            .SelectMany(l => l.Split('|')[1].Split(new[] { ' ', '/' }, StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(dsl.Append("attention").Order(), table.Order());
        var cases = OpCases.All.Select(c => c.Op.Name);
        // Leaves have no reference: their values are given.
        Assert.Empty(dsl.Except(new[] { "input", "param", "lora_a", "lora_b", "lora_scale", "positions", "score_input", "score_distance", "score_head" }).Except(cases));
    }

    static IEnumerable<Node> Nodes(OpCase test) => Build(test).Nodes;

    static (double[][] Values, int[] Gradients, double[] Seed) Differentiate(OpCase test)
    {
        var (nodes, gradients, dy) = Build(test);
        var seed = Enumerable.Range(0, OpCases.Sizes.Count(nodes[dy].Type)).Select(i => Math.Sin(i + 1.0)).ToArray();
        var leaves = test.Operands.Select((o, i) => (i, o.Values)).ToDictionary(p => p.i, p => p.Values);
        leaves[dy] = seed;
        return (GraphEvaluator.Run(nodes, OpCases.Sizes, leaves), gradients, seed);
    }

    // Operands are nodes 0, 1, …; composites expand, as the compiler's second pass does.
    static int Append(GraphBuilder g, OpCase test)
    {
        var operands = test.Operands.Select((o, i) => g.Add(new Param("x" + i, o.Type))).ToArray();
        return test.Op.Expand(g, operands) ?? g.Add(test.Op, operands);
    }

    static (Node[] Nodes, int Y) Forward(OpCase test)
    {
        var g = new GraphBuilder();
        var y = Append(g, test);
        return (All(g), y);
    }

    static (Node[] Nodes, int[] Gradients, int Seed) Build(OpCase test)
    {
        var g = new GraphBuilder();
        var y = Append(g, test);
        // The loss rows all have one gradient, inv_labels.
        var dy = g.Add(test.Op is LinearCrossEntropy ? new RunScalar(StepScalar.InvLabels) : new Param("dy", g.Type(y)));
        var gradients = GraphEvaluator.Backward(g, y, dy, Enumerable.Range(0, test.Operands.Count).Where(i => test.Operands[i].Differentiable).ToArray());
        return (All(g), gradients, dy);
    }

    static Node[] All(GraphBuilder g) => Enumerable.Range(0, g.Count).Select(i => g[i]).ToArray();

    static Tensor[] Tensors(OpCase test) => test.Operands.Select(o =>
    {
        var t = tensor(o.Values, o.Type.Shape.Select(d => (long)OpCases.Sizes.Of(d)).ToArray());
        return o.Type.DType == DType.I32 ? t.to(ScalarType.Int64) : t;
    }).ToArray();

    static double[] Values(Tensor t) => t.detach().to(ScalarType.Float64).contiguous().data<double>().ToArray();

    static void AssertClose(double[] expected, double[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (var i = 0; i < expected.Length; i++)
            Assert.True(Math.Abs(expected[i] - actual[i]) <= Tolerance * Math.Max(1, Math.Abs(expected[i])), $"element {i}: torch has {expected[i]:R}, the op {actual[i]:R}");
    }
}
