using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using Graph.Gpu.Tests;
using Graph.Runtime.Devices;

// One row per check: its name, and a function that throws when something is wrong and else says in a line what it saw.
(string Name, Func<string> Run)[] checks =
[
    ("driver", DriverCheck.Run),
    ("nvrtc", NvrtcCheck.Run),
    ("cublaslt", GemmCheck.Run),
    ("graph", GraphCheck.Run),
];

var unknown = args.Except(checks.Select(c => c.Name)).ToArray();
if (unknown.Length > 0)
{
    Console.Error.WriteLine($"gpu-tests: there is no check {string.Join(", ", unknown)}; checks are {string.Join(", ", checks.Select(c => c.Name))}, none named runs all");
    return 2;
}

Console.WriteLine(Facts.Text());
var failed = new List<string>();
foreach (var (name, run) in checks.Where(c => args.Length == 0 || args.Contains(c.Name)))
{
    var clock = Stopwatch.StartNew();
    try
    {
        var seen = run();
        Console.WriteLine($"ok   {name} ({clock.ElapsedMilliseconds} ms): {seen}");
    }
    catch (Exception e)
    {
        failed.Add(name);
        // A check that compares on several threads reports through an AggregateException.
        var cause = e is AggregateException several ? several.GetBaseException() : e;
        Console.WriteLine($"FAIL {name}: {(cause is DeviceException or CheckException ? cause.Message : cause)}");
    }
}
Console.WriteLine(failed.Count == 0 ? "all checks passed" : $"{failed.Count} failed: {string.Join(", ", failed)}");
return failed.Count == 0 ? 0 : 1;
