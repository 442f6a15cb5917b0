using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Finetune.Data;
using Graph.Finetune.Training;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Xunit;

namespace Graph.Finetune.Tests.Training;

public class TrainDataTests
{
    // Small documents of their own ids, so that each can be found again; in a window of a few lines, or all held.
    static TrainData Data(Scratch scratch, long heldBytes, params (int Count, double Weight)[] files)
    {
        var random = new Random(1);
        var sources = files.Select((f, file) => new DataSource(scratch.File($"{file}.jsonl", Enumerable.Range(0, f.Count)
            .Select(i => $"{{\"input_ids\":[{string.Join(',', Enumerable.Repeat(1000 * file + i, random.Next(2, 12)))}]}}")), f.Weight)).ToArray();
        return TrainData.Open(new DataSettings(sources, null, 16, 32, DataLayout.Packed) { HeldBytes = heldBytes }, null, new DataOptions(16, []));
    }

    /// <summary>How often each document is in the steps of an epoch.</summary>
    static SortedDictionary<int, int> Seen(IEnumerable<StepBatches> steps)
    {
        var seen = new SortedDictionary<int, int>();
        foreach (var batch in steps.SelectMany(s => s.Batches))
        {
            for (var t = 0; t < batch.Ids.Length; t = batch.DocEnd[t])
            {
                if (batch.Labels[t] >= 0) seen[batch.Ids[t]] = seen.GetValueOrDefault(batch.Ids[t]) + 1;
            }
        }
        return seen;
    }

    static IReadOnlyList<StepBatches> Epoch(TrainData data, int seed, int perStep, int epoch) =>
        [.. data.Steps(seed, perStep, new DataPlace(epoch, 0, 0)).TakeWhile(s => s.Place.Epoch == epoch || s.Place == new DataPlace(epoch + 1, 0, 0))];

    [Theory, InlineData(DataSet.HeldBytes), InlineData(1500), InlineData(64)]
    public void Steps_OfAnEpoch_HaveEachExampleOnceInAnOrderOfSeedAndEpoch(long heldBytes)
    {
        using var scratch = new Scratch();
        using var data = Data(scratch, heldBytes, (90, 1), (40, 1));
        Assert.Equal(heldBytes != DataSet.HeldBytes, data.IsStreamed);
        string Text(IEnumerable<StepBatches> steps) => string.Join(' ', steps.SelectMany(s => s.Batches).SelectMany(b => b.Ids));
        var (first, again, second, other) = (Epoch(data, 5, 3, 0), Epoch(data, 5, 3, 0), Epoch(data, 5, 3, 1), Epoch(data, 6, 3, 0));
        Assert.Equal(Text(first), Text(again));
        Assert.NotEqual(Text(first), Text(second));
        Assert.NotEqual(Text(first), Text(other));
        foreach (var epoch in new[] { first, second, other })
        {
            Assert.Equal(130, Seen(epoch).Count);
            Assert.All(Seen(epoch).Values, n => Assert.Equal(1, n));
            Assert.All(epoch.SkipLast(1), s => Assert.Equal(3, s.Batches.Count));
        }
        Assert.Equal(first.Count + second.Count, data.StepsOf(2, 5, 3));
        // The last windows may hold nothing.
        Assert.InRange(first[^1].Epoch, heldBytes == 64 ? 0.98 : 1, 1);
        Assert.Equal(first.Select(s => s.Epoch).Order(), first.Select(s => s.Epoch));
    }

    /// <summary>From the place after any step, the data goes on as if it had not stopped.</summary>
    [Theory, InlineData(DataSet.HeldBytes), InlineData(1500), InlineData(64)]
    public void Steps_FromAPlace_GoOnWithTheSameBatches(long heldBytes)
    {
        using var scratch = new Scratch();
        using var data = Data(scratch, heldBytes, (50, 1), (20, 1.5));
        var whole = data.Steps(5, 2, DataPlace.Start).Take(60).ToArray();
        for (var at = 0; at < 55; at++)
        {
            var next = data.Steps(5, 2, whole[at].Place, whole[at].Position).First();
            Assert.Equal((whole[at + 1].Epoch, whole[at + 1].Place, whole[at + 1].Position, whole[at + 1].Tokens), (next.Epoch, next.Place, next.Position, next.Tokens));
            Assert.Equal(whole[at + 1].Batches.SelectMany(b => b.Ids), next.Batches.SelectMany(b => b.Ids));
        }
    }

    [Theory, InlineData(DataSet.HeldBytes), InlineData(640)]
    public void Steps_FilesWithWeights_HaveTheirExamplesAsOften(long heldBytes)
    {
        using var scratch = new Scratch();
        using var data = Data(scratch, heldBytes, (40, 2), (40, 0.5), (40, 1.25));
        var total = new SortedDictionary<int, int>();
        for (var epoch = 0; epoch < 4; epoch++)
        {
            foreach (var (document, times) in Seen(Epoch(data, 1, 2, epoch))) total[document] = total.GetValueOrDefault(document) + times;
        }
        Assert.Equal(120, total.Count);
        // Parts of an example come in other epochs: over four of them each is there as often as its weight says.
        Assert.All(total, d => Assert.Equal(d.Key < 1000 ? 8 : d.Key < 2000 ? 2 : 5, d.Value));
    }

    /// <summary>The loss of a document is the same alone and beside others, whatever stands before it in its micro-batch.</summary>
    [Fact]
    public void Packing_DocumentsOfAMicroBatch_HaveTheLossThatTheyHaveAlone()
    {
        using var source = ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), Fixture.Checkpoint);
        const int tokens = 96;
        using var session = ModelSession.Open(source, new DeviceRequest(DeviceKind.Cpu, null),
            new SessionRequest(AdapterSettings.None(source.Schedule), tokens, tokens, 1, "none", new AdamOptions(), 0), _ => { });
        var random = new Random(2);
        Example[] documents = [.. Enumerable.Range(0, 14).Select(i => Enumerable.Range(0, random.Next(2, 60)).Select(_ => random.Next(source.Vocabulary)).ToArray())
            .Select((ids, i) => new Example(ids, [.. ids.Select(id => random.Next(4) == 0 ? -100 : id)], i + 1))];
        var alone = documents.Select(d => session.Training.Evaluate(MicroBatch.Pack(tokens, [(d.Ids, Packing.Shift(d.Labels))]))).ToArray();
        var packed = Packing.PackDocuments(documents, tokens, 60);
        Assert.True(packed.Count < documents.Length / 2);
        foreach (var batch in packed)
        {
            var starts = Enumerable.Range(0, tokens).Where(t => batch.DocStart[t] == t && documents.Any(d => d.Ids.SequenceEqual(batch.Ids[t..batch.DocEnd[t]]))).ToArray();
            Assert.True(starts.Length > 1);
            foreach (var start in starts)
            {
                // All of the micro-batch is computed, and only this document's labels are counted.
                var labels = batch.Labels.Select((l, t) => t >= start && t < batch.DocEnd[start] ? l : -100).ToArray();
                var (loss, count) = session.Training.Evaluate(batch with { Labels = labels });
                var (expected, of) = alone[Array.FindIndex(documents, d => d.Ids.SequenceEqual(batch.Ids[start..batch.DocEnd[start]]))];
                Assert.Equal(of, count);
                Assert.InRange(Math.Abs(loss - expected), 0, 1e-5 * Math.Max(1, Math.Abs(expected)));
            }
        }
    }
}
