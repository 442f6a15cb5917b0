using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Graph.Finetune.Adapters;
using Graph.Runtime.Cuda;
using Graph.Runtime.Schedules;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>What only a process of its own shows: signals, and an environment without a GPU or NVRTC.</summary>
public partial class ProcessTests
{
    [Theory]
    [InlineData(1), InlineData(2), InlineData(15)]
    public void Train_Signal_FinishesTheStepAndSavesTheAdapter(int signal)
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        using var process = Start([], Train(Goldens.Data(scratch), output, "--seq", "48", "--batch-tokens", "96", "--steps", "1000000"));
        while (process.StandardOutput.ReadLine() is { } line && !line.StartsWith("step 3/", StringComparison.Ordinal))
        {
        }
        Assert.Equal(0, Kill(process.Id, signal));
        var rest = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(60_000), "the process did not end");
        Assert.Equal(128 + signal, process.ExitCode);
        Assert.Contains($"stopped by signal {signal}", rest);
        var metrics = Metrics(output);
        Assert.InRange(metrics.Count, 3, 999_999);
        Assert.Equal(Enumerable.Range(1, metrics.Count), metrics.Select(m => m.GetProperty("step").GetInt32()));
        Assert.Equal(28, PeftAdapter.Load(output, ScheduleText.Parse(GraphModels.All.Single(m => m.Name == "nano").Schedule())).Modules.Count);
    }

    // An evaluation of seconds, or of minutes, is not waited for.
    [Fact]
    public void Train_SignalWhileItEvaluates_BreaksTheEvaluationOff()
    {
        using var scratch = new Scratch();
        string whole = Path.Combine(scratch.Path, "whole"), output = Path.Combine(scratch.Path, "out");
        var evaluation = scratch.File("eval.jsonl", Enumerable.Range(0, 2000).Select(i => $"{{\"input_ids\":[2,{5 + i},6,7,8,9,10,1]}}"));
        string[] options = ["--seq", "48", "--batch-tokens", "96", "--steps", "2", "--packing", "off", "--eval-data", evaluation, "--eval-every", "2"];
        using var process = Start([], Train(Goldens.Data(scratch), output, options));
        while (process.StandardOutput.ReadLine() is { } line && !line.StartsWith("step 1/", StringComparison.Ordinal))
        {
        }
        Assert.Equal(0, Kill(process.Id, 15));
        var rest = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(60_000), "the process did not end");
        Assert.Equal(128 + 15, process.ExitCode);
        Assert.All(Metrics(output), m => Assert.False(m.TryGetProperty("eval_loss", out _), rest));
        Succeed(Train(Goldens.Data(scratch), output, [.. options, "--resume"]));
        Succeed(Train(Goldens.Data(scratch), whole, options));
        Runs.TestRun.AssertSame(whole, output);
    }

    [Fact]
    public void Train_WithoutAGpu_SaysSo()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var (code, error) = Fail(Start([("CUDA_VISIBLE_DEVICES", "")], Train(Goldens.Data(scratch), output, "--device", "cuda")));
        Assert.Equal(5, code);
        Assert.Matches(@"\Aerror: [^\n]+\.\n\z", error);
        Assert.False(Directory.Exists(output));
    }

    [Fact]
    public void Compile_WithoutNvrtc_SaysWhatToDo()
    {
        using var scratch = new Scratch();
        var (code, error) = Fail(Start([("GRAPH_NVRTC", scratch.Path), ("GRAPH_CACHE", scratch.Path)], "compile", "--variant", "nano"));
        Assert.Equal(5, code);
        Assert.Matches(@"\Aerror: NVRTC was not found [^\n]+ GRAPH_NVRTC [^\n]+\.\n\z", error);
    }

    [Fact]
    public void Compile_Embed_AppendsEveryKernelOfTheTarget()
    {
        using var scratch = new Scratch();
        var bytes = new byte[] { 1, 2, 3 };
        var executable = scratch.File("program", bytes);
        var model = GraphModels.All.Single(m => m.Name == "nano");
        // Where eng/install-nvrtc.sh put it, unless the system has its own.
        var installed = Path.Combine(Fixture.Repository(), ".cache", "nvrtc", "lib");
        using var process = Start([("GRAPH_CACHE", "off"), .. Directory.Exists(installed) ? [("GRAPH_NVRTC", installed)] : Array.Empty<(string, string)>()],
            "compile", "--variant", "nano", "--target", "sm_80", "--embed", executable);
        var (text, error) = (process.StandardOutput.ReadToEnd(), process.StandardError.ReadToEnd());
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, error + " (eng/install-nvrtc.sh brings NVRTC)");
        Assert.Contains("sm_80", text);
        Assert.Equal(bytes, File.ReadAllBytes(executable)[..3]);
        var archive = CubinArchive.Open(executable)!;
        Assert.All(model.Kernels("sm_80").Kernels, k => Assert.NotNull(archive.Find(KernelKey.ForArchive(k.Text, "sm_80", Nvrtc.DefaultOptions), "sm_80")));
    }

    static (int Code, string Error) Fail(Process process)
    {
        using (process)
        {
            var error = process.StandardError.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, error);
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int process, int signal);
}
