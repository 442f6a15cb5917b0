using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Generator.Tests.Tracing;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Generator.Tests;

/// <summary>
/// From changed model code to gradients: generated, compiled, loaded, run on the CPU, and compared with differences of the loss.
/// No part of the backward is written by hand for any of these models.
/// </summary>
public sealed class StructureGradientTests
{
    const int Tokens = 40, Rank = 3;

    static readonly Lazy<IReadOnlyDictionary<string, CompiledModel>> Models = new(() =>
    {
        var models = Project.Gemma2().AddSyntaxTrees(
            Project.Tree(File.ReadAllText(Path.Combine(Project.Root, "tests", "Graph.Generator.Tests", "Tracing", "StructureModels.cs")), "StructureModels.cs"));
        Project.Driver(("GraphEmitVariants", string.Join(",", StructureTests.Compiled)), ("GraphEmitTargets", "cpu"))
            .RunGeneratorsAndUpdateCompilation(models, out var compilation, out _);
        return EmittedModelTests.Load(compilation).ToDictionary(m => m.Name);
    });

    public static TheoryData<string> Good => new(StructureTests.Compiled);

    /// <summary>Moving one adapter matrix along its own gradient g changes the loss by |g| per unit: that holds only where g is the gradient.</summary>
    [Theory]
    [MemberData(nameof(Good))]
    public void Gradient_OfEveryAdapter_IsTheSlopeOfTheLoss(string name)
    {
        var model = Models.Value[name];
        var schedule = ScheduleText.Parse(model.Schedule());
        var linears = schedule.Adapters.SelectMany(set => set.Adapters).Select(a => a.Name).ToArray();
        using var device = new CpuDevice(poison: true);
        device.Load(model);
        using var session = new TrainingSession(device, ExecutionPlan.Create(schedule, new PlanOptions(Tokens, RankTable.Create(schedule, _ => Rank), ActType.F32, 2)));
        session.LoadWeights(new RandomWeights(schedule, 1));
        session.InitializeAdapters(2);
        var random = new Random(3);
        float[] Noise(int count, double size) => Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() - 0.5) * size)).ToArray();
        var adapters = linears.ToDictionary(l => l, l => session.GetAdapter(l) is var a ? (A: a.A, B: Noise(a.B.Length, 0.1)) : default);
        foreach (var (linear, adapter) in adapters) session.SetAdapter(linear, adapter.A, adapter.B);
        // Two documents and slack.
        int[] Ids(int count) => Enumerable.Range(0, count).Select(_ => random.Next(4096)).ToArray();
        var batch = MicroBatch.Pack(Tokens, [(Ids(23), Ids(23)), (Ids(11), Ids(11))]);

        var loss = session.Train([batch], 0).Loss;
        Assert.Equal(session.Evaluate(batch).LossSum / batch.LabelCount, loss, 1e-6);
        var gradients = linears.ToDictionary(l => l, session.GetGradient);
        foreach (var linear in linears)
        {
            IsTheSlope(linear, "A", adapters[linear].A, gradients[linear].A, a => session.SetAdapter(linear, a, adapters[linear].B));
            IsTheSlope(linear, "B", adapters[linear].B, gradients[linear].B, b => session.SetAdapter(linear, adapters[linear].A, b));
        }

        void IsTheSlope(string linear, string matrix, float[] values, float[] gradient, Action<float[]> set)
        {
            var norm = Math.Sqrt(gradient.Sum(g => (double)g * g));
            Assert.True(norm > 1e-6, linear + "." + matrix + " has no gradient");
            // As far as the loss moves by 0.002 in all: a thousand times the rounding of fp32, and little of its curvature.
            var step = Math.Min(1e-3 / norm, 0.15);
            double At(double distance)
            {
                set(values.Select((v, i) => (float)(v + distance * gradient[i] / norm)).ToArray());
                return session.Evaluate(batch).LossSum / batch.LabelCount;
            }
            var slope = (At(step) - At(-step)) / (2 * step);
            set(values);
            Assert.True(Math.Abs(slope - norm) <= 0.002 * norm + 1e-6 / step, $"{linear}.{matrix}: the loss changes by {slope} per unit along a gradient of norm {norm}");
        }
    }
}
