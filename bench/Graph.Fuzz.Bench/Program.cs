using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Threading.Tasks;
using Graph.Fuzz;
using Graph.Fuzz.Generation;

// Random models on the CPU against torch. TorchSharp needs a newer C library on some systems:
//   usage: eng/run-with-newer-glibc.sh bench/Graph.Fuzz.Bench/bin/Release/net10.0/Graph.Fuzz.Bench [--count N] [--seed FIRST] [--parallel PROCESSES]
//          [--shrink SECONDS] [--show SEED] [--variety SHARE]
//   usage: … --pack FILE [--count N] [--seed FIRST] [--targets sm_90a,…]: writes N models that the CPU runs rightly into a file for `gpu-tests fuzz FILE --target TARGET`.
// SHARE of rare choices a model may take: 0 gives plain models; left out, every model draws its own.
// Prints each failure with its seed as it is found, the smallest model of each class of failure as C#, and how often every op and feature was drawn. Exit code 1: something failed.
const int PieceSize = 250, BatchSize = 50;
int count = 1000, first = 0, processes = 2, shrink = 60;
double? variety = null;
string? pack = null;
string[] targets = ["sm_90a", "sm_80", "sm_75"];
int? show = null;
var options = new Queue<string>(args);
while (options.TryDequeue(out var option))
    switch (option)
    {
        case "--count": count = Number(); break;
        case "--seed": first = Number(); break;
        case "--parallel": processes = Number(); break;
        case "--shrink": shrink = Number(); break;
        case "--pack": pack = options.Dequeue(); break;
        case "--targets": targets = options.Dequeue().Split(','); break;
        case "--variety": variety = double.Parse(options.Dequeue(), CultureInfo.InvariantCulture); break;
        case "--show": show = Number(); break;
        case "--child": return Child(Number(), Number(), variety);
        default: Console.Error.WriteLine($"fuzz: there is no option {option}; see the first lines of Program.cs"); return 2;
    }
if (pack is not null)
{
    foreach (var note in Pack.Write(pack, count, first, targets, variety)) Console.WriteLine(note);
    Console.WriteLine(FormattableString.Invariant($"{pack}: {count} models, {new System.IO.FileInfo(pack).Length / 1e6:F1} MB"));
    return 0;
}
if (show is { } seedToShow)
{
    var model = RandomModel.Of(seedToShow, variety: variety);
    var verdict = Fuzzer.Check([model])[0];
    Console.WriteLine($"{verdict.Outcome} {verdict.Message}\n{string.Join(", ", model.Features)}\n{PrintModel.Run(model, "Seed" + seedToShow)}");
    using (var batch = new CompiledBatch([Case.Of(model)]))
        foreach (var line in Check.Digits(batch.Models[0])) Console.WriteLine(line);
    if (verdict.IsFailure) Console.WriteLine(Fuzzer.Report(seedToShow, model, verdict, TimeSpan.FromSeconds(shrink)));
    return verdict.IsFailure ? 1 : 0;
}

// Models run in processes of their own: what overwrites foreign memory may end one, and the seed that was begun last is known then.
var clock = Stopwatch.StartNew();
var seen = new ConcurrentDictionary<int, (Outcome Outcome, string Class, string Message)>();
var pieces = new ConcurrentQueue<(int First, int Count)>(Enumerable.Range(0, (count + PieceSize - 1) / PieceSize)
    .Select(p => (first + p * PieceSize, Math.Min(PieceSize, count - p * PieceSize))));
Task.WaitAll([.. Enumerable.Range(0, processes).Select(_ => Task.Run(() =>
{
    while (pieces.TryDequeue(out var piece)) Run(piece.First, piece.Count);
}))]);

foreach (var group in seen.GroupBy(s => s.Value.Outcome).OrderBy(g => g.Key)) Console.WriteLine($"{group.Key}: {group.Count()}");
var failures = seen.Where(s => s.Value.Outcome is not (Outcome.Right or Outcome.Unusable)).ToArray();
Coverage();
foreach (var kind in failures.GroupBy(f => f.Value.Class).OrderByDescending(g => g.Count()))
{
    var seeds = kind.Select(k => k.Key).Order().ToArray();
    Console.WriteLine($"\n== {kind.Count()} of {kind.Key}\nseeds {string.Join(", ", seeds.Take(20))}");
    if (shrink == 0) continue;
    // The smallest of a class, in a process of its own, as it may end it.
    var least = seeds.MinBy(s => RandomModel.Of(s, variety: variety).Steps.Count);
    Start([.. Variety(), "--show", Text(least), "--shrink", Text(shrink)], line =>
    {
        if (line.StartsWith("seed ", StringComparison.Ordinal)) Console.WriteLine();
        Console.WriteLine(line);
    });
}
Console.WriteLine($"{seen.Count} models in {clock.Elapsed.TotalSeconds:F0} s, {failures.Length} failed");
return failures.Length > 0 ? 1 : 0;

