using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using Graph.Gpu.Tests;
using Graph.Runtime.Devices;

// usage: gpu-tests [CHECK...] [--out FOLDER] [--fixture FOLDER] [--parallel N] [--time] [--known FILE]        checks: see below; none named runs all
//        gpu-tests --merge FOLDER FILE...                                                       verified.json of several runs, on one machine or many, as one in FOLDER;
//                                                                                               needs no GPU
//        gpu-tests --host [VARIANT...]                                                          the kernels' cases and the error rule on the CPU alone: a check of the checks
//        gpu-tests fuzz PACK --target TARGET                                                    a step of every random model of a pack, which bench/Graph.Fuzz.Bench --pack writes
//        gpu-tests --host step --fixture FOLDER                                                 the same for whole training steps
// Without --time the kernels get no times. --out receives verified.json: every kernel that ran and was right; those in --known, an older verified.json, are not run again.

// One row per check that is a process of its own: its name, and a function that throws when something is wrong and else says in a line what it saw.
(string Name, Func<string> Run)[] checks =
[
    ("driver", DriverCheck.Run),
    ("nvrtc", NvrtcCheck.Run),
    ("ptxas", PtxasCheck.Run),
    ("cublaslt", GemmCheck.Run),
    ("tiles", TokenTileCheck.Run),
    ("graph", GraphCheck.Run),
    ("transfers", TransferCheck.Run),
    ("step", StepCheck.Check),
];

try
{
    if (args is ["--child", "kernels", var list]) return KernelChecks.Run(Jobs(list));
    if (args is ["--child", "time", var timed]) return KernelTimes.Run(Jobs(timed));
    if (args is ["--host", "step", "--fixture", var reference])
    {
        Environment.SetEnvironmentVariable("GPU_TESTS_FIXTURE", reference);
        return StepCheck.OnHost();
    }
    if (args is ["--merge", var into, .. var files]) return VerifiedFile.Merge(into, files);
    if (args is ["--host", .. var variants]) return HostCheck.Run(variants);
    if (args is ["fuzz", var pack, "--target", var target]) return FuzzCheck.Run(pack, target);
    if (args is ["--child", "fuzz", var packed, var aimed, "compile"]) return FuzzCheck.Compile(packed, aimed);
    if (args is ["--child", "fuzz", var ofPack, var onTarget, var from]) return FuzzCheck.From(ofPack, onTarget, int.Parse(from, CultureInfo.InvariantCulture));
    if (args is ["--child", var child]) return One(checks.Single(c => c.Name == child));
}
catch (Exception e)
{
    Console.Error.WriteLine($"gpu-tests: {(e is DeviceException or CheckException ? e.Message : e)}");
    return 5;
}

var options = new Queue<string>(args);
var named = new List<string>();
string? output = null, older = null;
var (parallel, time) = (3, false);
while (options.TryDequeue(out var option))
    switch (option)
    {
        case "--out" when options.TryDequeue(out var folder): output = folder; break;
        case "--fixture" when options.TryDequeue(out var fixture): Environment.SetEnvironmentVariable("GPU_TESTS_FIXTURE", Path.GetFullPath(fixture)); break;
        case "--parallel" when options.TryDequeue(out var count): parallel = int.Parse(count, CultureInfo.InvariantCulture); break;
        case "--known" when options.TryDequeue(out var file): older = file; break;
        case "--time": time = true; break;
        default: named.Add(option); break;
    }
var names = checks.Select(c => c.Name).Append("kernels").ToArray();
if (named.Except(names).ToArray() is { Length: > 0 } unknown)
{
    Console.Error.WriteLine($"gpu-tests: there is no check {string.Join(", ", unknown)}; checks are {string.Join(", ", names)}, none named runs all");
    return 2;
}

// Child processes share compiled kernels, also those that the driver compiles from PTX.
var scratch = Directory.CreateTempSubdirectory("gpu-tests-").FullName;
foreach (var (name, value) in new[] { ("GRAPH_CACHE", Path.Combine(scratch, "cache")), ("CUDA_CACHE_PATH", Path.Combine(scratch, "ptx")),
    ("CUDA_CACHE_MAXSIZE", "2147483648") }) Environment.SetEnvironmentVariable(name, value);
