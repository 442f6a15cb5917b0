using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;
using Graph.Runtime;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>Trains an adapter.</summary>
static class TrainCommand
{
    const double FullRate = 1e-5;

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (source, batch, adapter, host) = (new SourceOptions(models), new BatchOptions(), new AdapterOptions(), new HostOptions());
        var output = OptionKinds.Text("--out", "DIR", "receives adapter_config.json and adapter_model.safetensors, or the whole model, metrics.jsonl and checkpoints");
        output.Required = true;
        var step = new StepOptions();
        var steps = OptionKinds.Integer("--steps", "optimizer steps", null, 1);
        var epochs = OptionKinds.Integer("--epochs", "passes over the data, in place of --steps; 1 when both are left out", null, 1, 10_000);
        var peak = OptionKinds.Number("--lr", "learning rate after the warm-up; 1e-5 where all weights are trained, unless it is given", 2e-4);
        var shape = OptionKinds.Choice("--schedule", "how the learning rate goes on after the warm-up", "constant", "linear", "cosine");
        var warmup = OptionKinds.Integer("--warmup", "steps in which the learning rate rises to --lr", 0, 0);
        var minimum = OptionKinds.Number("--min-lr", "what the learning rate of --schedule linear or cosine falls towards", 0);
        var restarts = OptionKinds.Integer("--restarts", "how often --schedule linear or cosine begins to fall anew from --lr, in parts of one length", 0, 0, 10_000);
        var ratio = OptionKinds.Number("--lora-plus-ratio", "LoRA+: learning rate of B as a multiple of A's, which is --lr; LoRA+'s authors take 16", 1);
        var decay = OptionKinds.Number("--weight-decay", "AdamW's weight decay", 0.01);
        var clip = OptionKinds.Number("--clip", "largest norm of the gradient; 0 for no limit", 1.0);
        var optimizer = Optimizer();
        var recompute = Recompute();
        var quant = QuantOption.Create();
        var seed = Seed("decides the adapter's first values and the order of the data");
        var saveEvery = OptionKinds.Integer("--save-every", "steps from one checkpoint to the next; the last step has one anyhow", 500, 1);
        var keep = OptionKinds.Integer("--keep", "checkpoints that stay, the newest, beside the one with the lowest evaluation loss", 3, 1);
        var resume = OptionKinds.Flag("--resume",
            "go on with the run in --out from its newest checkpoint that is whole, to the same bits as if it had not ended; without a checkpoint it begins");
        var overwrite = OptionKinds.Flag("--overwrite", "replace a run that is in --out");
        var maxSkipped = OptionKinds.Integer("--max-skipped",
            "steps in a row whose gradient is not finite and that are skipped; the run has then diverged and ends (exit code 6)", 5, 1);
        var evalData = OptionKinds.List("--eval-data", "FILE", "data on which the loss is taken while training");
        var evalEvery = OptionKinds.Integer("--eval-every", "steps from one evaluation to the next; the last step has one anyhow", 100, 1);
        var patience = OptionKinds.Integer("--early-stopping-patience", "evaluations in a row without a lower loss after which the run ends; needs --eval-data", null, 1);
        var dry = OptionKinds.Flag("--dry-run", "read and check options, data, model, memory and disk, print the plan and stop; the exit code is the one that a start would have");
        var command = new Command("train", "Trains a LoRA adapter that PEFT loads, or with --full all weights.");
        source.AddTo(command);
        batch.AddTo(command);
        command.Add(output);
        adapter.AddTo(command);
        foreach (var option in new Option[] { steps, epochs, peak, shape, warmup, minimum, restarts, ratio, optimizer, decay, clip, recompute, quant, seed, saveEvery,
            keep, resume, overwrite, maxSkipped, evalData, evalEvery, patience, dry }) command.Add(option);
        step.AddTo(command);
        host.AddTo(command);
        command.SetAction(result =>
        {
            var (model, weights, device) = source.Read(result);
            if (result.GetValue(steps) is not null && result.GetValue(epochs) is not null)
                throw new UsageException("--steps and --epochs both say how long to train; leave one out.");
            if (result.GetValue(resume) && result.GetValue(overwrite)) throw new UsageException("--resume goes on with a run and --overwrite replaces it; leave one out.");
            if (result.Has(evalEvery) && result.GetValue(evalData) is not { Length: > 0 })
                throw new UsageException("--eval-every counts steps between evaluations, and there are none without --eval-data; give both, or neither.");
            if (result.GetRequiredValue(shape) == "constant" && new Option[] { minimum, restarts }.FirstOrDefault(result.Has) is { } falls)
                throw new UsageException($"{falls.Name} shapes a learning rate that falls, and that of --schedule constant does not; choose linear or cosine, or leave it out.");
            if (result.GetValue(patience) is not null && result.GetValue(evalData) is not { Length: > 0 })
                throw new UsageException("--early-stopping-patience counts evaluations, and there are none without --eval-data; give both, or neither.");
            var data = batch.Read(result);
            var (perStep, toChoose) = step.Read(result, batch.Asked(result));
            StepOptions.Require(data.Seq, toChoose);
            var evaluation = result.GetValue(evalData) is { Length: > 0 } files
                ? (data with { Files = BatchOptions.Unweighted("--eval-data", BatchOptions.Sources(files)) }, result.GetValue(evalEvery)!.Value) : default((DataSettings, int)?);
            var phases = new Phases(terminal);
            using var opened = ModelSource.Open(model, weights);
            // What suits an adapter, which begins at zero, is too much for weights that are trained already.
            var rate = opened.IsTrained && !result.Has(peak) ? FullRate : result.GetValue(peak)!.Value;
            if (result.GetValue(minimum) > rate)
                throw new UsageException(FormattableString.Invariant($"--min-lr is {result.GetValue(minimum)}, more than --lr {rate}; the rate falls from --lr to --min-lr."));
            var settings = new TrainSettings(result.GetRequiredValue(output)!,
                result.GetValue(resume) ? RunStart.Resume : result.GetValue(overwrite) ? RunStart.Overwrite : RunStart.New,
                data, perStep, result.GetValue(steps), result.GetValue(epochs) ?? 1,
                Enum.Parse<LearningRateShape>(result.GetRequiredValue(shape), true), rate, result.GetValue(warmup)!.Value,
                new AdamOptions(WeightDecay: result.GetValue(decay)!.Value, Clip: result.GetValue(clip)!.Value, LoraPlus: result.GetValue(ratio)!.Value),
                result.GetRequiredValue(recompute), result.GetValue(seed)!.Value,
                result.GetValue(saveEvery)!.Value, result.GetValue(keep)!.Value, result.GetValue(maxSkipped)!.Value,
                    evaluation, QuantOption.Read(result, quant), host.Read(result)) { StepTokens = toChoose, Dry = result.GetValue(dry),
                        Patience = result.GetValue(patience), Moments = Moments(result.GetRequiredValue(optimizer)), MinimumRate = result.GetValue(minimum)!.Value,
                        Restarts = result.GetValue(restarts)!.Value };
            if (opened.Note is { } note) terminal.Error.WriteLine("note: " + note);
            return TrainRun.Run(opened, device, adapter.Read(result, opened), settings, terminal, phases);
        });
        return command;
    }

    public static Option<string> Optimizer() =>
        OptionKinds.Choice("--optimizer", "AdamW, its two moments in fp32, or as 8-bit codes with a scale for each 256 of them: a quarter of their memory", "adamw", "adamw8bit");

    public static MomentFormat Moments(string optimizer) => optimizer == "adamw8bit" ? MomentFormat.Block8 : MomentFormat.Fp32;

    public static Option<string> Recompute() =>
        OptionKinds.Choice("--recompute",
        "activations built again in the backward: none, those that cost almost nothing, or all but the layers' inputs; "
            + "auto takes the fastest plan that fits --vram or the device's memory", "auto", "none", "cheap", "full");

    public static Option<int?> Seed(string description) => OptionKinds.Integer("--seed", description, 0, int.MinValue);
}
