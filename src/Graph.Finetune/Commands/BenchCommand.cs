using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Training;
using Graph.Runtime;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>Time of an optimizer step and of every kernel in it, on random ids; random weights when no model is given.</summary>
static class BenchCommand
{
    sealed record Settings(int Seq, int Tokens, int Steps, MomentFormat Moments, string Recompute, int Seed, bool Json, Quantization? Quant, HostRequest Host);

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (source, adapter, host) = (new SourceOptions(models, "random:0"), new AdapterOptions(), new HostOptions());
        var seq = OptionKinds.Integer("--seq", "tokens of the longest document", 2048, 1);
        var tokens = OptionKinds.Integer("--batch-tokens", "tokens of a micro-batch", 8192, 1, BatchTokens.Most);
        var steps = OptionKinds.Integer("--steps", "timed steps, after two that are not", 20, 1);
        var optimizer = TrainCommand.Optimizer();
        var recompute = TrainCommand.Recompute();
        var quant = QuantOption.Create();
        var seed = TrainCommand.Seed("decides the ids and the adapter's first values");
        var json = OptionKinds.Flag("--json", "prints one JSON object");
        var command = new Command("bench",
            "Time per step and per kernel: median of some steps as train runs them, the device's idle share, then each launch of a step by itself beside its limit.");
        source.AddTo(command);
        adapter.AddTo(command);
        foreach (var option in new Option[] { seq, tokens, steps, optimizer, recompute, quant, seed, json }) command.Add(option);
        host.AddTo(command);
        command.SetAction(result =>
        {
            var (model, weights, device) = source.Read(result);
            var batch = result.GetValue(tokens)!.Value;
            var row = BatchOptions.Row(result, seq, batch);
            // Padding would count as tokens.
            if (batch % row != 0) throw new UsageException($"--batch-tokens is {batch} and --seq {row}; a timed micro-batch is filled by whole rows, so give a multiple of --seq.");
            var settings = new Settings(row, batch, result.GetValue(steps)!.Value, TrainCommand.Moments(result.GetRequiredValue(optimizer)),
                result.GetRequiredValue(recompute), result.GetValue(seed)!.Value, result.GetValue(json), QuantOption.Read(result, quant), host.Read(result));
            using var opened = ModelSource.Open(model, weights);
            Run(opened, device, adapter.Read(result, opened), settings, terminal);
        });
        return command;
    }

    static void Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, Settings settings, Terminal terminal)
    {
        source.RequirePositions(settings.Seq);
        var phases = new Phases(terminal);
        using var session = ModelSession.Open(source, device,
            new SessionRequest(adapter, settings.Tokens, settings.Seq, 1, settings.Recompute, new AdamOptions(), settings.Seed) { Quant = settings.Quant,
                Host = settings.Host, Moments = settings.Moments }, phases.Done);
        var random = new Random(settings.Seed);
        // Full rows and labels everywhere, as the peers are measured.
        var rows = Enumerable.Range(0, settings.Tokens / settings.Seq).Select(_ => Enumerable.Range(0, settings.Seq).Select(_ => random.Next(source.CommonIds)).ToArray())
            .Select(ids => (ids, ids));
        var batch = MicroBatch.Pack(settings.Tokens, [.. rows]);
        var measured = StepMeasurement.Of(session, batch, settings.Steps);
        if (settings.Json) terminal.Out.WriteLine(Json(source, session, settings, measured));
        else Print(source, session, settings, measured, terminal);
    }

    static void Print(ModelSource source, ModelSession session, Settings settings, StepMeasurement measured, Terminal terminal)
    {
        var width = measured.Kernels.Max(k => k.Name.Length);
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{source.Model.Name} on {session.Device.Info.Name} ({session.Device.Info.Target}): {measured.Median:F2} ms a step "
            + $"(median of {settings.Steps}; {measured.Steps[0]:F2} to {measured.Steps[^1]:F2}), {settings.Tokens / measured.Median * 1000:F0} tokens/s"));
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"device at work {measured.Busy:F2} ms, idle {100 * measured.Idle:F2} %; peak {Bytes.Text(session.PeakBytes())}, "
            + $"planned {Bytes.Text(session.PlannedPeakBytes)}, recompute {session.Training.Plan.Decisions.Name}"));
        Line($"{PlanText.Line(session.Planned)}; {session.Planned.Milliseconds / measured.Median:F3} of the time measured");
        Line($"limits, measured here: {measured.Limits.Tflops:G3} TFLOP/s (a square product), {measured.Limits.Gbps:G4} GB/s (a copy)");
        Line($"{"kernel".PadRight(width)}  count         ms      %             rate  of limit");
        foreach (var kernel in measured.Kernels)
            Line($"{kernel.Name.PadRight(width)}  {kernel.Count,5}  {kernel.Milliseconds,9:F3}  {100 * kernel.Share,5:F1}  {Rate(kernel),15}  {100 * kernel.OfLimit,6:F0} %");
        Line($"{"launch by launch".PadRight(width)}         {measured.Kernels.Sum(k => k.Milliseconds),9:F3}");

        void Line(FormattableString text) => terminal.Out.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    static string Rate(KernelTime kernel) => string.Create(CultureInfo.InvariantCulture, $"{(kernel.Tflops is { } t ? $"{t:G3} TFLOP/s" : $"{kernel.Gbps:G4} GB/s")}");

    static string Json(ModelSource source, ModelSession session, Settings settings, StepMeasurement measured)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("variant", source.Model.Name);
            json.WriteString("device", session.Device.Info.Name);
            json.WriteString("target", session.Device.Info.Target);
            json.WriteNumber("tokens", settings.Tokens);
            json.WriteNumber("seq", settings.Seq);
            json.WriteNumber("steps", settings.Steps);
            json.WriteString("plan", session.Training.Plan.Decisions.Name);
            json.WriteNumber("ms_median", Significant.Round(measured.Median));
            json.WriteNumber("ms_least", Significant.Round(measured.Steps[0]));
            json.WriteNumber("ms_most", Significant.Round(measured.Steps[^1]));
            json.WriteNumber("tokens_per_second", Significant.Round(settings.Tokens / measured.Median * 1000));
            json.WriteNumber("busy_ms", Significant.Round(measured.Busy));
            json.WriteNumber("idle_share", Math.Round(measured.Idle, 5));
            json.WriteNumber("peak_bytes", session.PeakBytes());
            json.WriteNumber("planned_peak_bytes", session.PlannedPeakBytes);
            json.WriteNumber("planned_ms", Significant.Round(session.Planned.Milliseconds));
            json.WriteNumber("host_bytes", session.Training.Plan.Memory.HostBytes);
            json.WriteString("decisions", PlanText.Actions(session.Planned));
            json.WriteNumber("limit_tflops", Significant.Round(measured.Limits.Tflops));
            json.WriteNumber("limit_gbps", Significant.Round(measured.Limits.Gbps));
            json.WriteStartArray("kernels");
            foreach (var kernel in measured.Kernels)
            {
                json.WriteStartObject();
                json.WriteString("name", kernel.Name);
                json.WriteNumber("count", kernel.Count);
                json.WriteNumber("ms", Significant.Round(kernel.Milliseconds));
                json.WriteNumber("share", Math.Round(kernel.Share, 5));
                if (kernel.Tflops is { } tflops) json.WriteNumber("tflops", Significant.Round(tflops));
                else json.WriteNumber("gbps", Significant.Round(kernel.Gbps!.Value));
                json.WriteNumber("of_limit", Significant.Round(kernel.OfLimit));
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