int Number() => int.Parse(options.Dequeue(), CultureInfo.InvariantCulture);

string[] Variety() => variety is { } v ? ["--variety", v.ToString(CultureInfo.InvariantCulture)] : [];

static string Text(int value) => value.ToString(CultureInfo.InvariantCulture);

void Run(int from, int number)
{
    var begun = new HashSet<int>();
    Start([.. Variety(), "--child", Text(from), Text(number)], line =>
    {
        var parts = line.Split('\t');
        var seed = int.Parse(parts[1], CultureInfo.InvariantCulture);
        if (parts[0] == "begin")
        {
            lock (begun) begun.Add(seed);
            return;
        }
        lock (begun) begun.Remove(seed);
        seen[seed] = (Enum.Parse<Outcome>(parts[2]), parts[3], parts[4]);
        if (seen[seed].Outcome is not (Outcome.Right or Outcome.Unusable)) Console.WriteLine($"seed {seed}: {parts[2]}: {parts[4]}");
        if (seen.Count % 1000 == 0) Console.WriteLine($"{seen.Count} of {count} after {clock.Elapsed.TotalSeconds:F0} s");
    });
    var missing = Enumerable.Range(from, number).Where(s => !seen.ContainsKey(s)).ToArray();
    if (missing.Length == 0) return;
    // Of those that had begun, one ended the process; each alone shows which. The others go on without them.
    var suspects = missing.Where(begun.Contains).DefaultIfEmpty(missing[0]).ToArray();
    if (number == 1)
    {
        seen[from] = (Outcome.Crash, "Crash: the process ended", "the process ended");
        Console.WriteLine($"seed {from}: the process ended");
        return;
    }
    foreach (var suspect in suspects) Run(suspect, 1);
    foreach (var run in missing.Except(suspects).Order().Aggregate(new List<(int First, int Count)>(), (runs, s) =>
    {
        if (runs.Count > 0 && runs[^1].First + runs[^1].Count == s) runs[^1] = (runs[^1].First, runs[^1].Count + 1);
        else runs.Add((s, 1));
        return runs;
    })) Run(run.First, run.Count);
}

static void Start(string[] arguments, Action<string> line)
{
    var start = new ProcessStartInfo(Environment.ProcessPath!, arguments) { RedirectStandardOutput = true };
    using var process = Process.Start(start)!;
    while (process.StandardOutput.ReadLine() is { } text) line(text);
    process.WaitForExit();
}

static int Child(int from, int number, double? variety)
{
    var gate = new object();
    void Say(string line)
    {
        lock (gate)
        {
            Console.Out.WriteLine(line);
            Console.Out.Flush();
        }
    }
    for (var start = from; start < from + number; start += BatchSize)
    {
        var models = Enumerable.Range(start, Math.Min(BatchSize, from + number - start)).Select(s => RandomModel.Of(s, variety: variety)).ToArray();
        var verdicts = Fuzzer.Check(models, i => Say($"begin\t{start + i}"));
        for (var i = 0; i < models.Length; i++)
            Say($"end\t{start + i}\t{verdicts[i].Outcome}\t{verdicts[i].Class.Replace('\t', ' ')}\t{verdicts[i].Message.Split('\n')[0].Replace('\t', ' ')}");
    }
    return 0;
}

void Coverage()
{
    var drawn = new SortedDictionary<string, (int All, int Failed)>(StringComparer.Ordinal);
    foreach (var (seed, verdict) in seen)
    {
        var model = RandomModel.Of(seed, variety: variety);
        foreach (var name in model.Steps.Select(s => s.Op).Distinct().Concat(model.Features))
        {
            var (all, failed) = drawn.GetValueOrDefault(name);
            drawn[name] = (all + 1, failed + (verdict.Outcome is Outcome.Right or Outcome.Unusable ? 0 : 1));
        }
    }
    Console.WriteLine("models with (and failed of them):");
    foreach (var (name, (all, failed)) in drawn) Console.WriteLine($"  {name,-45} {all,6} {failed,6}");
}
