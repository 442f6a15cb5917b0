using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Data;
using Graph.Finetune.Training;
using Graph.Runtime;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Commands;

/// <summary>The loss of a model, with or without an adapter, on data; in the data's own order.</summary>
static class EvalCommand
{
    sealed record Settings(DataSettings Data, string Recompute, bool Json, string? Dump, int DumpEvery);

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (source, batch) = (new SourceOptions(models), new BatchOptions());
        var adapter = OptionKinds.Text("--adapter", "DIR", "PEFT adapter; the base model alone when left out");
        var recompute = TrainCommand.Recompute();
        var json = OptionKinds.Flag("--json", "prints one JSON object");
        var dump = OptionKinds.Text("--dump", "FILE", "safetensors file of the first micro-batch: input_ids, loss, logits, gradients of the adapter (a debugging aid)");
        var every = OptionKinds.Integer("--dump-every", "tokens from one dumped row of logits to the next", 1, 1);
        var command = new Command("eval", "Loss of a model and adapter on data: the mean over all labels.");
        source.AddTo(command);
        batch.AddTo(command);
        foreach (var option in new Option[] { adapter, recompute, json, dump, every }) command.Add(option);
        command.SetAction(result =>
        {
            var (model, weights, device) = source.Read(result);
            var settings = new Settings(batch.Read(result), result.GetRequiredValue(recompute), result.GetValue(json), result.GetValue(dump), result.GetValue(every)!.Value);
            using var opened = ModelSource.Open(model, weights);
            if (opened.Note is { } note) terminal.Error.WriteLine("note: " + note);
            var chosen = result.GetValue(adapter) is { } directory ? AdapterSettings.Of(Adapters.PeftAdapter.Load(directory, opened.Schedule), opened.Schedule) : AdapterSettings.None(opened.Schedule);
            Run(opened, device, chosen, settings, terminal);
        });
        return command;
    }

    static void Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, Settings settings, Terminal terminal)
    {
        var data = TrainData.Load(settings.Data, source).InOrder();
        var phases = new Phases(terminal);
        // The dump's step must change nothing: no decay, no clipping, learning rate 0.
        var request = new SessionRequest(adapter, settings.Data.BatchTokens, settings.Data.Seq, 1, settings.Recompute, new AdamOptions(WeightDecay: 0, Clip: 0), 0)
        {
            Keep = settings.Dump is null ? [] : [source.Head.X.Tensor],
        };
        using var session = ModelSession.Open(source, device, request, phases.Done);
        var (sum, labels, tokens) = (0.0, 0L, 0L);
        for (var i = 0; i < data.Count; i++)
        {
            var (loss, count) = session.Training.Evaluate(data[i]);
            (sum, labels, tokens) = (sum + loss, labels + count, tokens + data.TokensOf(i));
        }
        phases.Done("loss");
        if (settings.Dump is { } file) StepDump.Write(file, source, session, adapter, data[0], settings.DumpEvery);
        if (labels == 0) throw new InputException("no token of the data has a label after it was packed, so there is no loss; raise --seq, or check the data's labels.");
        var mean = sum / labels;
        if (!double.IsFinite(mean))
            throw new FinetuneException($"the loss over {labels} labels is {(double.IsNaN(mean) ? "NaN" : "infinite")}: {(adapter.Rank > 0 ? "the adapter diverged in training, or is not of this model" : "the model's values leave the range of the device's type")}.", 6);
        if (settings.Json) terminal.Out.WriteLine(Json(mean, labels, tokens, session));
        else terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"eval_loss {mean:R}  perplexity {Math.Exp(mean):G6}  over {labels} labels of {tokens} tokens"));
        if (data.LeftOver > 0) terminal.Error.WriteLine($"note: the last {data.LeftOver} tokens fill no row of {settings.Data.Seq} and are left out");
    }

    static string Json(double mean, long labels, long tokens, ModelSession session)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteNumber("eval_loss", mean);
            json.WriteNumber("labels", labels);
            json.WriteNumber("tokens", tokens);
            json.WriteNumber("peak_bytes", session.Device.PeakBytes);
            json.WriteNumber("planned_peak_bytes", session.PlannedPeakBytes);
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
