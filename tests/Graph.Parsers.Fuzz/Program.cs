using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using Graph.Parsers.Fuzz;

var count = new Option<long>("--count") { DefaultValueFactory = _ => 100_000, Description = "inputs" };
var seed = new Option<long>("--seed") { Description = "number of the first input; machines beside each other take ranges of their own" };
var seconds = new Option<double>("--seconds") { DefaultValueFactory = _ => double.PositiveInfinity, Description = "no further input is begun after these" };
var jobs = new Option<int>("--jobs") { DefaultValueFactory = _ => Environment.ProcessorCount, Description = "threads" };
var only = new Option<string?>("--only") { Description = "name of one parser" };
var show = new Option<long?>("--show") { Description = "write input N to a file and parse it" };
var repository = new Option<string>("--repository") { DefaultValueFactory = _ => ".", Description = "the repository, whose fixtures are the valid inputs" };
var command = new RootCommand("Damages valid files at random and gives them to every parser of bytes from outside: "
    + "success or one sentence is right, anything else a finding.") { count, seed, seconds, jobs, only, show, repository };
command.SetAction(result =>
{
    var parsers = AllParsers.Of(result.GetRequiredValue(repository));
    var scratch = Directory.CreateDirectory(Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"parsers-fuzz-{Environment.ProcessId}")).FullName;
    if (result.GetValue(show) is { } number)
    {
        var parser = parsers[(int)(number % parsers.Count)];
        File.WriteAllBytes($"input-{number}", FuzzRun.Input(parsers, number));
        Console.WriteLine($"{parser.Name}: input-{number}");
        parser.Open(scratch)(FuzzRun.Input(parsers, number));
        return 0;
    }
    var begin = Stopwatch.GetTimestamp();
    var run = new FuzzRun(parsers, scratch);
    var (counts, findings) = run.Run(result.GetValue(seed), result.GetValue(count), result.GetValue(jobs),
        result.GetValue(only), TimeSpan.FromSeconds(Math.Min(result.GetValue(seconds), 1e6)), f => Console.WriteLine($"FOUND {f.Parser} --show {f.Number}: {f.What}"));
    var took = Stopwatch.GetElapsedTime(begin).TotalSeconds;
    using var process = Process.GetCurrentProcess();
    foreach (var c in counts)
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{c.Parser,-22} {c.Inputs,10} inputs {100.0 * c.Accepted / c.Inputs,5:F1} % accepted "
                + $"{1e6 * c.Seconds / c.Inputs,7:F0} us, at most {c.MostMilliseconds,6:F0} ms and {c.MostBytes / 1048576.0,6:F1} MiB"));
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"seed {result.GetValue(seed)}: {counts.Sum(c => c.Inputs)} inputs, {findings.Count} findings, "
            + $"{took:F0} s, {counts.Sum(c => c.Inputs) / took:F0} inputs/s, peak {process.PeakWorkingSet64 >> 20} MiB"));
    Directory.Delete(scratch, true);
    return findings.Count > 0 ? 1 : 0;
});
return command.Parse(args).Invoke();
