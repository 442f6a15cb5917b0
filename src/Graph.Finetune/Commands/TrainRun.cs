using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Graph.Finetune.Adapters;
using Graph.Finetune.Reports;
using Graph.Finetune.Runs;
using Graph.Finetune.Data;
using Graph.Finetune.Training;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>What a run is to do.</summary>
/// <param name="PerStep">Micro-batches of a step.</param>
/// <param name="Steps">Of the whole run; null: those of <paramref name="Epochs"/>.</param>
/// <param name="SaveEvery">Steps from one save to the next.</param>
/// <param name="Keep">Checkpoints that stay.</param>
/// <param name="MaxSkipped">Steps in a row that may be skipped before the run has diverged.</param>
/// <param name="Evaluation">Evaluation data, every how many steps; null: none.</param>
/// <param name="Quant">Null: as the source has its weights.</param>
public sealed record TrainSettings(string Out, RunStart Start, DataSettings Data, int PerStep, int? Steps, int Epochs, LearningRateShape Shape, double Peak, int Warmup,
    AdamOptions Adam, string Recompute, int Seed,
    int SaveEvery, int Keep, int MaxSkipped, (DataSettings Data, int Every)? Evaluation, Quantization? Quant, HostRequest Host)
{
    /// <summary>Of a step whose micro-batches are to be chosen; null: they are given.</summary>
    public int? StepTokens { get; init; }

    /// <summary>Everything but the weights' values is read, checked and planned, and nothing is written or trained.</summary>
    public bool Dry { get; init; }

    /// <summary>Evaluations in a row without a lower loss after which the run ends; null: it does not.</summary>
    public int? Patience { get; init; }

    /// <summary>How the optimizer stores its moments.</summary>
    public MomentFormat Moments { get; init; }

    /// <summary>What the learning rate falls towards.</summary>
    public double MinimumRate { get; init; }

    /// <summary>How often the learning rate begins to fall anew.</summary>
    public int Restarts { get; init; }
}

/// <summary>
/// One run of training: from the checks before its first step, or from a checkpoint, to its adapter. What only watches (standard output, metrics) may fail without harm.
/// However it ends, the adapter in the folder and the newest checkpoint are whole, and what they are of is said.
/// </summary>
static class TrainRun
{
    const string EvaluationData = "the evaluation data", StartAdapter = "the adapter that the run began from";

