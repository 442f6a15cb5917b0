using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Tests.Training;
using Graph.Finetune.Training;
using Graph.Runtime.Cpu;
using Graph.Runtime.Planning;
using Graph.Runtime.Execution;
using Xunit;

namespace Graph.Finetune.Tests.Runs;

/// <summary>A run of nano on the CPU as a value, so that a test can run it, end it anywhere and go on.</summary>
/// <param name="Ahead">On a device that runs beside the host.</param>
sealed record TestRun(string Model, TrainSettings Settings, int Rank, double Alpha, bool RsLora, string[] Targets, bool Ahead)
{
    /// <summary>All weights are trained, and no adapter.</summary>
    public bool Full { get; init; }

    /// <summary>What else there is of the adapter.</summary>
    public AdapterShape More { get; init; } = new(0, 0, false, []);

    /// <summary>Thrown where a test ends a run.</summary>
    public sealed class Ended : Exception;

    /// <summary>What a run says, from any thread.</summary>
    public sealed class Lines : TextWriter
    {
        readonly StringBuilder text = new();

        public override Encoding Encoding => Encoding.UTF8;

        public string Text
        {
            get
            {
                lock (text) return text.ToString();
            }
        }

        public override void WriteLine(string? value)
        {
            lock (text) text.Append(value).Append('\n');
        }
    }

    /// <summary>The run in a folder; what it said.</summary>
    /// <param name="step">Called after every step, before it is saved.</param>
    /// <param name="failsAfter">Programs that run before the device fails for good.</param>
    public string Run(string output, RunStart start = RunStart.New, Action<int>? step = null, int failsAfter = int.MaxValue) =>
        Run(output, start, (number, _) => step?.Invoke(number), failsAfter);

    public string Run(string output, RunStart start, Action<int, Lines> step, int failsAfter = int.MaxValue)
    {
        using var source = ModelSource.Open(GraphModels.All.Single(m => m.Name == (Full ? "nano-full" : "nano")), Model);
        var lines = new Lines();
        var terminal = new Terminal(lines, lines, Interactive: false) { AfterStep = report => step(report.Step, lines) };
        var device = new DeviceRequest(DeviceKind.Cpu, null) { Make = () => Ahead || failsAfter < int.MaxValue ? new AheadDevice(new CpuDevice(), failsAfter) : new CpuDevice() };
        try
        {
            Assert.Equal(0, TrainRun.Run(source, device, Full ? AdapterSettings.None(source.Schedule)
                : AdapterSettings.Create(source.Schedule, More with { Rank = Rank, Alpha = Alpha, RsLora = RsLora, Targets = Targets }),
                Settings with { Out = output, Start = start }, terminal, new Phases(terminal)));
        }
        catch (Ended)
        {
        }
        return lines.Text;
    }

    /// <summary>As <see cref="Run"/>, ended by a fault that is no device's after a step: that step is saved.</summary>
    public string RunUntil(string output, RunStart start, int last) => Run(output, start, step =>
    {
        if (step == last) throw new Ended();
    });

    public static TestRun Small(Scratch scratch, int steps, int saveEvery = 2) => new(Fixture.Checkpoint,
        new TrainSettings("", RunStart.New, new DataSettings([Data(scratch, new Random(1), 12, false)], null, 32, 32, DataLayout.Packed), 1, steps, 1,
        LearningRateShape.Linear, 1e-3, 2, new AdamOptions(), "none", 5, saveEvery, 3, 5, null, null, new HostRequest()), 1, 2, false, ["k_proj"], false);

    /// <summary>Settings of any kind.</summary>
    /// <param name="spiked">A checkpoint whose token 4,000 makes a step's gradient infinite.</param>
    public static TestRun Random(Scratch scratch, int seed, string spiked)
    {
        var random = new Random(seed);
        var skips = random.Next(2) == 0;
        var seq = 8 * random.Next(2, 5);
        var layout = (DataLayout)random.Next(3);
        var data = new DataSettings([Data(scratch, random, random.Next(9, 20), skips)], null, seq, seq * random.Next(1, 4), layout);
        // Held in memory, or read in windows of a few lines.
        if (random.Next(2) == 0) data = data with { HeldBytes = layout == DataLayout.Concat ? random.Next(2000, 3000) : random.Next(64, 1500) };
        int? steps = random.Next(3) == 0 ? null : random.Next(6, 14);
        var settings = new TrainSettings("", RunStart.New, data, random.Next(1, 4), steps, random.Next(2, 4), (LearningRateShape)random.Next(3), 3e-3, random.Next(4),
            new AdamOptions(WeightDecay: random.Next(2) * 0.1, Clip: random.Next(2)), new[] { "none", "cheap", "full", "auto" }[random.Next(4)],
            random.Next(100), random.Next(1, 5), random.Next(1, 4), 1000,
            random.Next(2) == 0 ? null : (data, random.Next(1, 4)), new Quantization?[] { null, null, Quantization.Nf4 }[random.Next(3)],
            new HostRequest(StreamWeights: (StreamWeights)random.Next(3)));
        settings = settings with { Moments = (MomentFormat)random.Next(2), Adam = settings.Adam with { Scaling = random.Next(2) == 0 ? null : new LossScaling(1024, 3) } };
        settings = settings with { Patience = settings.Evaluation is not null && random.Next(2) == 0 ? random.Next(1, 4) : null };
        string[][] targets = [[], ["q_proj", "down_proj"], ["up_proj"], ["self_attn.*"], [@"layers\.[13]\..*(q|v)_proj"]];
        settings = settings with { MinimumRate = random.Next(2) * 1e-3, Restarts = random.Next(3), Adam = settings.Adam with { LoraPlus = random.Next(2) == 0 ? 1 : 4 } };
        var run = new TestRun(skips ? spiked : Fixture.Checkpoint, settings, random.Next(1, 9), random.Next(1, 30),
            random.Next(2) == 0, targets[random.Next(5)], random.Next(2) == 0);
        return run with
        {
            More = run.More with
            {
                Dropout = random.Next(2) * 0.3, Layers = random.Next(2) == 0 ? null : [1, 3], Ranks = random.Next(2) == 0 ? [] : [("layers.1.*", random.Next(1, 40))],
                Alphas = random.Next(2) == 0 ? [] : [("*", random.Next(1, 9))],
            },
        };
    }

