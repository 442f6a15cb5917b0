using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using Graph.Dsl;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Graph.Generator.Passes;
using Graph.Generator.Tests.Tracing;
using Graph.Oracle.Tests;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>Models of FunctionModels.cs: recorded and interpreted, compiled, and trained for a step on the CPU; loss and every adapter's gradient are those of the ops'
/// references in fp64.</summary>
public sealed class FunctionTests
{
    const int Tokens = 64, Rank = 3;
    const double LoraScale = 1.5;

    static readonly Lazy<(IReadOnlyDictionary<string, IReadOnlyList<Generator.Tracing.TraceNode>> Traces, IReadOnlyDictionary<string, CompiledModel> Models)> All = new(() =>
    {
        var project = Project.Of(Project.Tree(File.ReadAllText(Path.Combine(Project.Root, "tests", "Graph.Generator.Tests", "Tracing", "FunctionModels.cs")), "FunctionModels.cs"));
        var traces = Project.Trace(project).ToDictionary(t => t.Variant,
            t => (t.Model ?? throw new InvalidOperationException(t.Error?.ToString() ?? t.Variant + ": the model does not compile")).Nodes);
        Project.Driver(("GraphEmitTargets", "cpu")).RunGeneratorsAndUpdateCompilation(project, out var compilation, out var diagnostics);
        Assert.Empty(diagnostics);
        return (traces.ToDictionary(t => t.Key, t => (IReadOnlyList<Generator.Tracing.TraceNode>)t.Value.ToArray()), EmittedModelTests.Load(compilation).ToDictionary(m => m.Name));
    });

    static readonly IReadOnlyDictionary<string, Type> Classes = typeof(FunctionTests).Assembly.GetTypes()
        .Where(t => t.Namespace == "Graph.Generator.Tests.Tracing.Functions" && t.GetCustomAttribute<GraphModelAttribute>() is not null)
        .ToDictionary(t => t.GetCustomAttribute<GraphModelAttribute>()!.Name);

    public static TheoryData<string> Names => new(Classes.Keys);

    [Theory]
    [MemberData(nameof(Names))]
    public void Model_RunAndInterpreted_GivesTheSameTrace(string name) =>
        Assert.Equal(Dsl.TraceText.Print(Recorder.Record(() => (LanguageModel)Activator.CreateInstance(Classes[name])!)),
            Generator.Tracing.TraceText.Print(All.Value.Traces[name]));

    [Theory]
    [MemberData(nameof(Names))]
    public void Step_OnTheCpu_HasTheLossAndGradientsOfTheReferences(string name)
    {
        var step = new Step(name);
        using var device = new CpuDevice(poison: true);
        var (loss, gradients) = step.Train(device);
        var (expectedLoss, expected) = step.Reference();
        Assert.Equal(expectedLoss, loss, 1e-5 * Math.Abs(expectedLoss));
        Assert.Equal(expected.Keys.Order(), gradients.Keys.Order());
        // fp32 against fp64; what is farthest off is 5e-6.
        Assert.All(expected, e => Assert.InRange(Distance(e.Value, gradients[e.Key]), 0, 2e-5));
        Assert.All(expected, e => Assert.True(e.Value.Any(v => v != 0) && e.Value.All(double.IsFinite), e.Key + " has no gradient"));
    }

    /// <summary>What is built again has the same bits.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Step_WithFullRecompute_HasTheSameBits(string name)
    {
        var step = new Step(name);
        using var device = new CpuDevice(poison: true);
        var (loss, gradients) = step.Train(device);
        var (again, others) = step.Train(device, Decisions.Full);
        Assert.Equal(loss, again);
        Assert.All(gradients, g => Assert.Equal(g.Value, others[g.Key]));
    }

