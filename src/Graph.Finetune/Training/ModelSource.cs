using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using Graph.Finetune.Checkpoints;
using Graph.Runtime;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Training;

/// <summary>A compiled model and where its frozen weights come from, checked against each other; nothing is on a device yet.</summary>
/// <param name="Name">As the person named it: a directory, or random:SEED.</param>
public sealed record ModelSource(CompiledModel Model, Schedule Schedule, IWeightSource Weights, string Name) : IDisposable
{
    const string Random = "random:";

    /// <summary>Ids that the head has logits for.</summary>
    public int Vocabulary => Head.Table is var table ? Schedule.Tensors.First(t => t.Name == table.Tensor).Dims[0].Fixed : 0;

    /// <summary>How the checkpoint's config scales the rope tables.</summary>
    public IReadOnlyDictionary<string, RopeScaling> Ropes { get; init; } = new Dictionary<string, RopeScaling>();

    /// <summary>What ids, labels and positions choose from.</summary>
    public IReadOnlyList<EmbeddingTable> Tables { get; } = EmbeddingTables.Of(Schedule);

    /// <summary>The variant trains all of its weights, and no adapters.</summary>
    public bool IsTrained { get; } = OptimizerLayout.Trained(Schedule).Any();

    /// <summary>Ids that every table has a row for.</summary>
    public int CommonIds => Tables.Where(t => t.Input is "ids" or "labels").Min(t => t.Rows);

    /// <exception cref="UsageException">A table has fewer positions than documents may have tokens.</exception>
    public void RequirePositions(int seq)
    {
        if (Tables.FirstOrDefault(t => t.Input == "positions") is { } table && table.Rows < seq)
            throw new UsageException($"--seq is {seq}, but {table.Name} of {Model.Name} has {table.Rows} positions; "
                + $"documents may have at most {table.Rows} tokens: --seq {table.Rows}.");
    }

    /// <summary>The launch that makes logits and the loss.</summary>
    public CrossEntropyLaunch Head => Schedule.Forward.Concat(Schedule.Backward).OfType<CrossEntropyLaunch>().First();

    /// <summary>The model's own tokenizer, or null where it has none.</summary>
    public string? Tokenizer => Path.Combine(Name, "tokenizer.model") is var path && Weights is Checkpoint && File.Exists(path) ? path : null;

    /// <summary>What the checkpoint cannot confirm although the model's author says of nothing that it differs; null: nothing.</summary>
    public string? Note => Weights is Checkpoint && Model.Changes?.Invoke() is { Declared.Count: 0, Overrides: { Count: > 0 } overrides }
        ? $"{Model.Name} overrides {string.Join(", ", overrides)}, of which a checkpoint says nothing; "
            + "if that is meant, name it, or the fields of config.json that it changes, in the variant's Changes" : null;

    /// <exception cref="InputException">The directory is missing, damaged, or of another model.</exception>
    /// <exception cref="UsageException">The seed is no number.</exception>
    public static ModelSource Open(CompiledModel model, string name)
    {
        if (name.StartsWith(Random, StringComparison.Ordinal))
        {
            if (!int.TryParse(name.AsSpan(Random.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var seed))
                throw new UsageException($"--model is '{name}'; random weights are random:SEED with a whole number, for example random:0.");
            var random = ScheduleText.Parse(model.Schedule());
            return new ModelSource(model, random, new RandomWeights(random, seed), name);
        }
        var schedule = ScheduleText.Parse(model.Schedule());
        var ropes = ModelConfig.Check(name, model, schedule);
        var checkpoint = Checkpoint.Open(name);
        try
        {
            checkpoint.Check(schedule, model);
            ModelConfig.CheckPacked(name, checkpoint.IsPacked);
        }
        catch
        {
            checkpoint.Dispose();
            throw;
        }
        return new ModelSource(model, schedule, checkpoint, name) { Ropes = ropes };
    }

    /// <summary>What tells these weights from others: the seed of random ones, else a SHA-256 of config.json, of the shards' headers and of samples of their data.</summary>
    /// <exception cref="InputException">A file cannot be read.</exception>
    public string Fingerprint() => Weights is Checkpoint checkpoint ? checkpoint.Fingerprint() : Name;

    public void Dispose() => (Weights as IDisposable)?.Dispose();
}
