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

namespace Graph.Finetune.Commands;

/// <summary>Time of an optimizer step and of every kernel in it, on random ids; random weights when no model is given.</summary>
static class BenchCommand
{
    /// <summary>Launches of one name, summed over a micro-batch. Tflops or, for what does no products, Gbps.</summary>
    sealed record KernelTime(string Name, int Count, double Milliseconds, double? Tflops, double? Gbps);

    sealed record Settings(int Seq, int Tokens, int Steps, string Recompute, int Seed, bool Json);

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (source, adapter) = (new SourceOptions(models, "random:0"), new AdapterOptions());
        var seq = OptionKinds.Integer("--seq", "tokens of the longest document", 2048, 1);
        var tokens = OptionKinds.Integer("--batch-tokens", "tokens of a micro-batch", 8192, 1);
        var steps = OptionKinds.Integer("--steps", "timed steps, after two that are not", 10, 1);
        var recompute = TrainCommand.Recompute();
        var seed = TrainCommand.Seed("decides the ids and the adapter's first values");
        var json = OptionKinds.Flag("--json", "prints one JSON object");
        var command = new Command("bench", "Time per step and per kernel: median of some steps, then each launch of a micro-batch by itself.");
        source.AddTo(command);
        adapter.AddTo(command);
        foreach (var option in new Option[] { seq, tokens, steps, recompute, seed, json }) command.Add(option);
        command.SetAction(result =>
        {
            var (model, weights, device) = source.Read(result);
            var batch = result.GetValue(tokens)!.Value;
            var settings = new Settings(Math.Min(result.GetValue(seq)!.Value, batch), batch, result.GetValue(steps)!.Value, result.GetRequiredValue(recompute), result.GetValue(seed)!.Value, result.GetValue(json));
            using var opened = ModelSource.Open(model, weights);
            Run(opened, device, adapter.Read(result, opened), settings, terminal);
        });
        return command;
    }

    static void Run(ModelSource source, DeviceRequest device, AdapterSettings adapter, Settings settings, Terminal terminal)
    {
        var phases = new Phases(terminal);
        using var session = ModelSession.Open(source, device, new SessionRequest(adapter, settings.Tokens, settings.Seq, 1, settings.Recompute, new AdamOptions(), settings.Seed), phases.Done);
        var random = new Random(settings.Seed);
        // Full rows and labels everywhere, as the peers are measured.
        var rows = Enumerable.Range(0, settings.Tokens / settings.Seq).Select(_ => Enumerable.Range(0, settings.Seq).Select(_ => random.Next(source.Vocabulary)).ToArray()).Select(ids => (ids, ids));
        var batch = MicroBatch.Pack(settings.Tokens, [.. rows]);
        for (var i = 0; i < 2; i++) session.Training.Train([batch], 1e-4);
        var times = Enumerable.Range(0, settings.Steps).Select(_ => session.Training.Train([batch], 1e-4).Milliseconds).Order().ToArray();
        var median = times.Length % 2 == 1 ? times[times.Length / 2] : (times[times.Length / 2 - 1] + times[times.Length / 2]) / 2;
        var kernels = Kernels(session.Training.Profile(batch, 1e-4));
        if (settings.Json) terminal.Out.WriteLine(Json(source, session, settings, median, kernels));
        else Print(source, session, settings, median, kernels, terminal);
    }

    static KernelTime[] Kernels(IReadOnlyList<(BoundLaunch Launch, double Milliseconds)> profile) => [.. profile.GroupBy(p => Name(p.Launch)).Select(g =>
    {
        var (ms, flops, bytes) = (g.Sum(p => p.Milliseconds), g.Sum(p => (double)p.Launch.Flops), g.Sum(p => (double)p.Launch.Bytes));
        return new KernelTime(g.Key, g.Count(), ms, flops > 0 ? flops / ms / 1e9 : null, flops > 0 ? null : bytes / ms / 1e6);
    }).OrderByDescending(k => k.Milliseconds)];

    /// <summary>The kernel; for a product its layout and output, with * for the number of the layer or group.</summary>
    static string Name(BoundLaunch launch) => launch is BoundGemm gemm
        ? $"gemm {gemm.Layout.ToString().ToLowerInvariant()}{(gemm.Accumulate ? " +=" : "")} {string.Join('.', gemm.Label.Split('[')[0].Split('.').Select(part => part.All(char.IsDigit) ? "*" : part))}" : launch.Label;

    static void Print(ModelSource source, ModelSession session, Settings settings, double median, KernelTime[] kernels, Terminal terminal)
    {
        var width = kernels.Max(k => k.Name.Length);
        var all = kernels.Sum(k => k.Milliseconds);
        Line($"{source.Model.Name} on {session.Device.Info.Name} ({session.Device.Info.Target}): {median:F2} ms a step (median of {settings.Steps}), {settings.Tokens / median * 1000:F0} tokens/s, peak {Bytes.Text(session.Device.PeakBytes)}, recompute {session.Training.Plan.Decisions.Name}");
        Line($"{"kernel".PadRight(width)}  count         ms      %");
        foreach (var kernel in kernels)
            Line($"{kernel.Name.PadRight(width)}  {kernel.Count,5}  {kernel.Milliseconds,9:F3}  {100 * kernel.Milliseconds / all,5:F1}  {(kernel.Tflops is { } t ? $"{t:G3} TFLOP/s" : $"{kernel.Gbps:G3} GB/s")}");
        Line($"{"sum of a micro-batch".PadRight(width)}         {all,9:F3}");

        void Line(FormattableString text) => terminal.Out.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    static string Json(ModelSource source, ModelSession session, Settings settings, double median, KernelTime[] kernels)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("variant", source.Model.Name);
            json.WriteString("device", session.Device.Info.Name);
            json.WriteNumber("tokens", settings.Tokens);
            json.WriteNumber("seq", settings.Seq);
            json.WriteNumber("ms_median", Math.Round(median, 4));
            json.WriteNumber("tokens_per_second", Math.Round(settings.Tokens / median * 1000, 1));
            json.WriteNumber("peak_bytes", session.Device.PeakBytes);
            json.WriteNumber("planned_peak_bytes", session.PlannedPeakBytes);
            json.WriteString("plan", session.Training.Plan.Decisions.Name);
            json.WriteStartArray("kernels");
            foreach (var kernel in kernels)
            {
                json.WriteStartObject();
                json.WriteString("name", kernel.Name);
                json.WriteNumber("count", kernel.Count);
                json.WriteNumber("ms", Math.Round(kernel.Milliseconds, 4));
                if (kernel.Tflops is { } tflops) json.WriteNumber("tflops", Math.Round(tflops, 2));
                else json.WriteNumber("gbps", Math.Round(kernel.Gbps!.Value, 1));
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
