using System;
using System.Linq;
using Graph.Finetune.Training;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Finetune.Tests.Training;

/// <summary>What a model's tables say about data before a step is made of it.</summary>
public class TableTests
{
    // Nano with a smaller second table for the ids and 100 positions.
    static ModelSource Source()
    {
        var nano = ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), "random:3");
        var schedule = ScheduleText.Parse(nano.Model.Schedule()
            .Replace("tensor ids ", "tensor small weight act[512,128]\ntensor places weight act[100,128]\ntensor ids ", StringComparison.Ordinal)
            .Replace(" ids model.embed_tokens.weight", " ids model.embed_tokens.weight ids small positions places", StringComparison.Ordinal));
        return new ModelSource(nano.Model, schedule, nano.Weights, nano.Name);
    }

    [Fact]
    public void Tables_OfNano_AreItsEmbedding()
    {
        using var source = ModelSource.Open(GraphModels.All.Single(m => m.Name == "nano"), "random:3");
        Assert.Equal([("ids", "model.embed_tokens.weight", 4096), ("labels", "model.embed_tokens.weight", 4096)], source.Tables.Select(t => (t.Input, t.Name, t.Rows)));
        Assert.Equal((4096, 4096), (source.Vocabulary, source.CommonIds));
        source.RequirePositions(1_000_000);
    }

    [Fact]
    public void Load_LineWithAnIdThatATableHasNot_NamesLineIdAndTable()
    {
        using var source = Source();
        using var scratch = new Scratch();
        Assert.Equal((4096, 512), (source.Vocabulary, source.CommonIds));
        TrainData Load(string line, int seq) =>
            TrainData.Load(new DataSettings([scratch.File("d.jsonl", ["{\"input_ids\":[1,2]}", line])], null, seq, 128, DataLayout.Packed), source);
        Assert.Equal(2L, Load("{\"input_ids\":[3,511]}", 100).Counts.Examples);
        Assert.EndsWith("d.jsonl, line 2, has id 512 at position 1, but small has 512 rows, from 0 to 511.",
            Assert.Throws<InputException>(() => Load("{\"input_ids\":[3,512]}", 100)).Message, StringComparison.Ordinal);
        Assert.Equal("--seq is 101, but places of nano has 100 positions; documents may have at most 100 tokens: --seq 100.",
            Assert.Throws<UsageException>(() => Load("{\"input_ids\":[3]}", 101)).Message);
    }
}
