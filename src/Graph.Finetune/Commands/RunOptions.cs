using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using Graph.Finetune.Data;
using Graph.Finetune.Training;
using Graph.Runtime;
using Graph.Runtime.Devices;

namespace Graph.Finetune.Commands;

/// <summary>Options of every verb that runs a model: which one, its weights, where.</summary>
sealed class SourceOptions(IReadOnlyList<CompiledModel> models, string? model = null)
{
    readonly Option<string?> variant = Models.Variant(models);
    readonly Option<string?> weights = OptionKinds.Checked(new Option<string?>("--model")
    {
        HelpName = "DIR|random:SEED", Required = model is null, DefaultValueFactory = model is null ? null : _ => model,
        Description = "Hugging Face directory (config.json, safetensors, tokenizer.model), or random weights",
    });
    readonly Option<string> device = OptionKinds.Choice("--device", "where it runs; auto takes a GPU when there is one", "auto", "cuda", "cpu");
    readonly Option<string> type = OptionKinds.Choice("--dtype",
        "activations and frozen weights; auto is the device's own: bf16, fp16 before compute capability 8.0, fp32 on the CPU", "auto", "bf16", "fp16", "fp32");

    readonly Option<bool> full = Full();
    readonly Option<long?> vram = Vram();

    public static Option<bool> Full() => OptionKinds.Flag("--full", "all weights are trained, and no adapter: the variant NAME-full");

    /// <summary>The memory budget: of the device's memory, or of a plan.</summary>
    public static Option<long?> Vram() =>
        OptionKinds.Size("--vram", "most memory that the process takes on the device, everything counted: context, code, graphs and workspace too; "
            + "what is free there when left out");

    public void AddTo(Command command)
    {
        foreach (var option in new Option[] { variant, full, weights, device, type, vram }) command.Add(option);
    }

    /// <exception cref="UsageException">The dtype is none of the device's.</exception>
    public (CompiledModel Model, string Weights, DeviceRequest Device) Read(ParseResult result)
    {
        ActType? act = result.GetRequiredValue(type) switch { "bf16" => ActType.Bf16, "fp16" => ActType.F16, "fp32" => ActType.F32, _ => null };
        var request = new DeviceRequest(result.GetRequiredValue(device) switch { "cuda" => DeviceKind.Cuda, "cpu" => DeviceKind.Cpu, _ => DeviceKind.Auto },
            act) { Vram = result.GetValue(vram) };
        if (request is { Kind: DeviceKind.Cpu, Act: not (null or ActType.F32) })
            throw new UsageException($"--dtype is {result.GetValue(type)} but the CPU computes in fp32; leave --dtype out, or use --device cuda.");
        if (request is { Kind: DeviceKind.Cuda, Act: ActType.F32 })
            throw new UsageException("--dtype is fp32 but the GPU kernels store bf16 or fp16; leave --dtype out, or use --device cpu.");
        var name = result.GetValue(variant);
        return (result.GetValue(full) ? Models.Full(models, name) : Models.Find(models, name), result.GetRequiredValue(weights)!, request);
    }
}

/// <summary>Options of how data becomes micro-batches.</summary>
/// <param name="required">--data must be given.</param>
sealed class BatchOptions(bool required = true)
{
    readonly Option<string[]> data = OptionKinds.List("--data", "FILE[:WEIGHT]", "JSON Lines or Parquet; an epoch has each example of a file WEIGHT times (1)");
    readonly Option<string?> tokenizer = OptionKinds.Text("--tokenizer", "DIR", "directory with tokenizer.model, where the model's own has none (random weights)");
    readonly Option<int?> seq = OptionKinds.Integer("--seq", "tokens of the longest document", 2048, 1);
    readonly Option<BatchTokens> tokens = Tokens();
    readonly Option<bool> concat = OptionKinds.Flag("--concat", "join all documents and cut them every --seq tokens");
    readonly Option<string> lossOn = OptionKinds.Choice("--loss-on", "tokens that are learnt: all, or the answers alone (completion, output, the model's turns)", "all",
        "completion");
    readonly Option<string> overLength = OptionKinds.Choice("--over-length",
        "a document of more than --seq tokens is an error, left out, cut after --seq tokens, or split every --seq tokens", "error", "drop", "truncate", "split");
    readonly Option<string> packing = OptionKinds.Choice("--packing", "several documents in a row of a micro-batch, or one and padding", "on", "off");

