using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Data;
using Graph.Finetune.Tokenization;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>What a run would see of its data: needs a tokenizer, and no model and no device.</summary>
static class DataCommand
{
    /// <summary>Broken lines that are said one by one.</summary>
    const int ShownFaults = 1000;

    /// <summary>Blocks that are read beside each other.</summary>
    const int Together = 16;

    public static Command Create(Terminal terminal)
    {
        var batch = new BatchOptions(required: false);
        var files = new Argument<string[]>("FILE[:WEIGHT]") { Arity = ArgumentArity.ZeroOrMore, Description = "data files, in place of --data" };
        var model = OptionKinds.Text("--model", "DIR", "directory with tokenizer.model, or that file");
        var json = OptionKinds.Flag("--json", "one line a document, in the files' order: {\"line\":N,\"ids\":[…],\"labels\":[…]}");
        var show = OptionKinds.Integer("--show", "documents that are shown with their tokens, those that are learnt apart from the others", 3, 0);
        var inspect = new Command("inspect", "Counts, lengths, packing and broken lines of data, and its tokens as a run sees them.") { files, model };
        batch.AddTo(inspect);
        inspect.Add(json);
        inspect.Add(show);
        inspect.SetAction(result =>
        {
            if (result.GetValue(json) && result.Has(show)) throw new UsageException("--show shows documents to people, and --json prints all of them; leave one out.");
            var settings = batch.Read(result, result.GetValue(files) ?? []);
            var path = settings.Tokenizer ?? result.GetValue(model);
            var tokenizer = path is null ? null : SentencePieceTokenizer.Find(path);
            if (path is not null && ChatTemplate.Note(path) is { } note) terminal.Error.WriteLine("note: " + note);
            Run(settings, tokenizer, result.GetValue(json), result.GetValue(show)!.Value, terminal);
        });
        return new Command("data", "Looks at data.") { inspect };
    }

    static void Run(DataSettings settings, SentencePieceTokenizer? tokenizer, bool json, int show, Terminal terminal)
    {
        using var set = new DataSet([.. settings.Files.Select(f => f.Path)], tokenizer,
            new DataOptions(settings.Layout == DataLayout.Concat ? null : settings.Seq, [], settings.LossOn, settings.OverLength), hold: false);
        var colours = terminal.Interactive && Environment.GetEnvironmentVariable("NO_COLOR") is not { Length: > 0 };
        var (faulty, lengths, waiting, waitingBytes, batches) = (0L, new List<int>(), new List<int>(), 0L, 0L);
        var shown = new List<string>();
        foreach (var blocks in Enumerable.Range(0, settings.Files.Count).SelectMany(f => Enumerable.Range(0, set.BlocksOf(f)).Select(b => new BlockAt(f, b))).Chunk(Together))
        {
            foreach (var (at, block) in blocks.Zip(set.ReadWithFaults(blocks)))
            {
                foreach (var fault in block.Faults)
                {
                    if (faulty++ < ShownFaults) terminal.Error.WriteLine(Terminal.Plain(set.Sentence(at, fault)));
                }
                foreach (var example in block.Examples)
                {
                    if (json) terminal.Out.Write(Line(settings, set, at, example));
                    else if (shown.Count < show)
                        shown.Add($"{settings.Files[at.File].Path}, line {set.LineOf(at, example.Line)}, {example.Ids.Length} tokens\n"
                            + InspectText.Of(example, tokenizer, colours));
                    lengths.Add(example.Ids.Length);
                    waiting.Add(example.Ids.Length);
                }
                waitingBytes += set.BytesOf(at);
                // As in a run: what is larger than memory should hold is packed window by window.
                if (set.Bytes <= settings.HeldBytes || waitingBytes < settings.HeldBytes / 4) continue;
                batches += Batches(settings, waiting);
                waiting.Clear();
                waitingBytes = 0;
            }
        }
        batches += Batches(settings, waiting);
        if (!json) Print(settings, set.Counts, new DataStatistics([.. lengths.Order()], batches, settings.BatchTokens, lengths.Sum(l => (long)l)), shown, colours, terminal.Out);
        if (faulty > 0)
            throw new InputException($"{faulty} of {set.Counts.Lines + faulty} lines cannot be used{(faulty > ShownFaults ? $"; the first {ShownFaults} are said above" : "")}.");
        if (set.Counts.Lines == 0) throw new InputException($"{string.Join(", ", settings.Files.Select(f => f.Path))}: there is no example; every line must be a JSON object.");
    }

