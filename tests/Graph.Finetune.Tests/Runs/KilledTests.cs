using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using Graph.Finetune.Adapters;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Commands;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Runs;

/// <summary>Processes that are killed, and disks that are full.</summary>
public partial class KilledTests
{
    const int SigKill = 9;

    static readonly (string, string)[] Small = [("DOTNET_TieredPGO", "0"), ("DOTNET_GCHeapHardLimit", "0x20000000")];

    static string[] Run(Scratch scratch, string output, params string[] more) =>
        Train(scratch.File("d.jsonl", Enumerable.Range(0, 9).Select(i => $"{{\"input_ids\":[2,5,6,{7 + i},8,9,10,{i % 3 + 1}]}}")),
            output, ["--batch-tokens", "16", "--seq", "8", "--rank", "1", "--schedule", "cosine", "--seed", "3", .. more]);

    // One run of 24 lives: each is killed at a random moment, most of them while it saves, for it saves every step.
    // What is left always goes on, to the bytes of a run that was never killed.
    [Fact]
    public void Train_KilledAgainAndAgain_GoesOnToTheSameBytes()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        string[] steps = ["--steps", "60", "--save-every", "1", "--keep", "2"];
        Succeed(Run(scratch, whole, steps));
        var seed = Environment.TickCount;
        TestContext.Current.SendDiagnosticMessage($"seed {seed}");
        var random = new Random(seed);
        for (var life = 0; life < 24; life++)
        {
            using var process = Start(Small, Run(scratch, output, [.. steps, "--resume"]));
            // From the first step on, a moment that does not depend on how fast the machine is.
            var lines = random.Next(0, 6);
            while (process.StandardOutput.ReadLine() is { } line && !(line.StartsWith("step ", StringComparison.Ordinal) && lines-- == 0))
            {
            }
            Thread.SpinWait(random.Next(1, 2_000_000));
            if (!process.HasExited) Kill(process.Id, SigKill);
            process.WaitForExit();
            if (Directory.Exists(output) && Directory.GetFiles(output).Any(f => f.EndsWith(PeftAdapter.ConfigName, StringComparison.Ordinal)))
                PeftAdapter.Load(output, ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule()));
        }
        var result = Gemma2Run.Run(Run(scratch, output, [.. steps, "--resume"]));
        Assert.True(result.Code == 0, $"seed {seed}: {result.Error}");
        Assert.DoesNotContain("passed over", result.Error);
        TestRun.AssertSame(whole, output);
        Assert.DoesNotContain(Directory.GetFileSystemEntries(output, "*", SearchOption.AllDirectories),
            f => f.Contains(".partial", StringComparison.Ordinal) || f.EndsWith(".old", StringComparison.Ordinal) || f.EndsWith(".next", StringComparison.Ordinal));
    }

    // A limit on the size of files stands for the full disk: a write beyond it fails after it wrote a part. No save fits in it, and not all lines of metrics do.
    [Fact]
    public void Train_DiskFull_KeepsTheLastSaveAndGoesOn()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        string[] steps = ["--steps", "20", "--save-every", "5"];
        Succeed(Run(scratch, whole, steps));
        CommandLine.Run(Run(scratch, output, steps), GraphModels.All,
            new Terminal(TextWriter.Null, TextWriter.Null, false) { AfterStep = report => { if (report.Step == 7) throw new TestRun.Ended(); } });
        var last = RunCheckpoint.FolderOf(Path.Combine(output, "checkpoints"), 7);

        // .NET maps its code through a file of 2 GB unless it is told otherwise.
        string[] limited = ["-c", "ulimit -f 2; exec dotnet \"$@\"", "bash", Path.Combine(AppContext.BaseDirectory, "gemma2.dll"), .. Run(scratch, output, [.. steps, "--resume"])];
        var start = new ProcessStartInfo("bash", limited) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in Small.Append(("DOTNET_EnableWriteXorExecute", "0")).Append(("DOTNET_EnableDiagnostics", "0"))) start.Environment[name] = value;
        using (var process = Process.Start(start)!)
        {
            var text = process.StandardOutput.ReadToEnd();
            var error = process.StandardError.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 3, error + text);
            Assert.Contains("step 20/20", text);
            Assert.Contains("warning: step 10 has no checkpoint: ", error);
            Assert.Contains("the last one is of step 7\n", error);
            Assert.Single(error.Split('\n'), line => line.Contains("metrics.jsonl cannot be written", StringComparison.Ordinal));
            Assert.Contains($"the last good save is {last}", error.TrimEnd().Split('\n')[^1]);
        }
        Assert.Null(RunCheckpoint.Fault(last));
        Assert.Equal(File.ReadAllBytes(Path.Combine(last, "adapter_model.safetensors")), File.ReadAllBytes(Adapter(output)));
        Assert.EndsWith("}\n", File.ReadAllText(Path.Combine(output, "metrics.jsonl")));
        Assert.True(Metrics(output).Count < 20);
        Succeed(Run(scratch, output, [.. steps, "--resume"]));
        TestRun.AssertSame(whole, output);
    }

    [Fact]
    public void Train_NoRoomForAWhile_LosesNothing()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var run = TestRun.Small(scratch, 9);
        run.Run(whole);
        string[] places = [Path.Combine(output, "adapter.next.partial"), Path.Combine(output, "checkpoints", "step-4.partial"),
            Path.Combine(output, "checkpoints", "step-6.partial")];
        var said = run.Run(output, RunStart.New, (step, lines) =>
        {
            // Saves are written beside the steps: the one before has ended when the next thing is done to the folder.
            if (step == 4) SpinWait.SpinUntil(() => File.Exists(Path.Combine(output, "adapter_config.json")) && !Directory.Exists(Path.Combine(output, "adapter.next")));
            // A file where a folder is to be made.
            if (step == 4) foreach (var place in places) File.WriteAllText(place, "");
            if (step == 7) SpinWait.SpinUntil(() => lines.Text.Split("the one there is of step 2\n").Length == 3);
            if (step == 7) foreach (var place in places) File.Delete(place);
        });
        Assert.Contains("warning: step 4 has no checkpoint: ", said);
        Assert.Contains("warning: step 6 has no checkpoint: ", said);
        Assert.Equal([9, 8, 2], RunCheckpoint.Steps(Path.Combine(output, "checkpoints")));
        TestRun.AssertSame(whole, output);
    }

    [LibraryImport("libc", EntryPoint = "kill")] private static partial int Kill(int process, int signal);
}
