using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.Linq;
using System.Threading.Tasks;
using Graph.Finetune.Adapters;
using Graph.Finetune.Training;
using Graph.Runtime;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Commands;

/// <summary>Trains an adapter.</summary>
static class TrainCommand
{
    sealed record Settings(string Out, DataSettings Data, int PerStep, int? Steps, int Epochs, LearningRateShape Shape, double Peak, int Warmup, AdamOptions Adam, string Recompute, int Seed);

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (source, batch, adapter) = (new SourceOptions(models), new BatchOptions(), new AdapterOptions());
        var output = OptionKinds.Text("--out", "DIR", "receives adapter_config.json, adapter_model.safetensors and metrics.jsonl");
        output.Required = true;
        var accumulate = OptionKinds.Integer("--grad-accum", "micro-batches of an optimizer step", 1, 1, 4096);
        var steps = OptionKinds.Integer("--steps", "optimizer steps", null, 1);
        var epochs = OptionKinds.Integer("--epochs", "passes over the data, in place of --steps; 1 when both are left out", null, 1, 10_000);
        var peak = OptionKinds.Number("--lr", "learning rate after the warm-up", 2e-4);
        var shape = OptionKinds.Choice("--schedule", "how the learning rate goes on after the warm-up", "constant", "linear", "cosine");
        var warmup = OptionKinds.Integer("--warmup", "steps in which the learning rate rises to --lr", 0, 0);
        var decay = OptionKinds.Number("--weight-decay", "AdamW's weight decay", 0.01);
        var clip = OptionKinds.Number("--clip", "largest norm of the gradient; 0 for no limit", 1.0);
        var recompute = Recompute();
        var seed = Seed("decides the adapter's first values and the order of the data");
        var command = new Command("train", "Trains a LoRA adapter that PEFT loads.");
        source.AddTo(command);
        batch.AddTo(command);
        command.Add(output);
        adapter.AddTo(command);
        foreach (var option in new Option[] { accumulate, steps, epochs, peak, shape, warmup, decay, clip, recompute, seed }) command.Add(option);
        command.SetAction(result =>
        {
            var (model, weights, device) = source.Read(result);
            if (result.GetValue(steps) is not null && result.GetValue(epochs) is not null) throw new UsageException("--steps and --epochs both say how long to train; leave one out.");
            var settings = new Settings(result.GetRequiredValue(output)!, batch.Read(result), result.GetValue(accumulate)!.Value, result.GetValue(steps), result.GetValue(epochs) ?? 1,
                Enum.Parse<LearningRateShape>(result.GetRequiredValue(shape), true), result.GetValue(peak)!.Value, result.GetValue(warmup)!.Value,
                new AdamOptions(WeightDecay: result.GetValue(decay)!.Value, Clip: result.GetValue(clip)!.Value), result.GetRequiredValue(recompute), result.GetValue(seed)!.Value);
            var phases = new Phases(terminal);
            using var opened = ModelSource.Open(model, weights);
            if (opened.Note is { } note) terminal.Error.WriteLine("note: " + note);
            return Run(opened, device, adapter.Read(result, opened), settings, terminal, phases);
        });
        return command;
    }

    public static Option<string> Recompute() =>
        OptionKinds.Choice("--recompute", "activations built again in the backward: none, those that cost almost nothing, or all but the layers' inputs; auto drops as few as fit the device's memory, the cheapest to build again first", "auto", "none", "cheap", "full");

    public static Option<int?> Seed(string description) => OptionKinds.Integer("--seed", description, 0, int.MinValue);

    static int Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, Settings settings, Terminal terminal, Phases phases)
    {
        phases.Done("model");
        // Tokenizing takes a core and seconds; the device is made ready meanwhile.
        var loading = Task.Run(() => TrainData.Load(settings.Data, source));
        using var session = ModelSession.Open(source, device, new SessionRequest(adapter, settings.Data.BatchTokens, settings.Data.Seq, settings.PerStep, settings.Recompute, settings.Adam, settings.Seed), phase =>
        {
            phases.Done(phase);
            if (loading.IsFaulted) loading.GetAwaiter().GetResult();
        });
        var data = loading.GetAwaiter().GetResult();
        var first = data.Epoch(settings.Seed, 0);
        var learning = TrainData.Learning(first, 0);
        var steps = settings.Steps ?? data.StepsOf(settings.Epochs, settings.Seed, settings.PerStep);
        phases.Done("data");

        using var metrics = MetricsFile.Create(settings.Out);
        var plan = session.Training.Plan;
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{source.Model.Name} from {source.Name} on {session.Device.Info.Name}: {data.Examples.Count} examples, {learning.Length} micro-batches an epoch, {steps} steps; rank {adapter.Rank}, {plan.Optimizer.Adapters.Count} adapters; recompute {plan.Decisions.Name}, planned peak {Bytes.Text(session.PlannedPeakBytes)}"));
        foreach (var sentence in data.WithoutLabels(first)) terminal.Error.WriteLine("note: " + sentence);
        if (first.LeftOver > 0) terminal.Out.WriteLine($"the last {first.LeftOver} tokens of an epoch fill no row of {settings.Data.Seq} and are left out of it");

        using var signal = new StopSignal();
        var rate = new LearningRate(settings.Shape, settings.Peak, settings.Warmup, steps);
        var (done, last) = (false, default(StepReport));
        var state = TrainProgress.Run(terminal, steps, show => Trainer.Run(session, data.Steps(settings.Seed, settings.PerStep), rate, settings.Seed, () => signal.Number != 0, report =>
        {
            if (!done) phases.Done("first step");
            (done, last) = (true, report);
            metrics.Write(report);
            show(report);
        }));
        PeftAdapter.Save(settings.Out, adapter.Of(state), source.Name);
        phases.Done("the rest");
        terminal.Out.WriteLine($"{(signal.Number != 0 ? $"stopped by signal {signal.Number} after step {last?.Step}; " : "")}the adapter is in {settings.Out}; peak {Bytes.Text(session.Device.PeakBytes)}, planned {Bytes.Text(session.PlannedPeakBytes)}");
        return signal.Number == 0 ? 0 : 128 + signal.Number;
    }
}