    static double Distance(double[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        return Math.Sqrt(expected.Zip(actual, (a, b) => (a - b) * (a - b)).Sum() / expected.Sum(a => a * a));
    }

    /// <summary>One step's data: random weights and adapters, three documents and slack.</summary>
    sealed class Step
    {
        readonly CompiledModel model;
        readonly IReadOnlyList<Generator.Tracing.TraceNode> trace;
        readonly Runtime.Schedules.Schedule schedule;
        readonly Weights weights;
        readonly MicroBatch batch;
        readonly Dictionary<string, (float[] A, float[] B)> adapters;

        public Step(string name)
        {
            (trace, model) = (All.Value.Traces[name], All.Value.Models[name]);
            schedule = Runtime.Schedules.ScheduleText.Parse(model.Schedule());
            weights = new Weights(schedule);
            var random = new Random(5);
            int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(72))];
            batch = MicroBatch.Pack(Tokens, [(Ids(27), Ids(27)), (Ids(1), Ids(1)), (Ids(19), [.. Ids(15), -100, -100, 3, -100])]);
            adapters = schedule.Adapters.SelectMany(s => s.Adapters.Select(a => (a.Name, A: Noise(Rank * s.In), B: Noise(a.Out * Rank))))
                .ToDictionary(a => a.Name, a => (a.A, a.B));

            float[] Noise(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() - 0.5) * 0.4))];
        }

        public (double Loss, Dictionary<string, float[]> Gradients) Train(CpuDevice device, Func<Shapes, Decisions>? decisions = null)
        {
            device.Load(model);
            var ranks = RankTable.Create(schedule, _ => Rank);
            var options = new PlanOptions(Tokens, ranks, ActType.F32, LoraScale) { Decisions = decisions?.Invoke(new Shapes(schedule, Tokens, ranks, ActType.F32)) };
            using var session = new TrainingSession(device, ExecutionPlan.Create(schedule, options));
            session.LoadWeights(weights);
            session.InitializeAdapters(1);
            foreach (var (linear, adapter) in adapters) session.SetAdapter(linear, adapter.A, adapter.B);
            var loss = session.Train([batch], 0).Loss;
            return (loss, adapters.Keys.SelectMany(l => session.GetGradient(l) is var g ? new[] { (l + ".A", g.A), (l + ".B", g.B) } : [])
                .ToDictionary(g => g.Item1, g => g.Item2));
        }

        public (double Loss, Dictionary<string, double[]> Gradients) Reference()
        {
            var graph = Simplify.Run(Differentiate.Run(StackLinears.Run(FuseLoss.Run(Expand.Run(Import.Run(trace))))));
            var leaves = graph.Nodes.Where(n => n.Op is Leaf).ToDictionary(n => n.Id, n => n.Op switch
            {
                Input input => Doubles(batch[input.Role]),
                Param p => Doubles(weights.Values(p.Tensor)),
                ParamStack stack => Doubles(stack.Parts.SelectMany(p => weights.Values(p.Tensor))),
                AdapterStack stack => Stacks.Value(stack, Rank, name => Doubles(stack.IsA ? adapters[name].A : adapters[name].B)),
                RunScalar { Role: Generator.Schedules.StepScalar.LoraScale } => [LoraScale],
                RunScalar => [1.0 / batch.LabelCount],
                var other => throw new InvalidOperationException("no value for " + other),
            });
            var values = GraphEvaluator.Run(graph.Nodes, new ReferenceSizes(Tokens, Rank, batch.Positions, batch.DocStart, LoraScale), leaves);
            return (values[graph.Outputs[0]].Sum() / batch.LabelCount,
                Stacks.Gradients(graph, values, Rank).ToDictionary(g => g.Key.Name + (g.Key.IsA ? ".A" : ".B"), g => g.Value));
        }

        static double[] Doubles(IEnumerable<float> values) => [.. values.Select(v => (double)v)];
        static double[] Doubles(IEnumerable<int> values) => [.. values.Select(v => (double)v)];
    }

    /// <summary>fp32 weights large enough that every function bends: matrices by the root of their columns, vectors around 0.5.</summary>
    sealed class Weights(Runtime.Schedules.Schedule schedule) : IWeightSource
    {
        readonly Dictionary<string, int[]> shapes = schedule.Tensors.Where(t => t.Kind == TensorKind.Weight).SelectMany(t => t.Stored()).ToDictionary(t => t.Name, t => t.Shape);

        public float[] Values(string name)
        {
            var shape = shapes[name];
            var random = new Random(name.Aggregate(7, (hash, c) => unchecked(hash * 31 + c)) & int.MaxValue);
            var (middle, width) = shape.Length == 1 ? (0.5, 1.0) : (0.0, 3.5 / Math.Sqrt(shape[^1]));
            return [.. Enumerable.Range(0, shape.Aggregate((a, b) => a * b)).Select(_ => (float)(middle + width * (random.NextDouble() - 0.5)))];
        }

        public StoredTensor Describe(string name) => new(StoredType.F32, shapes[name]);

        public ReadOnlySpan<byte> Rows(string name, int row, int rows, Span<byte> scratch)
        {
            var columns = shapes[name][^1];
            return MemoryMarshal.AsBytes(Values(name).AsSpan(row * columns, rows * columns));
        }
    }
}
