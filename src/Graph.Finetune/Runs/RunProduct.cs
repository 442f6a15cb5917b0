using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Training;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Runs;

/// <summary>What a run trains, as files.</summary>
public interface IRunProduct
{
    /// <summary>adapter or model</summary>
    string Noun { get; }

    /// <summary>The files of a checkpoint that hold the fp32 masters.</summary>
    IReadOnlyList<(string Name, Action<Stream> Content)> Masters(TrainState state);

    /// <summary>Makes a state's product the one of the folder, whole or not at all.</summary>
    /// <exception cref="InputException">It cannot be written; what was there is as it was.</exception>
    void Save(string directory, TrainState state);

    /// <summary>Brings what a process that died left on its way to its place.</summary>
    void Complete(string directory);

    void Remove(string directory);
}

/// <summary>An adapter in PEFT's layout.</summary>
public sealed record AdapterProduct(AdapterSettings Adapter, string BaseModel) : IRunProduct
{
    public string Noun => "adapter";

    public IReadOnlyList<(string Name, Action<Stream> Content)> Masters(TrainState state) => PeftAdapter.Files(Adapter.Of(state), BaseModel);

    public void Save(string directory, TrainState state) => PeftAdapter.Save(directory, Adapter.Of(state), BaseModel);

    public void Complete(string directory) => PeftAdapter.Complete(directory);

    public void Remove(string directory) => PeftAdapter.Remove(directory);
}

/// <summary>A whole model in Hugging Face's layout, each tensor in the type that the base model has it in.</summary>
public sealed record ModelProduct(ModelSource Source) : IRunProduct
{
    /// <summary>The fp32 masters of a checkpoint, by the names of the model's tensors.</summary>
    public const string MastersName = "weights.safetensors";

    public string Noun => "model";

    string? Directory => Source.Weights is Checkpoint checkpoint ? checkpoint.Directory : null;

    public IReadOnlyList<(string Name, Action<Stream> Content)> Masters(TrainState state) =>
        [(MastersName, stream => SafetensorsWriter.Write(stream, [.. Tensors(state).Select(t => t.As(StoredType.F32))], new Dictionary<string, string> { ["format"] = "pt" }))];

    public void Save(string directory, TrainState state) =>
        SavedModel.Save(directory, [.. Tensors(state)], Directory is { } from ? File.ReadAllBytes(Path.Combine(from, SavedModel.ConfigName))
        : SavedModel.Config(Source.Model.Config()), Directory);

    public void Complete(string directory) => SavedModel.Complete(directory);

    public void Remove(string directory) => SavedModel.Remove(directory);

    /// <summary>Masters of a checkpoint, by tensor of the schedule.</summary>
    /// <exception cref="InputException">A tensor is missing, is left over or has another shape.</exception>
    public static IReadOnlyList<(string Tensor, float[] Values)> Read(string folder, Schedule schedule)
    {
        using var file = SafetensorsFile.Open(Path.Combine(folder, MastersName));
        var masters = new List<(string, float[])>();
        var count = 0;
        foreach (var weight in Trained(schedule))
        {
            var values = new float[weight.Stored().Sum(s => s.Shape.Aggregate(1, (n, extent) => n * extent))];
            var first = 0;
            foreach (var (name, shape) in weight.Stored())
            {
                if (!file.Tensors.TryGetValue(name, out var entry) || entry.DType != "F32" || !entry.Shape.SequenceEqual(shape.Select(s => (long)s)))
                    throw new InputException($"{file.Path} has no {name} of F32[{string.Join(",", shape)}]; it is of another run.");
                RunState.ReadWhole(file, entry, values.AsSpan(first, (int)(entry.Length / sizeof(float))));
                first += (int)(entry.Length / sizeof(float));
                count++;
            }
            masters.Add((weight.Name, values));
        }
        return file.Tensors.Count == count ? masters : throw new InputException($"{file.Path} has {file.Tensors.Count} tensors, but the model has {count}; it is of another run.");
    }

    /// <summary>Weights that are trained, in the schedule's order.</summary>
    public static IEnumerable<ScheduleTensor> Trained(Schedule schedule) => OptimizerLayout.Trained(schedule).Select(t => t.Weight);

    IEnumerable<TrainedTensor> Tensors(TrainState state)
    {
        foreach (var (weight, trained) in Trained(Source.Schedule).Zip(state.Weights))
        {
            var first = 0;
            foreach (var (name, shape) in weight.Stored())
            {
                var tensor = new TrainedTensor(name, shape, Source.Weights.Describe(name).Type, trained.Matrix.Master, first);
                yield return tensor;
                first += tensor.Count;
            }
        }
    }
}
