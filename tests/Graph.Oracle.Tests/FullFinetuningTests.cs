using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Training;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Graph.Oracle.Tests;

/// <summary>Full finetuning of nano beside torch's autograd and AdamW: every weight is trained, the embedding by its rows and as the head.</summary>
public sealed class FullFinetuningTests
{
    const double LearningRate = 1e-4, WeightDecay = 0.01;

    static readonly int[][] Documents = [Document(48, 1), Document(31, 2), Document(17, 3)];

    static int[] Document(int length, int seed) => new Random(seed) is var random ? [.. Enumerable.Range(0, length).Select(_ => random.Next(8) == 0 ? 7 : random.Next(4096))] : [];

    // A third of the labels is left out.
    static int[] Labels(int[] ids) => [.. ids.Select((_, t) => t + 1 < ids.Length && t % 3 != 1 ? ids[t + 1] : -100)];

    static TrainingSession Session(ModelSource source, string recompute, MomentFormat moments = MomentFormat.Fp32, int microBatches = 1)
    {
        var ranks = RankTable.Create(source.Schedule, _ => 0);
        var options = new PlanOptions(96, ranks, ActType.F32, 0) { MicroBatches = microBatches, Moments = moments,
            Decisions = Decisions.Named(recompute, new Shapes(source.Schedule, 96, ranks, ActType.F32)) };
        var device = new CpuDevice(poison: true);
        device.Load(source.Model);
        var session = new TrainingSession(device, ExecutionPlan.Create(source.Schedule, options), new AdamOptions(WeightDecay: WeightDecay, Clip: 1));
        session.LoadWeights(source.Weights);
        session.InitializeAdapters(0);
        return session;
    }

    static ModelSource Source() => ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano-full"), Repository.Fixture("checkpoint"));

    static MicroBatch Batch => MicroBatch.Pack(96, [.. Documents.Select(d => (d, Labels(d)))]);

    static (TorchGemma2 Model, Dictionary<string, Tensor> Weights) Torch(ScalarType type)
    {
        var weights = TensorFile.Read(Repository.Fixture("checkpoint/model.safetensors"), type).ToDictionary(w => w.Key, w => (Tensor)new TorchSharp.Modules.Parameter(w.Value));
        return (new TorchGemma2(TorchConfig.Nano, weights, new Dictionary<string, Tensor>(), 0), weights);
    }

    static Tensor Loss(TorchGemma2 model)
    {
        var ids = tensor(Documents.SelectMany(d => d).Select(i => (long)i).ToArray());
        var labels = tensor(Documents.SelectMany(Labels).Select(l => (long)l).ToArray());
        return TorchGemma2.Loss(model.Forward(ids, TorchGemma2.DocStart([.. Documents.Select(d => d.Length)])).Logits, labels);
    }

    // 1e-4: fp32 beside fp64, the rule for adapters' gradients.
    [Theory, InlineData("none"), InlineData("full")]
    public void Gradients_OfEveryWeight_AreTorchs(string recompute)
    {
        using var scope = NewDisposeScope();
        var (model, weights) = Torch(ScalarType.Float64);
        var loss = Loss(model);
        loss.backward();

        using var source = Source();
        using var session = Session(source, recompute);
        var step = session.Train([Batch], 0);
        Assert.Equal(loss.item<double>(), step.Loss, 1e-5);
        var compared = 0;
        foreach (var weight in session.Plan.Optimizer.Weights)
        {
            var (gradient, at) = (session.GetWeightGradient(weight.Weight.Name), 0);
            foreach (var (name, shape) in weight.Weight.Stored())
            {
                var count = shape.Aggregate(1, (n, d) => n * d);
                var (expected, mine) = (weights[name].grad!, tensor(gradient[at..(at + count)]).to(ScalarType.Float64).view([.. shape.Select(d => (long)d)]));
                var distance = ((mine - expected).norm() / expected.norm()).item<double>();
                Assert.True(distance < 1e-4, $"{name} is off by {distance}");
                at += count;
                compared++;
            }
        }
        Assert.Equal(weights.Count, compared);
    }

    // torch in fp64: at a rate of 1e-4 we are within 2e-5 of it after ten steps, and torch in fp32 within 6e-5.
    [Theory, InlineData("none", 1), InlineData("full", 1), InlineData("cheap", 2)]
    public void TenSteps_OfAdamW_HaveTorchsLosses(string recompute, int microBatches)
    {
        using var scope = NewDisposeScope();
        var (model, weights) = Torch(ScalarType.Float64);
        var parameters = weights.Values.Cast<TorchSharp.Modules.Parameter>().ToArray();
        var optimizer = optim.AdamW(parameters, LearningRate, weight_decay: WeightDecay);

        using var source = Source();
        using var session = Session(source, recompute, microBatches: microBatches);
        // One batch, or its documents in two micro-batches.
        MicroBatch[] batches = microBatches == 1 ? [Batch]
            : [MicroBatch.Pack(96, [(Documents[0], Labels(Documents[0]))]), MicroBatch.Pack(96, [.. Documents.Skip(1).Select(d => (d, Labels(d)))])];
        for (var i = 0; i < 10; i++)
        {
            optimizer.zero_grad();
            var loss = Loss(model);
            loss.backward();
            nn.utils.clip_grad_norm_(parameters, 1);
            optimizer.step();
            Assert.Equal(1, session.Train(batches, LearningRate).Loss / loss.item<double>(), 1e-4);
        }
    }
}