var started = Stopwatch.StartNew();
var facts = Facts.Text();
Lines.Write(facts);
if (Facts.Gpu() == "no GPU")
{
    Lines.Write("FAIL there is no GPU here");
    return 5;
}
var failed = new List<string>();
foreach (var (name, _) in checks.Where(c => named.Count == 0 || named.Contains(c.Name)))
{
    var seen = false;
    var end = Child.Run(["--child", name], 240, line =>
    {
        seen |= line.StartsWith("ok ", StringComparison.Ordinal);
        Lines.Write(line);
    });
    if (end.ExitCode == 0 && seen) continue;
    failed.Add($"{name}: {(end.Hung ? "printed nothing for 240 s" : $"ended with code {end.ExitCode}")} {end.LastError}");
}
if (named.Count == 0 || named.Contains("kernels"))
{
    // The emitted GEMMs are what is checked here.
    Environment.SetEnvironmentVariable("GRAPH_GEMM", "generated");
    var jobs = KernelJob.All();
    Lines.Write($"{jobs.Count} distinct kernels ({string.Join(", ", jobs.GroupBy(j => j.Target).Select(g => $"{g.Key} {g.Count()}"))}) after {started.Elapsed.TotalSeconds:F0} s");
    var known = older is null ? [] : VerifiedFile.ReadEmitted([older], jobs);
    var already = known.ToDictionary(l => (l.Name, l.Fingerprint));
    var left = jobs.Where(j => !already.ContainsKey((j.Name, j.Fingerprint))).ToArray();
    // Written after every kernel: a run that is cut off keeps what it knew.
    var date = DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
    void Keep(IReadOnlyList<VerifiedKernel> right)
    {
        if (output is not null) VerifiedFile.Write(Path.Combine(output, "verified.json"), known, right, Facts.Gpu(), date);
    }
    Keep([]);
    var (passed, wrong) = KernelRun.Check(left, parallel, Keep);
    failed.AddRange(wrong);
    Lines.Write($"{passed.Count} of {left.Length} kernels passed after {started.Elapsed.TotalSeconds:F0} s"
        + $"{(jobs.Count > left.Length ? $"; {jobs.Count - left.Length} are known by their fingerprints" : "")}");
    if (time)
    {
        // Also those that ran before and have no time.
        VerifiedKernel[] untimed = [.. passed.Concat(jobs.Where(j => KernelTimes.Takes(j) && already.TryGetValue((j.Name, j.Fingerprint), out var line) && !line.Timed)
            .Select(j => already[(j.Name, j.Fingerprint)] is var line ? new VerifiedKernel(j, line.Error, line.OfAllowed) : null!))];
        KernelRun.Time(untimed);
        Keep(untimed);
    }
}
Directory.Delete(scratch, recursive: true);
Lines.Write($"==== {started.Elapsed.TotalSeconds:F0} s");
foreach (var sentence in failed.Take(50)) Lines.Write("FAIL " + (sentence.Length > 220 ? sentence[..220] + " …" : sentence));
Lines.Write(failed.Count == 0 ? "all checks passed" : $"{failed.Count} failed");
return failed.Count == 0 ? 0 : 1;

static IReadOnlyList<KernelJob> Jobs(string list)
{
    var all = KernelJob.All();
    return [.. list.Split(',').Select(i => all[int.Parse(i, CultureInfo.InvariantCulture)])];
}

static int One((string Name, Func<string> Run) check)
{
    var clock = Stopwatch.StartNew();
    try
    {
        var seen = check.Run();
        Lines.Write($"ok   {check.Name} ({clock.ElapsedMilliseconds} ms): {seen}");
        return 0;
    }
    catch (Exception e)
    {
        // A check that compares on several threads reports through an AggregateException.
        var cause = e is AggregateException several ? several.GetBaseException() : e;
        Lines.Write($"FAIL {check.Name}: {(cause is DeviceException or CheckException ? cause.Message : cause)}");
        return 1;
    }
}