    /// <summary>The fixture with a value that embedding makes infinite, so that a micro-batch with its token has no finite gradient and any other has.</summary>
    public static string Spiked(Scratch scratch)
    {
        var model = Directory.CreateDirectory(Path.Combine(scratch.Path, "spiked")).FullName;
        foreach (var file in Directory.GetFiles(Fixture.Checkpoint)) File.Copy(file, Path.Combine(model, Path.GetFileName(file)));
        var path = Path.Combine(model, "model.safetensors");
        long at;
        using (var file = Graph.Finetune.Checkpoints.SafetensorsFile.Open(path))
        {
            var table = file.Tensors["model.embed_tokens.weight"];
            at = new FileInfo(path).Length - file.Tensors.Values.Max(t => t.Offset + t.Length) + table.Offset + 4000 * table.Length / table.Shape[0];
        }
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Write) { Position = at };
        stream.Write(BitConverter.GetBytes(3e38f));
        return model;
    }

    static string Data(Scratch scratch, Random random, int lines, bool skips) => scratch.File($"{random.Next()}.jsonl", Enumerable.Range(0, lines).Select(i =>
    {
        var ids = Enumerable.Range(0, random.Next(3, 16)).Select(_ => random.Next(3900)).ToArray();
        if (skips && i % 7 == 3) ids[^1] = 4000;
        var prompt = random.Next(ids.Length);
        return $"{{\"input_ids\":[{string.Join(',', ids)}],\"labels\":[{string.Join(',', ids.Select((id, t) => t < prompt || id == 4000 ? -100 : id))}]}}";
    }));

    /// <summary>Every byte that two folders of the same run hold at its end, but times: adapter, metrics, newest checkpoint.</summary>
    public static void AssertSame(string expected, string actual)
    {
        string[] files = [.. Directory.GetFiles(expected).Select(f => Path.GetFileName(f))
            .Where(f => f == "config.json" || f.StartsWith("adapter_", StringComparison.Ordinal) || f.StartsWith("model", StringComparison.Ordinal)).Order()];
        Assert.Contains(files, f => f.EndsWith(".safetensors", StringComparison.Ordinal));
        foreach (var name in files) Assert.Equal(File.ReadAllBytes(Path.Combine(expected, name)), File.ReadAllBytes(Path.Combine(actual, name)));
        Assert.Equal(Timeless(expected), Timeless(actual));
        string one = Path.Combine(expected, "checkpoints"), other = Path.Combine(actual, "checkpoints");
        var last = RunCheckpoint.Steps(one)[0];
        Assert.Equal(last, RunCheckpoint.Steps(other)[0]);
        var saved = Directory.GetFiles(RunCheckpoint.FolderOf(one, last));
        Assert.Equal(saved.Select(Path.GetFileName).Order(), Directory.GetFiles(RunCheckpoint.FolderOf(other, last)).Select(Path.GetFileName).Order());
        foreach (var file in saved) Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(RunCheckpoint.FolderOf(other, last), Path.GetFileName(file))));
        Assert.Null(RunCheckpoint.Fault(RunCheckpoint.FolderOf(other, last)));
        Assert.Equal(Best(expected), Best(actual));
    }

    /// <summary>Where the link to the best checkpoint points; null: there is none.</summary>
    public static string? Best(string output) => new DirectoryInfo(Path.Combine(output, "best")).LinkTarget;

    static string[] Timeless(string output) => [.. File.ReadAllLines(Path.Combine(output, MetricsFile.Name)).Select(line =>
        string.Join(' ', JsonDocument.Parse(line).RootElement.EnumerateObject()
            .Where(p => p.Name is not ("tokens_per_second" or "step_ms")).Select(p => $"{p.Name}={p.Value.GetRawText()}")))];

    /// <summary>What a process that dies now leaves.</summary>
    public static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var folder in new DirectoryInfo(from).GetDirectories())
        {
            // The link to the best checkpoint stays a link.
            if (folder.LinkTarget is { } target) Directory.CreateSymbolicLink(Path.Combine(to, folder.Name), target);
            else Copy(folder.FullName, Path.Combine(to, folder.Name));
        }
        foreach (var file in Directory.GetFiles(from).Where(f => Path.GetFileName(f) != ".lock"))
        {
            using FileStream source = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite), target = new(Path.Combine(to, Path.GetFileName(file)), FileMode.Create);
            source.CopyTo(target);
        }
    }
}

/// <summary>A writer that fails from the line on that begins with a text.</summary>
sealed class FailingWriter(string from, Func<Exception> fault) : TextWriter
{
    bool failing;

    public override Encoding Encoding => Encoding.UTF8;

    public override void WriteLine(string? value)
    {
        failing |= value?.StartsWith(from, StringComparison.Ordinal) == true;
        if (failing) throw fault();
    }
}
