using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Graph.Runtime.Tests;
using Xunit;

namespace Graph.Finetune.Tests.Training;

/// <summary>Wherever nano's activations and weights are kept, it trains to the same bits.</summary>
public class PlacesTests
{
    const int Tokens = 96;

    [Fact]
    public void Train_NanoWithRandomPlaces_GivesTheSameBits()
    {
        var model = GraphModels.All.Single(m => m.Name == "nano");
        var schedule = ScheduleText.Parse(model.Schedule());
        var recipes = schedule.Recipes.Select(r => r.Tensor).ToHashSet();
        var expected = Run(Decisions.None, WeightStorages.Resident, 0);
        for (var seed = 0; seed < 8; seed++)
        {
            var random = new Random(seed);
            var actions = schedule.Tensors.Where(t => t.Kind == TensorKind.Activation)
                .Select(t => (t.Name, Action: seed == 0 ? TensorAction.Offload : (TensorAction)random.Next(3)))
                .Where(t => t.Action != TensorAction.Recompute || recipes.Contains(t.Name)).ToDictionary(t => t.Name, t => t.Action);
            var storage = WeightStorages.Streamed(schedule, WeightStorages.Resident).Where(_ => seed == 0 || random.Next(2) == 0).ToDictionary();
            Assert.Equal(expected, Run(new Decisions("random", actions), storage, seed));
        }

        IReadOnlyList<float> Run(Decisions decisions, IReadOnlyDictionary<string, WeightStorage> storage, int seed)
        {
            var ranks = RankTable.Create(schedule, _ => 4);
            using var device = new LateCopies(new CpuDevice(poison: true), (CopyTime)(seed % 2), (CopyTime)(seed / 2 % 2));
            device.Load(model);
            var pace = new TransferPace(Math.Pow(10, seed % 5 - 2));
            var options = new PlanOptions(Tokens, ranks, ActType.F32, 2) { Decisions = decisions, Storage = storage, MicroBatches = 2, Pace = pace, HostStates = seed % 2 == 1 };
            using var session = new TrainingSession(device, ExecutionPlan.Create(schedule, options));
            session.LoadWeights(new RandomWeights(schedule, 3));
            session.InitializeAdapters(5);
            var rows = Enumerable.Range(0, 2).Select(i => Enumerable.Range(0, Tokens).Select(t => (t * 7 + i * 31) % 256).ToArray());
            var batches = rows.Select(ids => MicroBatch.Pack(Tokens, [(ids, ids)])).ToArray();
            var losses = Enumerable.Range(0, 2).Select(_ => (float)session.Train(batches, 1e-2).Loss).ToArray();
            Assert.Equal(decisions.Actions.Count > 0 || storage.Count > 0, device.Copied > 0);
            return [.. losses, .. session.State(0, 0).Adapters.SelectMany(a => a.A.Master.Concat(a.B.Master).Concat(((Fp32Moment)a.B.SecondMoment).Values))];
        }
    }
}
