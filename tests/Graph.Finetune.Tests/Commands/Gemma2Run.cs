using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Graph.Finetune.Checkpoints;
using Graph.Finetune.Commands;
using Graph.Runtime.Execution;

namespace Graph.Finetune.Tests.Commands;

/// <summary>The executable gemma2 as a test calls it: in this process, or as a process of its own where signals or the environment matter.</summary>
static class Gemma2Run
{
    public sealed record Result(int Code, string Out, string Error);

    public static Result Run(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var code = CommandLine.Run(args, GraphModels.All, new Terminal(output, error, Interactive: false));
        return new Result(code, output.ToString(), error.ToString());
    }

    /// <summary>As <see cref="Run"/>; a code other than 0 fails the test with what the run said.</summary>
    public static string Succeed(params string[] args)
    {
        var result = Run(args);
        return result.Code == 0 ? result.Out : throw new InvalidOperationException($"{string.Join(' ', args)} ended with code {result.Code}: {result.Error}{result.Out}");
    }

    public static Process Start(IEnumerable<(string Name, string Value)> environment, params string[] args)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "gemma2.dll"), .. args]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>train on the CPU with the fixture's checkpoint; an option in <paramref name="more"/> takes the place of an earlier one.</summary>
    public static string[] Train(string data, string output, params string[] more)
    {
        List<string> args = ["--variant", "nano", "--model", Fixture.Checkpoint, "--device", "cpu", "--data", data, "--out", output];
        for (var i = 0; i < more.Length; i++)
        {
            if (more[i].StartsWith("--", StringComparison.Ordinal) && args.IndexOf(more[i]) is >= 0 and var at) args.RemoveRange(at, 2);
            args.Add(more[i]);
        }
        return ["train", .. args];
    }

    public static IReadOnlyList<JsonElement> Metrics(string output) =>
        [.. File.ReadAllLines(Path.Combine(output, "metrics.jsonl")).Select(line => JsonDocument.Parse(line).RootElement)];

    public static double[] Losses(string output) => [.. Metrics(output).Select(m => m.GetProperty("loss").GetDouble())];

    public static string Adapter(string output) => Path.Combine(output, "adapter_model.safetensors");
}

/// <summary>goldens.json and goldens.safetensors: what transformers and PEFT computed in fp32.</summary>
static class Goldens
{
    public static JsonElement Numbers { get; } = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Fixture.Reference, "goldens.json"))).RootElement;
    public static string AdapterInit { get; } = Path.Combine(Fixture.Reference, "adapter_init");
    public static string AdapterFinal { get; } = Path.Combine(Fixture.Reference, "adapter_final");
    public static string Tensors { get; } = Path.Combine(Fixture.Reference, "goldens.safetensors");

    /// <summary>The batch of the goldens as two lines of data.</summary>
    public static string Data(Scratch scratch)
    {
        var (ids, labels) = (Read(Tensors, "input_ids"), Read(Tensors, "labels"));
        return scratch.File("goldens.jsonl", Enumerable.Range(0, 2).Select(row => $"{{\"input_ids\":[{Row(ids, row)}],\"labels\":[{Row(labels, row)}]}}"));

        static string Row(float[] values, int row) => string.Join(',', values.Skip(48 * row).Take(48));
    }

    /// <summary>A tensor as fp32.</summary>
    public static float[] Read(string path, string name)
    {
        using var file = SafetensorsFile.Open(path);
        var entry = file.Tensors[name];
        var bytes = file.Bytes(entry, 0, (int)entry.Length);
        return entry.DType == "I32" ? [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, int>(bytes).ToArray().Select(i => (float)i)]
            : entry.DType == "F32" ? System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(bytes).ToArray()
            : throw new InvalidOperationException($"{name} is {entry.DType}");
    }

    public static IReadOnlyList<string> Names(string path)
    {
        using var file = SafetensorsFile.Open(path);
        return [.. file.Tensors.Keys.Order(StringComparer.Ordinal)];
    }

    /// <summary>|a − b| / |b|.</summary>
    public static double Distance(IReadOnlyList<float> a, IReadOnlyList<float> b) =>
        a.Count == b.Count ? Math.Sqrt(a.Zip(b, (x, y) => ((double)x - y) * ((double)x - y)).Sum() / Math.Max(1e-60, b.Sum(y => (double)y * y))) : double.PositiveInfinity;
}