    public void AddTo(Command command)
    {
        data.Required = required;
        foreach (var option in new Option[] { data, tokenizer, seq, tokens, concat, packing, lossOn, overLength }) command.Add(option);
    }

    /// <param name="more">Files beside those of --data.</param>
    /// <exception cref="UsageException">There is no file, a micro-batch holds no row, or --concat and another option contradict each other.</exception>
    public DataSettings Read(ParseResult result, params IReadOnlyList<string> more)
    {
        string[] files = [.. result.GetValue(data) ?? [], .. more];
        if (files.Length == 0) throw new UsageException("there is no data file; name one.");
        var batch = result.GetRequiredValue(tokens).Count ?? Math.Max(result.GetValue(seq)!.Value, BatchTokens.DefaultStep);
        var row = Row(result, seq, batch);
        var layout = result.GetValue(concat) ? DataLayout.Concat : result.GetValue(packing) == "off" ? DataLayout.OnePerRow : DataLayout.Packed;
        if (layout == DataLayout.Concat && result.GetValue(packing) == "off")
            throw new UsageException("--concat fills every row, so --packing off cannot be; leave one of the two out.");
        var over = Enum.Parse<OverLength>(result.GetRequiredValue(overLength), true);
        if (layout == DataLayout.Concat && over != OverLength.Error)
            throw new UsageException($"--concat cuts all documents, so --over-length {over.ToString().ToLowerInvariant()} has nothing to do; leave one of the two out.");
        return new DataSettings(Sources(files), result.GetValue(tokenizer), row, batch, layout) { LossOn = Enum.Parse<LossOn>(result.GetRequiredValue(lossOn), true),
            OverLength = over };
    }

    /// <summary>--seq. A shorter micro-batch than its default means shorter documents, unless the person said otherwise.</summary>
    /// <exception cref="UsageException">A micro-batch has no room for a document.</exception>
    public static int Row(ParseResult result, Option<int?> seq, int batch)
    {
        var row = result.GetValue(seq)!.Value;
        return row <= batch ? row : !result.Has(seq) ? batch
            : throw new UsageException($"--seq is {row} and --batch-tokens {batch}; a micro-batch must hold at least one sequence.");
    }

    public static Option<BatchTokens> Tokens() =>
        OptionKinds.Tokens("--batch-tokens", "tokens of a micro-batch; auto: those with which a step of --step-tokens is the fastest", BatchTokens.DefaultStep);

    /// <summary>Tokens of a micro-batch as they were asked for.</summary>
    public BatchTokens Asked(ParseResult result) => result.GetRequiredValue(tokens);

    /// <summary>Files with their weights. A file whose name ends like a weight is taken by its name.</summary>
    /// <exception cref="UsageException">A weight is not above 0, or too large.</exception>
    public static IReadOnlyList<DataSource> Sources(IEnumerable<string> values) => [.. values.Select(Source)];

    /// <exception cref="UsageException">A file has a weight, where each example counts once.</exception>
    public static IReadOnlyList<DataSource> Unweighted(string option, IReadOnlyList<DataSource> files) => files.FirstOrDefault(f => f.Weight != 1) is { } weighted
        ? throw new UsageException($"{option} gives '{weighted.Path}' a weight, but a loss is taken on each example once; leave the weight out.") : files;

    static DataSource Source(string value)
    {
        var colon = value.LastIndexOf(':');
        if (colon <= 0 || File.Exists(value) || !double.TryParse(value.AsSpan(colon + 1), NumberStyles.Float, CultureInfo.InvariantCulture, out var weight))
            return new DataSource(value);
        return weight is > 0 and <= 1000 ? new DataSource(value[..colon], weight) : throw new UsageException($"--data is '{value}'; the weight must be above 0 and at most 1000.");
    }
}
