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
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Commands;

/// <summary>The loss of a model, with or without an adapter, on data; in the data's own order.</summary>
static class EvalCommand
{
    sealed record Settings(DataSettings Data, string Recompute, bool Json, string? Dump, int DumpEvery, Quantization? Quant, HostRequest Host);

    /// <summary>Mean loss over all labels, and the device's memory.</summary>
    /// <param name="WeightError">RMS error of weights that were quantised here, relative to their RMS.</param>
    sealed record Evaluation(double Loss, long Labels, long Tokens, long PeakBytes, long PlannedPeakBytes, double WeightError);

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (source, batch, host) = (new SourceOptions(models), new BatchOptions(), new HostOptions());
        var adapter = OptionKinds.Text("--adapter", "DIR", "PEFT adapter; the base model alone when left out");
        var recompute = TrainCommand.Recompute();
        var quant = QuantOption.Create();
        var json = OptionKinds.Flag("--json", "prints one JSON object");
        var dump = OptionKinds.Text("--dump", "FILE", "safetensors file of the first micro-batch: input_ids, loss, logits, gradients of the adapter (a debugging aid)");
        var every = OptionKinds.Integer("--dump-every", "tokens from one dumped row of logits to the next", 1, 1);
        var command = new Command("eval", "Loss of a model and adapter on data: the mean over all labels.");
        source.AddTo(command);
        batch.AddTo(command);
        foreach (var option in new Option[] { adapter, recompute, quant, json, dump, every }) command.Add(option);
        host.AddTo(command);
        command.SetAction(result =>
        {
            var (model, weights, device) = source.Read(result);
            if (result.Has(every) && result.GetValue(dump) is null) throw new UsageException("--dump-every chooses rows of --dump, which is not given; give both, or neither.");
            var data = batch.Read(result);
            var settings = new Settings(data with { Files = BatchOptions.Unweighted("--data", data.Files) }, result.GetRequiredValue(recompute), result.GetValue(json),
                result.GetValue(dump), result.GetValue(every)!.Value, QuantOption.Read(result, quant), host.Read(result));
            using var opened = ModelSource.Open(model, weights);
            if (opened.Note is { } note) terminal.Error.WriteLine("note: " + note);
            var chosen = result.GetValue(adapter) is { } directory ? AdapterSettings.Of(Adapters.PeftAdapter.Load(directory, opened.Schedule), opened.Schedule)
                : AdapterSettings.None(opened.Schedule);
            Run(opened, device, chosen, settings, terminal);
        });
        return command;
    }

    static void Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, Settings settings, Terminal terminal)
    {
        using var data = TrainData.Load(settings.Data, source);
        var phases = new Phases(terminal);
        // What is packed already was quantised by somebody else: there is nothing to compare with.
        var compare = settings.Quant == Quantization.Nf4 && !source.IsPacked();
        var leftOver = 0L;
        var evaluation = Evaluate(settings.Quant, settings.Dump);
        var unquantized = compare ? Unquantized() : null;
        if (settings.Json) terminal.Out.WriteLine(Json(evaluation, compare, unquantized));
        else Print(evaluation, compare, unquantized, terminal);
        if (leftOver > 0) terminal.Error.WriteLine($"note: the last {leftOver} tokens fill no row of {settings.Data.Seq} and are left out");
        if (data.TemplateNote is { } template) terminal.Error.WriteLine("note: " + template);
        foreach (var sentence in data.Notes()) terminal.Error.WriteLine("note: " + sentence);

        Evaluation Evaluate(Quantization? quant, string? dump)
        {
            // The dump's step must change nothing: no decay, no clipping, learning rate 0.
            var request = new SessionRequest(adapter, settings.Data.BatchTokens, settings.Data.Seq, 1, settings.Recompute, new AdamOptions(WeightDecay: 0, Clip: 0), 0)
            {
                Keep = dump is null ? [] : [source.Head.X.Tensor], Quant = quant, MeasureQuantization = compare, Host = settings.Host,
            };
            using var session = ModelSession.Open(source, device, request, phases.Done);
            var (sum, labels, tokens) = (0.0, 0L, 0L);
            leftOver = 0;
            foreach (var window in data.InOrder())
            {
                leftOver += window.LeftOver;
                for (var i = 0; i < window.Count; i++)
                {
                    var (loss, count) = session.Training.Evaluate(window[i]);
                    (sum, labels, tokens) = (sum + loss, labels + count, tokens + window.TokensOf(i));
                }
            }
            phases.Done("loss");
            if (dump is not null) StepDump.Write(dump, source, session, adapter, data.InOrder().First()[0], settings.DumpEvery);
            if (labels == 0) throw new InputException("no token of the data has a label after it was packed, so there is no loss; raise --seq, or check the data's labels.");
            var mean = sum / labels;
            if (!double.IsFinite(mean))
                throw new FinetuneException($"the loss over {labels} labels is {(double.IsNaN(mean) ? "NaN" : "infinite")}: "
                    + $"{(adapter.Rank > 0 ? "the adapter diverged in training, or is not of this model" : "the model's values leave the range of the device's type")}.", 6);
            return new Evaluation(mean, labels, tokens, session.PeakBytes(), session.PlannedPeakBytes, session.Quantization.Relative);
        }

        // The weights as the checkpoint has them take four times the memory; where they do not fit, what quantising did to the weights is still known.
        Evaluation? Unquantized()
        {
            try
            {
                return Evaluate(Quantization.None, null);
            }
            catch (Exception e) when (e is FinetuneException { ExitCode: 4 } or DeviceMemoryException)
            {
                terminal.Error.WriteLine($"note: the weights do not fit as the checkpoint has them, so there is no loss to compare with: {e.Message}");
                return null;
            }
        }
    }

    static void Print(Evaluation e, bool compared, Evaluation? unquantized, Terminal terminal)
    {
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"eval_loss {e.Loss:R}  perplexity {Math.Exp(e.Loss):G6}  over {e.Labels} labels of {e.Tokens} tokens"));
        if (!compared) return;
        var cost = string.Create(CultureInfo.InvariantCulture, $"quantizing changed the linears' weights by {100 * e.WeightError:F2} % (RMS)");
        terminal.Out.WriteLine(unquantized is null
            ? cost : cost + string.Create(CultureInfo.InvariantCulture, $" and the loss by {e.Loss - unquantized.Loss:+0.000000;-0.000000;0}, from {unquantized.Loss:R}"));
    }

    static string Json(Evaluation e, bool compared, Evaluation? unquantized)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            Write("loss", e.Loss);
            Write("perplexity", Math.Exp(e.Loss));
            json.WriteNumber("labels", e.Labels);
            json.WriteNumber("tokens", e.Tokens);
            json.WriteNumber("peak_bytes", e.PeakBytes);
            json.WriteNumber("planned_peak_bytes", e.PlannedPeakBytes);
            if (compared) Write("weight_error", e.WeightError);
            if (unquantized is not null)
            {
                Write("loss_unquantized", unquantized.Loss);
                Write("loss_change", e.Loss - unquantized.Loss);
            }
            // As metrics.jsonl has it.
            Write("eval_loss", e.Loss);
            json.WriteEndObject();

            // A perplexity may be beyond every number.
            void Write(string name, double value)
            {
                if (double.IsFinite(value)) json.WriteNumber(name, value);
                else json.WriteNull(name);
            }
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
