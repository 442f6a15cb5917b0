using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Data;
using Graph.Finetune.Reports;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;
using Graph.Runtime.Schedules;

namespace Graph.Parsers.Fuzz;

/// <summary>What runs write and read again.</summary>
static class RunParsers
{
    public static IEnumerable<Parser> Of(string fixtures)
    {
        var schedule = ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule());
        var checkpoint = Path.Combine(fixtures, "run", "checkpoints", "step-2");
        var whole = Directory.GetFiles(checkpoint).Order(StringComparer.Ordinal).Select(f => (Name: Path.GetFileName(f), Content: File.ReadAllBytes(f))).ToArray();
        byte[] metrics = AllParsers.File(fixtures, "run", "metrics.jsonl"), facts = AllParsers.File(fixtures, "run", "run-facts.json");
        return
        [
            new Parser("checkpoint", [.. whole.Select(w => w.Content)], folder =>
            {
                folder = Directory.CreateDirectory(Path.Combine(folder, "step-1")).FullName;
                foreach (var (name, content) in whole) File.WriteAllBytes(Path.Combine(folder, name), content);
                var turn = 0;
                return bytes =>
                {
                    // Whichever of its files these bytes stand in for, the manifest tells.
                    var (name, content) = whole[turn++ % whole.Length];
                    File.WriteAllBytes(Path.Combine(folder, name), bytes);
                    var fault = RunCheckpoint.Fault(folder);
                    File.WriteAllBytes(Path.Combine(folder, name), content);
                    if (fault is null != bytes.AsSpan().SequenceEqual(content))
                        throw new UnnoticedException($"{name} is {(fault is null ? "another and nothing is said" : fault)}");
                    if (fault is not null) throw new Graph.Finetune.InputException(fault);
                };
            }),
            .. new[] { "run.json", "optimizer.safetensors" }
                .Select(name => Parser.OfFile(name, [whole.Single(w => w.Name == name).Content], name, folder => () => RunCheckpoint.Read(folder, schedule),
                    [.. whole.Where(w => w.Name != name)])),
            Parser.OfFile("metrics.jsonl", [metrics], MetricsFile.Name, folder => () =>
            {
                try
                {
                    Page(folder);
                }
                finally
                {
                    // A run that goes on keeps whole lines up to its step, whatever lies there.
                    using (var file = new MetricsFile(folder, 2, _ => { })) file.Write(new StepReport(3, 1, 2, 3, 4, 5, 6, 7, 8, false));
                    var lines = File.ReadAllLines(Path.Combine(folder, MetricsFile.Name));
                    if (!lines[^1].StartsWith("{\"step\":3,", StringComparison.Ordinal)) throw new UnnoticedException("a step's line is not a line of its own");
                }
            }),
            Parser.OfFile("run-facts.json", [facts], RunFacts.Name, folder => () => Page(folder), (MetricsFile.Name, metrics)),
        ];
    }

    static void Page(string folder)
    {
        var page = RunReport.Page([RunReport.Read(folder)]);
        if (!page.Contains("</html>", StringComparison.Ordinal)) throw new UnnoticedException("the page is cut");
    }
}
