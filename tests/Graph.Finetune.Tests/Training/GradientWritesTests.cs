using System.Linq;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Training;

/// <summary>Gradients of trained weights in a step of one micro-batch: written, not cleared and added to.</summary>
public sealed class GradientWritesTests
{
    const int Tokens = 96;

    static readonly Graph.Runtime.CompiledModel Model = GraphModels.All.Single(m => m.Name == "nano-full");

    static readonly Schedule Schedule = ScheduleText.Parse(Model.Schedule());

    static PlanOptions Options(int microBatches) => new(Tokens, RankTable.Create(Schedule, _ => 0), ActType.F32, 0) { MicroBatches = microBatches, LogitsRows = 40 };

    /// <summary>Vectors' sums are added to what is there, so they are cleared, in one go. Of several micro-batches all are.</summary>
    [Fact]
    public void Cleared_OfOneMicroBatch_AreVectorsSideBySide()
    {
        var (one, two) = (ExecutionPlan.Create(Schedule, Options(1)), ExecutionPlan.Create(Schedule, Options(2)));
        var vectors = one.Shapes.Layouts.Where(l => l.Tensor.Kind == TensorKind.GradWeight && !l.IsMatrix).ToArray();
        Assert.NotEmpty(vectors);
        Assert.Equal(vectors.Sum(l => Arena.Align(l.Bytes)), Assert.Single(one.Cleared).Bytes);
        Assert.Equal((0, two.Memory[MemoryBlock.Gradients]), Assert.Single(two.Cleared));
    }

    /// <summary>A step that writes them gives the bits of one that clears them and adds, the second and third step too.</summary>
    [Fact]
    public void Train_GradientsWritten_HasTheBitsOfGradientsAdded()
    {
        var results = new[] { 1, 2 }.Select(microBatches =>
        {
            using var device = new CpuDevice(poison: true);
            device.Load(Model);
            using var session = new TrainingSession(device, ExecutionPlan.Create(Schedule, Options(microBatches)));
            session.LoadWeights(new RandomWeights(Schedule, 3));
            var batches = Enumerable.Range(0, 3).Select(i => Enumerable.Range(0, Tokens).Select(t => (t * 7 + i * 31) % 256).ToArray())
                .Select(ids => MicroBatch.Pack(Tokens, [(ids, ids)])).ToArray();
            var losses = batches.Select(batch => session.Train([batch], 1e-3).Loss).ToArray();
            return (losses, Gradients: Schedule.Tensors.Where(t => t.Kind == TensorKind.Weight).SelectMany(t => session.GetWeightGradient(t.Name)).ToArray(),
                Masters: session.State(0, 0).Weights.SelectMany(w => w.Matrix.Master).ToArray());
        }).ToArray();
        Assert.Equal(results[1].losses, results[0].losses);
        Assert.Equal(results[1].Gradients, results[0].Gradients);
        Assert.Equal(results[1].Masters, results[0].Masters);
    }
}