    public static int Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, TrainSettings settings, Terminal terminal, Phases phases)
    {
        using var output = new RunOutput(terminal);
        if (source.IsTrained) CheckFull(source, settings);
        RunFolder.Check(settings.Out, settings.Start);
        using var telemetry = settings.Dry ? null : Telemetry.Start(Environment.GetEnvironmentVariable, Path.GetFullPath(settings.Out));
        // A folder that is there is owned before anything in it is read; one that is not is made when the first step is about to run.
        var folder = Directory.Exists(settings.Out) && !settings.Dry ? RunFolder.Claim(settings.Out, settings.Start) : null;
        // Until the device is closed: a signal that comes when all is written has nothing to end.
        using var signal = new StopSignal();
        try
        {
            return Run(source, device, adapter, settings, output, phases, signal, ref folder);
        }
        finally
        {
            folder?.Dispose();
        }
    }

    static int Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, TrainSettings settings,
        RunOutput output, Phases phases, StopSignal signal, ref RunFolder? folder)
    {
        var terminal = output.Terminal;
        var checkpoint = settings.Start == RunStart.Resume ? RunCheckpoint.Newest(RunFolder.CheckpointsOf(settings.Out), Note) : null;
        IRunProduct product = source.IsTrained ? new ModelProduct(source) : new AdapterProduct(adapter, source.Name);
        var before = checkpoint is null ? default((RunState State, RunSettings Settings)?) : RunCheckpoint.Read(checkpoint, source.Schedule);
        phases.Done("model");
        if (settings.StepTokens is { } stepTokens) settings = Chosen(source, device, adapter, settings, stepTokens, before?.Settings);
        // Tokenizing takes a core and seconds; the device is made ready meanwhile.
        var loading = Task.Run(() => (Train: TrainData.Load(settings.Data, source), Evaluation: settings.Evaluation is { } e ? TrainData.Load(e.Data, source) : null));
        var request = Request(adapter, settings);
        // A dry run has all of a session but its memory.
        using var session = settings.Dry ? null : ModelSession.Open(source, device, request, Beat);
        var (owner, planned, profile) = session is null ? ModelSession.Plan(source, device, request, Beat) : (session.Device, session.Planned, session.Profile);
        using var opened = session is null ? owner : null;
        var (data, evaluationData) = loading.GetAwaiter().GetResult();
        using var readsData = data;
        using var readsEvaluation = evaluationData;
        var evaluation = evaluationData?.InOrder();
        if (evaluation is not null && !evaluationData!.IsStreamed && !evaluation.Any(window => window.Learning.Count > 0))
            throw new InputException("no token of --eval-data has a label after it was packed, so there is no loss to take.");
        if (data.IsStreamed && settings.Steps is null)
            Note("--epochs makes the number of steps depend on all of the data, which is now tokenized and counted; --steps begins at once");
        var first = data.First(settings.Seed);
        var steps = settings.Steps ?? data.StepsOf(settings.Epochs, settings.Seed, settings.PerStep);
        var rate = new LearningRate(settings.Shape, settings.Peak, settings.Warmup, steps) { Minimum = settings.MinimumRate, Restarts = settings.Restarts };
        var identity = Identity(source, owner, planned.Plan, adapter, data, evaluationData, settings, rate);
        phases.Done("data");

        var position = before?.State.Position ?? RunPosition.Start;
        var changes = before?.Settings is { } began ? identity.Continue(began, position.Step) : [];
        // Losses on other data are not to be compared.
        var evaluations = evaluation is null || before?.Settings.Facts.GetValueOrDefault(EvaluationData) == identity.Facts[EvaluationData]
            ? before?.State.Evaluations ?? EvaluationState.None : EvaluationState.None;
        if (position.Step > steps)
            throw new UsageException($"the run in '{settings.Out}' has done {position.Step} steps, more than the {steps} asked for; give --steps {position.Step} or more.");
        RequireRoom(settings, product, planned.Plan, Note);
        if (session is not null)
        {
            if (before?.State.Train is { } train) session.Training.Restore(train);
            folder ??= RunFolder.Claim(settings.Out, settings.Start);
            product.Complete(folder.Path);
        }

        var trained = source.IsTrained ? $"all {planned.Plan.Optimizer.Elements:N0} weights are trained"
            : $"rank {adapter.Rank}, {planned.Plan.Optimizer.Adapters.Count} adapters";
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{source.Model.Name} from {source.Name} on {owner.Info.Name}: {data.Size(first)}, {steps} steps; "
            + $"{trained}; recompute {planned.Plan.Decisions.Name}, planned peak {Bytes.Text(planned.Footprint.Total)}"));
        terminal.Out.WriteLine(PlanText.Line(planned));
        if (device.Kind == DeviceKind.Auto && owner is CpuDevice) Note("there is no GPU here, so the run is on the CPU; gemma2 doctor says what is missing");
        if (data.TemplateNote is { } template) Note(template);
        foreach (var sentence in data.IsStreamed ? [] : data.Notes()) Note(sentence);
        if (first.Learning.Count < first.Count)
            Note($"{first.Count - first.Learning.Count} of {first.Count} micro-batches of the first {data.Part} have no label and are passed over");
        if (first.LeftOver > 0)
            terminal.Out.WriteLine($"the last {first.LeftOver} tokens of the first {data.Part} fill no row of {settings.Data.Seq} and are left out of it, "
                + "and so it is in every other");
        if (rate.Warmup < steps && rate.Restarts >= steps - rate.Warmup)
            Note($"--restarts {rate.Restarts} cuts the {steps - rate.Warmup} steps behind the warm-up into {rate.Restarts + 1L} parts, less than a step each, "
                + "so the learning rate does not fall as --schedule says");
        if (rate.Warmup >= steps)
            Note($"the warm-up of {rate.Warmup} steps is not over when the run ends, after {steps}: "
                + $"the learning rate comes no further than {rate.At(steps - 1).ToString("G4", CultureInfo.InvariantCulture)} "
                + $"of --lr {rate.Peak.ToString(CultureInfo.InvariantCulture)}");
        foreach (var change in changes) Note(change);
        if (before is not null && adapter.Start is not null && !before.Value.Settings.Facts.ContainsKey(StartAdapter))
            Note("the run goes on from its checkpoint, and the adapter of --adapter is not used");
        if (checkpoint is not null) terminal.Out.WriteLine($"going on after step {position.Step}, from {checkpoint}");
        else if (settings.Start == RunStart.Resume) terminal.Out.WriteLine($"'{settings.Out}' has no checkpoint to go on from; the run begins with step 1");

        if (session is null)
        {
            terminal.Out.WriteLine($"dry run: everything but the weights' values was read and is right; {steps - position.Step} steps are to do, and nothing was written");
            return 0;
        }

        var saver = new RunSaver(folder!, settings.Keep, product, identity, Warn);
        if (before is { } found) saver.GoOnFrom(found.State with { Evaluations = evaluations });
        signal.Listen();
        // The line of a step whose evaluation is owed is written again.
        var owed = before?.State.Owed;
        var recorded = position.Step - (owed is null ? 0 : 1);
        using var metrics = new MetricsFile(folder!.Path, recorded, Warn);
        using var events = new EventFile(folder!.Path, recorded, Warn);
        using var meter = new RunMeter(source.Model.Name);
        var owned = folder!;
        // In a closure of its own: the first window must not stay in memory for as long as the run goes on.
        var facts = TrainFacts.Begin(source, owner, planned, profile, device.Vram ?? owner.Info.TotalBytes, adapter, settings, identity, data, first);
        var (begun, due, reporting) = (false, false, Task.CompletedTask);
        try
        {
            output.Begin(new WatchedRun(source.Model.Name, owner.Info.Name, steps, profile.IsGpu ? profile.Tflops : null));
            if (owed is { } last && Record(last)) Save();
            if (owed is null && !IsOver()) Trainer.Run(session, data.Steps(settings.Seed, settings.PerStep, position.Place, position.DataPosition), rate,
                position, step => IsSave(step) || IsEvaluation(step), (report, now) =>
            {
                if (!begun) phases.Done("first step");
                if (!begun && checkpoint is null) owned.RemoveCheckpoints();
                if (!begun) reporting = Task.Run(() => Watch(() => facts.GetAwaiter().GetResult().Write(owned.Path)));
                (begun, position) = (true, now);
                var whole = Record(report);
                terminal.AfterStep?.Invoke(report);
                if (!report.Skipped) saver.Prove();
                if (!whole) return false;
                if (now.SkippedInARow >= settings.MaxSkipped || signal.Number != 0 || IsOver()) return false;
                // A skipped step has the weights of the one before, of which nobody knows yet that they are good.
                due |= IsSave(now.Step);
                if ((due && !report.Skipped) || evaluations.BestStep == now.Step) Save();
                return true;
            });
            output.End();
        }
        catch (Exception e)
        {
            output.End();
            // A device that failed gives no state; whatever else went wrong, the steps that are done are not lost.
            if (e is not DeviceException && position.Step != (saver.Checkpoint ?? 0)) Save();
            saver.Finish();
            Report();
            Note(saver.Checkpoint is { } saved
                ? $"{position.Step} steps were done; the last save, with its {product.Noun}, is {RunCheckpoint.FolderOf(owned.Checkpoints, saved)}, and --resume goes on from there"
                : $"{position.Step} steps were done and nothing was saved");
            throw;
        }
        if (position.SkippedInARow >= settings.MaxSkipped)
        {
            var diverged = Diverged(position, saver, product, source, settings);
            Report();
            throw diverged;
        }
        if (position.Step != saver.Checkpoint || saver.Product is null) Save();
        saver.Prove();
        saver.Finish();
        Report();
        phases.Done("the rest");
        foreach (var sentence in data.IsStreamed ? data.Notes() : []) Note($"of the data that was read, {sentence}");
        if (saver.ProductFault is { } fault)
            throw new InputException($"{fault}; "
                + $"{(saver.Checkpoint is { } kept ? $"the last good save is {RunCheckpoint.FolderOf(owned.Checkpoints, kept)}" : "nothing of the run was saved")}; "
                + "make room, and --resume goes on from there.");
        var stopped = signal.Number;
        if (stopped != 0 && saver.Checkpoint != position.Step)
            throw new InputException($"signal {stopped} ended the run after step {position.Step}, of which only the {product.Noun} was saved; "
                + $"--resume goes on from {(saver.Checkpoint is { } at ? $"step {at}" : "the start")}.");
        if (IsOver() && position.Step < steps)
            terminal.Out.WriteLine($"ended early, after step {position.Step}: "
                + $"{evaluations.SinceBest} evaluations in a row had no lower loss than step {evaluations.BestStep} (--early-stopping-patience)");
        if (saver.Best is { } best) terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"the lowest evaluation loss is {evaluations.BestLoss:F4}, of step {best}: {Path.Combine(settings.Out, RunFolder.BestName)}"));
        terminal.Out.WriteLine((stopped != 0
            ? $"stopped by signal {stopped} after step {position.Step}; --resume goes on from there{(owed is null ? "" : ", with its evaluation, which was broken off")}; " : "")
            + $"the {product.Noun} is in {settings.Out}; peak {Bytes.Text(session.PeakBytes())}, planned {Bytes.Text(session.PlannedPeakBytes)}");
        return stopped == 0 ? 0 : 128 + stopped;

        void Beat(string phase)
        {
            phases.Done(phase);
            if (loading.IsFaulted) loading.GetAwaiter().GetResult();
        }

        // The step's line, with its evaluation where one is due; false: a signal came meanwhile, and the evaluation is owed.
        bool Record(StepReport report)
        {
            owed = IsEvaluation(report.Step) ? report : null;
            if (owed is not null && Evaluate(session.Training, evaluation!, () => signal.Number != 0) is { } loss)
            {
                (report, owed) = (report with { EvaluationLoss = loss }, null);
                evaluations = evaluations.After(report.Step, loss);
            }
            metrics.Write(report);
            events.Write(report);
            meter.Write(report);
            output.Show(report);
            return owed is null;
        }

        bool IsOver() => settings.Patience <= evaluations.SinceBest;
        bool IsSave(int step) => step % settings.SaveEvery == 0 && step < steps;
        bool IsEvaluation(int step) => settings.Evaluation is { } e && (step % e.Every == 0 || step == steps);
        void Note(string text) => terminal.Error.WriteLine("note: " + Terminal.Plain(text));
        void Warn(string text) => terminal.Error.WriteLine("warning: " + Terminal.Plain(text.ReplaceLineEndings(" ")));

        // What only watches may fail without harm.
        void Watch(Action what)
        {
            try
            {
                what();
            }
            catch (Exception e)
            {
                Warn($"the run's report could not be written: {e.Message.TrimEnd('.')}");
            }
        }

        void Report()
        {
            reporting.GetAwaiter().GetResult();
            if (begun || before?.State.Owed is not null) Watch(() => ReportCommand.Write([owned.Path], Path.Combine(owned.Path, RunReport.FileName)));
        }

        void Save()
        {
            // A checkpoint counts on the lines of its steps.
            due = false;
            metrics.Flush(toDisk: true);
            saver.Begin(new RunState(position, session.Training.State(settings.Seed, position.DataPosition)) { Evaluations = evaluations, Owed = owed });
        }
    }

    static SessionRequest Request(AdapterSettings adapter, TrainSettings settings) =>
        new(adapter, settings.Data.BatchTokens, settings.Data.Seq, settings.PerStep, settings.Recompute, settings.Adam, settings.Seed) { Quant = settings.Quant,
        Host = settings.Host, Moments = settings.Moments };

    // A run that goes on has the micro-batches that it began with, whatever would be the fastest now.
    static TrainSettings Chosen(ModelSource source, DeviceRequest device, AdapterSettings adapter, TrainSettings settings, int stepTokens, RunSettings? began)
    {
        var (tokens, perStep) = began?.Values is { } values && Began(values, "--batch-tokens") is { } t && Began(values, "--grad-accum") is { } n && t * n == stepTokens
            ? (t, n) : ModelSession.FastestMicroBatch(source, device, Request(adapter, settings), stepTokens);
        return settings with { Data = settings.Data with { BatchTokens = tokens }, PerStep = perStep };

        static int? Began(IReadOnlyDictionary<string, string> values, string name) =>
            values.TryGetValue(name, out var text) && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
    }

    static FinetuneException Diverged(RunPosition position, RunSaver saver, IRunProduct product, ModelSource source, TrainSettings settings)
    {
        var first = position.Step - position.SkippedInARow + 1;
        var kept = saver.Retreat(first, source.Schedule);
        return new FinetuneException($"the run diverged: the gradients of {position.SkippedInARow} steps in a row, {first} to {position.Step}, "
            + $"were not finite (--max-skipped {settings.MaxSkipped}); "
            + (kept is { } step ? $"the {product.Noun} in '{settings.Out}' is the one of step {step}, the last good save; "
                : $"there was no good save before, so there is no {product.Noun} of this run; ") + "lower --lr or raise --warmup.", 6);
    }

    /// <param name="stop">Asked before every micro-batch.</param>
    /// <returns>Null: it was stopped.</returns>
    static double? Evaluate(TrainingSession training, IEnumerable<PackedData> data, Func<bool> stop)
    {
        var (sum, labels) = (0.0, 0L);
        foreach (var batch in data.SelectMany(window => window))
        {
            if (stop()) return null;
            var (loss, count) = training.Evaluate(batch);
            (sum, labels) = (sum + loss, labels + count);
        }
        return labels > 0 ? sum / labels : throw new InputException("no token of --eval-data has a label after it was packed, so there is no loss to take.");
    }

    /// <exception cref="UsageException">A place or a format of weights that trained ones cannot have.</exception>
    internal static void CheckFull(ModelSource source, Quantization? quant, HostRequest host)
    {
        if (quant == Quantization.Nf4 || source.IsPacked())
            throw new UsageException($"{source.Model.Name} trains all weights, and weights in 4 bits cannot be trained; "
                + $"{(source.IsPacked() ? "give --model a checkpoint of 16 or 32 bits" : "leave --quant out")}.");
        if (host.StreamWeights == StreamWeights.On)
            throw new UsageException($"{source.Model.Name} trains all weights, and those of --stream-weights rest in host memory; leave it out.");
    }

    /// <exception cref="UsageException">An option that trained weights cannot have.</exception>
    static void CheckFull(ModelSource source, TrainSettings settings)
    {
        CheckFull(source, settings.Quant, settings.Host);
        if (settings.Adam.LoraPlus != 1) throw new UsageException($"{source.Model.Name} trains no adapters, so --lora-plus-ratio has nothing to act on; leave it out.");
        if (Directory.Exists(source.Name)
            && Path.GetFullPath(source.Name).TrimEnd(Path.DirectorySeparatorChar) == Path.GetFullPath(settings.Out).TrimEnd(Path.DirectorySeparatorChar))
            throw new UsageException($"--out is the directory of --model, '{source.Name}', whose weights would be replaced while they are read; give another --out.");
    }

    // What is trained is what a run is for; a disk that has no room for it now has none after days.
    static void RequireRoom(TrainSettings settings, IRunProduct product, ExecutionPlan plan, Action<string> note)
    {
        var masters = 4 * plan.Optimizer.Elements;
        if (RunFolder.FreeBytes(settings.Out) is not { } free) return;
        if (free < masters)
            throw new InputException($"'{settings.Out}' has room for {Bytes.Text(free)}, but the {product.Noun} needs {Bytes.Text(masters)}; make room, or give another --out.");
        var checkpoints = (settings.Keep + (settings.Evaluation is null ? 1 : 2)) * 3 * masters;
        if (free < masters + checkpoints)
            note($"'{settings.Out}' has room for {Bytes.Text(free)}, but {settings.Keep} checkpoints{(settings.Evaluation is null ? "" : ", the best one")} "
                + $"and the next one need {Bytes.Text(checkpoints)} beside the {product.Noun}'s {Bytes.Text(masters)}");
    }

    static RunSettings Identity(ModelSource source, IDevice device, ExecutionPlan plan, AdapterSettings adapter, TrainData data, TrainData? evaluation,
        TrainSettings settings, LearningRate rate)
    {
        var values = new Dictionary<string, string>
        {
            ["--variant"] = source.Model.Name, ["--model"] = source.Fingerprint(), ["--dtype"] = device.Act.ToString(),
            // Of codes that a checkpoint holds, every storage has the same values.
            ["--quant"] = settings.Quant == Quantization.Nf4 && !source.IsPacked() ? "nf4" : "none",
            ["--rank-pattern"] = string.Join(',', plan.Optimizer.Adapters.Where(a => a.Slot.Rank != adapter.Rank).Select(a => $"{a.Slot.Linear}={a.Slot.Rank}")),
            ["--alpha-pattern"] = string.Join(',', adapter.Alphas.OrderBy(a => a.Key, StringComparer.Ordinal).Select(a => $"{a.Key}={Text(a.Value)}")),
            ["--lora-plus-ratio"] = Text(settings.Adam.LoraPlus),
            ["--rank"] = Text(adapter.Rank), ["--alpha"] = Text(adapter.Alpha), ["--rslora"] = Text(adapter.RsLora),
            ["--layers"] = adapter.Layers is { } layers ? string.Join(',', layers) : "all", ["--dropout"] = Text(adapter.Dropout),
            ["--targets"] = string.Join(',', plan.Optimizer.Adapters.Select(a => a.Slot.Linear)),
            // Before the data: they change its ids and labels, and are what the person set.
            ["--loss-on"] = settings.Data.LossOn.ToString(), ["--over-length"] = settings.Data.OverLength.ToString(),
            ["--data"] = data.Fingerprint(), ["--seq"] = Text(settings.Data.Seq), ["--batch-tokens"] = Text(settings.Data.BatchTokens),
            ["--packing"] = settings.Data.Layout.ToString(),
            ["--grad-accum"] = Text(settings.PerStep), ["--optimizer"] = settings.Moments.ToString(), ["--weight-decay"] = Text(settings.Adam.WeightDecay),
            ["--clip"] = Text(settings.Adam.Clip), ["--seed"] = Text(settings.Seed),
        };
        var facts = new Dictionary<string, string> { ["the device"] = $"{device.Info.Name} ({device.Info.Target})" };
        // What a run that goes on starts from is its checkpoint.
        if (adapter.Start is { } start) facts[StartAdapter] = "sha256 " + start.Fingerprint()[..16];
        if (evaluation is not null) facts[EvaluationData] = "sha256 " + evaluation.Fingerprint()[..16];
        return new RunSettings(values, facts, rate);

        static string Text(IConvertible value) => value.ToString(CultureInfo.InvariantCulture);
    }
}