    static long Batches(DataSettings settings, IReadOnlyList<int> lengths)
    {
        var perBatch = settings.BatchTokens / settings.Seq;
        return settings.Layout switch
        {
            DataLayout.Concat => (lengths.Sum(l => (long)l) / settings.Seq + perBatch - 1) / perBatch,
            DataLayout.OnePerRow => (lengths.Count + perBatch - 1) / perBatch,
            _ => FirstFit.Decreasing(lengths, settings.BatchTokens).Count,
        };
    }

    static void Print(DataSettings settings, DataCounts counts, DataStatistics statistics, IReadOnlyList<string> shown, bool colours, TextWriter output)
    {
        foreach (var file in settings.Files.Where(f => f.Weight != 1)) Line($"{file.Path} is seen {file.Weight} times an epoch; the numbers are of once");
        var learnt = 100.0 * counts.Labels / Math.Max(1, counts.Tokens);
        Line($"{counts.Lines} lines, {counts.Examples} documents, {counts.Tokens} tokens, {counts.Labels} of them learnt ({learnt:F1} %)");
        foreach (var sentence in counts.Sentences(settings.Seq, settings.OverLength, null)) output.WriteLine(sentence);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"tokens of a document: mean {statistics.Mean:F1}, shortest {statistics.Percentile(0)}, half {statistics.Percentile(0.5)}, "
            + $"9 of 10 {statistics.Percentile(0.9)}, 99 of 100 {statistics.Percentile(0.99)}, longest {statistics.Percentile(1)} or less"));
        var most = statistics.Histogram().Select(h => h.Count).DefaultIfEmpty().Max();
        foreach (var (from, to, count) in statistics.Histogram()) Line($"{from,8} to {to,-8} {count,10}  {new string('#', (int)Math.Ceiling(50.0 * count / Math.Max(1, most)))}");
        var layout = settings.Layout switch { DataLayout.Concat => "joined and cut", DataLayout.OnePerRow => "one in a row", _ => "packed" };
        Line($"{layout}: {statistics.MicroBatches} micro-batches of {settings.BatchTokens} tokens, {100 * statistics.Efficiency:F1} % of them documents'");
        if (shown.Count == 0) return;
        output.WriteLine();
        output.WriteLine(colours ? $"tokens that are {InspectText.Learnt}learnt{InspectText.Plain}, and those that are {InspectText.Masked}not{InspectText.Plain}:"
            : "tokens that are learnt stand in «»:");
        foreach (var document in shown) output.WriteLine(document);

        void Line(FormattableString text) => output.WriteLine(text.ToString(CultureInfo.InvariantCulture));
    }

    static StringBuilder Line(DataSettings settings, DataSet set, BlockAt at, Example example)
    {
        var line = new StringBuilder();
        line.Append(CultureInfo.InvariantCulture, $"{{\"line\":{set.LineOf(at, example.Line)},");
        if (settings.Files.Count > 1) line.Append(CultureInfo.InvariantCulture, $"\"file\":\"{System.Text.Json.JsonEncodedText.Encode(settings.Files[at.File].Path)}\",");
        line.Append("\"ids\":[").AppendJoin(',', example.Ids).Append("],\"labels\":[").AppendJoin(',', example.Labels);
        return line.Append("]}\n");
    }
}
