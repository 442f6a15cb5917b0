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
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Commands;

/// <summary>
/// One op of one shape at a time, without a model's weights; products on cuBLASLt and on the emitted GEMM side by side, and the linears' with and without their adapters.
/// </summary>
static class KernelsBenchCommand
{
    sealed record Settings(string? Name, int Tokens, int Seq, int Rank, int Repeats, bool Json);

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var source = new SourceOptions(models, "random:0");
        var name = new Argument<string?>("NAME") { Description = "a part of the names that 'bench' prints, for example attention or 'gemm nt'; all ops when left out",
            Arity = ArgumentArity.ZeroOrOne };
        var seq = OptionKinds.Integer("--seq", "tokens of a document", 2048, 1);
        var tokens = OptionKinds.Integer("--batch-tokens", "tokens of a micro-batch", 8192, 1, BatchTokens.Most);
        var rank = OptionKinds.Integer("--rank", "rank of A and B", 16, 1, 256);
        var repeats = OptionKinds.Integer("--repeats", "timed launches, after two that are not", 20, 1);
        var json = OptionKinds.Flag("--json", "prints one JSON object");
        var command = new Command("bench",
            "Times ops one by one on random values: median, rate, part of the limit; "
                + "for products which of cuBLASLt and the emitted GEMM wins, for linears the part of their speed without adapters.") { name };
        source.AddTo(command);
        foreach (var option in new Option[] { seq, tokens, rank, repeats, json }) command.Add(option);
        command.SetAction(result =>
        {
            var (model, _, device) = source.Read(result);
            var batch = result.GetValue(tokens)!.Value;
            Run(model, device, new Settings(result.GetValue(name),
                batch, Math.Min(result.GetValue(seq)!.Value, batch), result.GetValue(rank)!.Value, result.GetValue(repeats)!.Value, result.GetValue(json)), terminal);
        });
        return command;
    }

    static void Run(CompiledModel model, DeviceRequest request, Settings settings, Terminal terminal)
    {
        using var device = ModelSession.OpenDevice(model, request);
        device.Load(model);
        var schedule = ScheduleText.Parse(model.Schedule());
        var random = new Random(0);
        var tables = EmbeddingTables.Of(schedule);
        var vocabulary = tables.Where(t => t.Input is "ids" or "labels").Min(t => t.Rows);
        var rows = Enumerable.Range(0, settings.Tokens / settings.Seq).Select(_ => Enumerable.Range(0, settings.Seq).Select(_ => random.Next(vocabulary)).ToArray());
        var batch = MicroBatch.Pack(settings.Tokens, [.. rows.Select(ids => (ids, ids))]);
        if (EmbeddingTables.Fault(tables, "positions", batch.Positions) is { } fault)
            throw new UsageException($"--seq is {settings.Seq}: {model.Name} would read {fault}; lower --seq.");
        var ops = new OpMeasurement(device, schedule, RankTable.Create(schedule, _ => settings.Rank), batch);
        var found = ops.Find(settings.Name);
        if (found.Count == 0)
            throw new UsageException($"{model.Name} has no op with '{settings.Name}' in its name; names are {string.Join(", ", ops.Find(null).Select(f => f.Name).Distinct())}.");
        var limits = ops.Limits();
        var times = found.Select(f => ops.Measure(f, settings.Repeats, limits));
        if (settings.Json) terminal.Out.WriteLine(Json(model, device, settings, limits, [.. times]));
        else Print(model, device, settings, limits, [.. times], terminal);
    }

    static void Print(CompiledModel model, IDevice device, Settings settings, DeviceLimits limits, OpTime[] times, Terminal terminal)
    {
        int width = times.Max(t => t.Name.Length), shape = times.Max(t => t.Shape.Length);
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{model.Name} on {device.Info.Name} ({device.Info.Target}): {settings.Tokens} tokens in documents of {settings.Seq}, rank {settings.Rank}, "
            + $"median of {settings.Repeats} launches from memory"));
        Line($"limits, measured here: {limits.Tflops:G3} TFLOP/s (a square product), {limits.Gbps:G4} GB/s (a copy)");
        Line($"{"op".PadRight(width)}  {"shape".PadRight(shape)}  on              ms            rate  of limit");
        foreach (var t in times)
            Line($"{t.Name.PadRight(width)}  {t.Shape.PadRight(shape)}  {t.On,-8}  {t.Milliseconds,8:F4}  {Rate(t),14}  {100 * t.OfLimit,6:F0} %{Winner(t)}{Plain(t)}");

        void Line(FormattableString text) => terminal.Out.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    static string Rate(OpTime t) => string.Create(CultureInfo.InvariantCulture, $"{(t.Tflops is { } tflops ? $"{tflops:G3} TFLOP/s" : $"{t.Gbps:G4} GB/s")}");

    static string Winner(OpTime t) => t.EmittedOfCublasLt is not { } part ? "" : string.Create(CultureInfo.InvariantCulture,
        $"   emitted {t.EmittedMilliseconds:F4} ms: {(part > 1 ? $"emitted wins by {100 * (part - 1):F1} %" : $"cublaslt wins by {100 * (1 / part - 1):F1} %")}");

    static string Plain(OpTime t) => t.OfPlain is not { } part ? ""
        : string.Create(CultureInfo.InvariantCulture, $"   without adapters {t.PlainMilliseconds:F4} ms: {100 * part:F1} % of that speed");

    static string Json(CompiledModel model, IDevice device, Settings settings, DeviceLimits limits, OpTime[] times)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("variant", model.Name);
            json.WriteString("device", device.Info.Name);
            json.WriteString("target", device.Info.Target);
            json.WriteNumber("tokens", settings.Tokens);
            json.WriteNumber("seq", settings.Seq);
            json.WriteNumber("rank", settings.Rank);
            json.WriteNumber("repeats", settings.Repeats);
            json.WriteNumber("limit_tflops", Significant.Round(limits.Tflops));
            json.WriteNumber("limit_gbps", Significant.Round(limits.Gbps));
            json.WriteStartArray("ops");
            foreach (var t in times)
            {
                json.WriteStartObject();
                json.WriteString("name", t.Name);
                json.WriteString("shape", t.Shape);
                json.WriteString("on", t.On);
                json.WriteNumber("ms_median", Significant.Round(t.Milliseconds));
                json.WriteNumber("ms_least", Significant.Round(t.Least));
                json.WriteNumber("ms_most", Significant.Round(t.Most));
                if (t.Tflops is { } tflops) json.WriteNumber("tflops", Significant.Round(tflops));
                else json.WriteNumber("gbps", Significant.Round(t.Gbps!.Value));
                json.WriteNumber("of_limit", Significant.Round(t.OfLimit));
                if (t.EmittedMilliseconds is { } emitted)
                {
                    json.WriteNumber("emitted_ms_median", Significant.Round(emitted));
                    json.WriteString("winner", t.EmittedOfCublasLt > 1 ? "emitted" : "cublaslt");
                    json.WriteNumber("emitted_of_cublaslt", Significant.Round(t.EmittedOfCublasLt!.Value));
                }
                if (t.PlainMilliseconds is { } plain)
                {
                    json.WriteNumber("plain_ms_median", Significant.Round(plain));
                    json.WriteNumber("of_plain", Significant.Round(t.OfPlain!.Value));
                }
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
