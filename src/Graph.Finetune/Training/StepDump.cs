using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Finetune.Checkpoints;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Training;

/// <summary>
/// What one micro-batch gives, as a file for comparison with another implementation: input_ids i32[T]; loss f32[1], the mean over labels;
/// logits f32[ceil(T/N),V] of rows 0, N, 2N, … after the final softcap; grad.{PEFT's name} of every adapter matrix, the gradient of that loss.
/// </summary>
static class StepDump
{
    /// <summary>The session's learning rate, decay and clipping must leave the adapter as it is.</summary>
    public static void Write(string path, ModelSource source, ModelSession session, AdapterSettings adapter, MicroBatch batch, int every)
    {
        var rows = Enumerable.Range(0, (batch.Ids.Length + every - 1) / every).Select(i => i * every).ToArray();
        var logits = session.Training.Logits(batch, rows);
        if (SoftCap(source) is { } cap)
        {
            for (var i = 0; i < logits.Length; i++) logits[i] = (float)(cap * Math.Tanh(logits[i] / cap));
        }
        var loss = session.Training.Train([batch], 0).Loss;
        var tensors = new List<SafetensorsTensor>
        {
            Tensor("input_ids", "I32", MemoryMarshal.AsBytes(batch.Ids.AsSpan()), batch.Ids.Length),
            Tensor("loss", "F32", MemoryMarshal.AsBytes<float>([(float)loss]), 1),
            Tensor("logits", "F32", MemoryMarshal.AsBytes(logits.AsSpan()), rows.Length, source.Vocabulary),
        };
        foreach (var slot in adapter.Ranks.Adapters)
        {
            var (a, b) = session.Training.GetGradient(slot.Linear);
            tensors.Add(Tensor($"grad.base_model.model.{slot.Linear}.lora_A.weight", "F32", MemoryMarshal.AsBytes(a.AsSpan()), slot.Rank, slot.In));
            tensors.Add(Tensor($"grad.base_model.model.{slot.Linear}.lora_B.weight", "F32", MemoryMarshal.AsBytes(b.AsSpan()), slot.Out, slot.Rank));
        }
        SafetensorsWriter.Write(path, tensors, new Dictionary<string, string> { ["variant"] = source.Model.Name });
    }

    static SafetensorsTensor Tensor(string name, string type, ReadOnlySpan<byte> data, params long[] shape) => new(name, type, shape, data.ToArray());

    static double? SoftCap(ModelSource source) =>
        source.Model.Config().FirstOrDefault(field => field.Key == "final_logit_softcapping").Value is { } cap ? Convert.ToDouble(cap) : null;
}
