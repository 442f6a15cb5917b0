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
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Commands;

/// <summary>What a run would take, before it runs: needs no GPU and no checkpoint.</summary>
static class PlanCommand
{
    static readonly string[] Sizes = ["2b", "9b", "27b"];

    /// <summary>GiB of the budgets in the picture of longest contexts.</summary>
    static readonly int[] Cards = [8, 12, 16, 24, 32, 40, 48, 64, 80];

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var (variant, adapter, host) = (Models.Variant(models), new AdapterOptions(), new HostOptions(machine: false));
        var full = SourceOptions.Full();
        var seq = OptionKinds.Integer("--seq", "tokens of the longest document", 2048, 1);
        var (tokens, ofStep) = (BatchOptions.Tokens(), new StepOptions());
        var vram = SourceOptions.Vram();
        var profile = OptionKinds.Choice("--device-profile", "the card that it is planned for", [.. DeviceProfile.All.Reverse().Select(p => p.Name)]);
        var optimizer = TrainCommand.Optimizer();
        var recompute = TrainCommand.Recompute();
        var quant = QuantOption.Create();
        var json = OptionKinds.Flag("--json", "prints one JSON object");
        var html = OptionKinds.Text("--html", "FILE", "writes a page: memory over a step, what happens to each activation, longest context against memory");
        var command = new Command("plan",
            "What a run would take on a card: predicted peak by category, step time, what is kept of the forward, the longest context. "
                + "Needs no GPU and no checkpoint.") { variant, full };
        adapter.AddTo(command);
        foreach (var option in new Option[] { seq, tokens, vram, profile, optimizer, recompute, quant, json, html }) command.Add(option);
        ofStep.AddTo(command);
        host.AddTo(command);
        command.SetAction(result =>
        {
            var name = result.GetValue(variant);
            var model = result.GetValue(full) ? Models.Full(models, name) : Models.Find(models, name);
            using var source = ModelSource.Open(model, "random:0");
            var device = DeviceProfile.Find(result.GetRequiredValue(profile))!;
            var asked = result.GetRequiredValue(tokens);
            var (perStep, toChoose) = ofStep.Read(result, asked);
            var batch = asked.Count ?? toChoose!.Value;
            StepOptions.Require(result.GetValue(seq)!.Value, toChoose);
            var request = new SessionRequest(adapter.Read(result, source), batch, BatchOptions.Row(result, seq, batch),
                perStep, result.GetRequiredValue(recompute), new AdamOptions(), 0)
            {
                Quant = QuantOption.Read(result, quant), Moments = TrainCommand.Moments(result.GetRequiredValue(optimizer)), Host = host.Read(result),
            };
            if (source.IsTrained) TrainRun.CheckFull(source, request.Quant, request.Host);
            source.RequirePositions(request.Seq);
            var budget = result.GetValue(vram) ?? device.MemoryBytes;
            if (budget > device.MemoryBytes)
                throw new FinetuneException($"--vram is {Bytes.Text(budget)} but a {device.Name} has {Bytes.Text(device.MemoryBytes)}; "
                    + "lower --vram, or plan for a larger card with --device-profile.", 4);
            if (toChoose is not null)
            {
                var (fastest, micro) = BatchTokens.Fastest(source, request, device, budget, batch, $"--vram is {Bytes.Text(budget)}");
                request = request with { Tokens = fastest, MicroBatches = micro };
            }
            Run(models, source, request, device, budget, result.GetValue(json), result.GetValue(html), terminal);
        });
        return command;
    }

    static void Run(
        IReadOnlyList<CompiledModel> models, ModelSource source, SessionRequest request, DeviceProfile device, long budget, bool json, string? html, Terminal terminal)
    {
        var frontier = PlanRequest.Frontier(source, request, device);
        var step = frontier.Fit(budget) ?? throw PlanRequest.DoesNotFit(source, request, device, frontier, budget, $"--vram is {Bytes.Text(budget)}");
        if (html is not null)
        {
            var title = $"{source.Model.Name}, {request.MicroBatches * request.Tokens} tokens a step, {device.Name}";
            var page = PlanPage.Html(title, step, device, budget, Curves(models, source, request, device));
            AtomicFiles.Write((html, stream => stream.Write(Encoding.UTF8.GetBytes(page))));
        }
        var longest = new LongestContext(source, request, device).Of(budget);
        if (json) terminal.Out.WriteLine(Json(source, request, device, step, budget, longest));
        else Print(source, request, device, step, budget, longest, terminal);
    }

    /// <summary>Of the model asked for and the sizes of Gemma 2 that the executable holds, with adapters of the same rank on all that they give one.</summary>
    static IReadOnlyList<ContextCurve> Curves(IReadOnlyList<CompiledModel> models, ModelSource source, SessionRequest request, DeviceProfile device) =>
    [
        .. models.Where(m => Sizes.Contains(m.Name) || m.Name == source.Model.Name).AsParallel().AsOrdered().Select(model =>
        {
            using var other = ModelSource.Open(model, "random:0");
            var adapter = model.Name == source.Model.Name ? request.Adapter
                : AdapterSettings.Create(other.Schedule, Math.Max(1, request.Adapter.Rank), request.Adapter.Alpha, request.Adapter.RsLora, []);
            var longest = new LongestContext(other, request with { Adapter = adapter }, device);
            return new ContextCurve(model.Name, [.. Cards.Select(gib => ((long)gib << 30, longest.Of((long)gib << 30, LongestContext.ShareOfPictures)))]);
        }),
    ];

    static void Print(ModelSource source, SessionRequest request, DeviceProfile device, PlannedStep step, long budget, int longest, Terminal terminal)
    {
        terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{source.Model.Name} on a {device.Name}: {request.MicroBatches * request.Tokens} tokens a step in documents of {request.Seq}, "
            + $"rank {request.Adapter.Rank}, budget {Bytes.Text(budget)}"));
        Line($"{PlanText.Line(step)}");
        var use = MemoryUse.Of(step);
        foreach (var (category, bytes) in use.AtPeak) Line($"  {PlanText.Name(category),-32} {Bytes.Text(bytes),12}");
        Line($"  {"all",-32} {Bytes.Text(step.Footprint.Total),12}");
        if (step.Plan.Memory.HostBytes > 0) Line($"  {"page-locked host memory",-32} {Bytes.Text(step.Plan.Memory.HostBytes),12}");
        Line($"{step.Plan.LogitsRows} rows of logits at a time; longest context of one row: {longest} tokens");
        Line($"{"activation",-44} {"action",-12} {"bytes",12} {"ms",9}  layers");
        foreach (var c in PlanText.Classes(step))
            Line($"{c.Tensor,-44} {PlanText.Verb(c.Action),-12} {Bytes.Text(c.Bytes),12} {c.Milliseconds,9:F2}  {KernelsCommand.Layers(c.Layers)}");

        void Line(FormattableString text) => terminal.Out.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    static string Json(ModelSource source, SessionRequest request, DeviceProfile device, PlannedStep step, long budget, int longest)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("variant", source.Model.Name);
            json.WriteString("device_profile", device.Name);
            json.WriteNumber("tokens", request.Tokens);
            json.WriteNumber("micro_batches", request.MicroBatches);
            json.WriteNumber("seq", request.Seq);
            json.WriteNumber("budget_bytes", budget);
            json.WriteNumber("peak_bytes", step.Footprint.Total);
            json.WriteNumber("host_bytes", step.Plan.Memory.HostBytes);
            json.WriteNumber("streamed_bytes", step.Plan.Memory.StreamedBytes);
            json.WriteNumber("host_optimizer_bytes", step.Plan.Memory.HostStates?.Bytes ?? 0);
            json.WriteNumber("token_tile", step.Plan.Options.TokenTile ?? 0);
            json.WriteNumber("step_ms", Significant.Round(step.Milliseconds));
            json.WriteNumber("tokens_per_second", Significant.Round(step.TokensPerSecond));
            json.WriteNumber("max_context", longest);
            json.WriteNumber("logits_rows", step.Plan.LogitsRows);
            json.WriteStartObject("peak_by_category");
            foreach (var (category, bytes) in MemoryUse.Of(step).AtPeak) json.WriteNumber(JsonNamingPolicy.SnakeCaseLower.ConvertName(category.ToString()), bytes);
            json.WriteEndObject();
            var reasons = step.Reasons.ToDictionary(r => r.Tensor);
            json.WriteStartArray("decisions");
            foreach (var layout in PlanText.Saved(step.Plan))
            {
                json.WriteStartObject();
                json.WriteNumber("layer", layout.Tensor.Layer);
                json.WriteString("tensor", layout.Tensor.Name);
                json.WriteString("action", JsonNamingPolicy.SnakeCaseLower.ConvertName(step.Plan.Decisions[layout.Tensor.Name].ToString()));
                json.WriteNumber("bytes", layout.Bytes);
                if (reasons.TryGetValue(layout.Tensor.Name, out var reason)) json.WriteNumber("ms", Significant.Round(reason.Milliseconds));
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
