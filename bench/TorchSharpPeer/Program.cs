using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using Graph.Bench.TorchSharpPeer;
using TorchSharp;
using static TorchSharp.torch;

// usage: torchsharp-peer [--variant 9b] [--batch 4] [--seq 2048] [--steps 6] [--no-checkpointing] [--cpu]
// bf16 on a GPU, fp32 on the CPU. One line of JSON: median step after the first two, tokens/s, the last loss. The clock is the host's around a synchronised step.
var options = new Dictionary<string, string> { ["--variant"] = "9b", ["--batch"] = "4", ["--seq"] = "2048", ["--steps"] = "6" };
var (checkpointing, cpu) = (true, false);
var left = new Queue<string>(args);
while (left.TryDequeue(out var option))
    switch (option)
    {
        case "--no-checkpointing": checkpointing = false; break;
        case "--cpu": cpu = true; break;
        case var name when options.ContainsKey(name) && left.TryDequeue(out var value): options[name] = value; break;
        default:
            Console.Error.WriteLine($"torchsharp-peer: {option} is unknown or lacks its value; options are {string.Join(", ", options.Keys)}, --no-checkpointing, --cpu.");
            return 2;
    }
int Number(string name) => int.Parse(options[name], CultureInfo.InvariantCulture);
if (!Find(options["--variant"], out var size)) return 2;
var (batch, seq, steps) = (Number("--batch"), Number("--seq"), Number("--steps"));
if (steps < 3)
{
    Console.Error.WriteLine($"torchsharp-peer: --steps is {steps}; the first two are not timed, so it must be 3 or more.");
    return 2;
}

var device = cpu ? CPU : CUDA;
if (!cpu && !cuda.is_available())
{
    Console.Error.WriteLine("torchsharp-peer: PyTorch's library sees no GPU; put its CUDA build first on LD_LIBRARY_PATH, or use --cpu.");
    return 5;
}
random.manual_seed(0);
var model = new Gemma2(size, device, cpu ? ScalarType.Float32 : ScalarType.BFloat16);
var parameters = model.Parameters.ToArray();
var adam = optim.AdamW(parameters, lr: 2e-4);
var times = new List<double>();
var (loss, norm) = (0.0, 0.0);
for (var i = 0; i < steps; i++)
{
    using var scope = NewDisposeScope();
    var ids = randint(3, size.Vocabulary, [batch, seq], ScalarType.Int64, device);
    Synchronize();
    var start = Stopwatch.GetTimestamp();
    loss = model.Step(ids, checkpointing);
    norm = nn.utils.clip_grad_norm_(parameters, 1.0);
    adam.step();
    adam.zero_grad();
    Synchronize();
    times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
    Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"step {i + 1}: {times[^1]:F1} ms, loss {loss:F4}, gradient norm {norm:F5}"));
}
var sorted = times.Skip(2).Order().ToArray();
var median = (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
    $"{{\"peer\":\"torchsharp\",\"variant\":\"{options["--variant"]}\",\"batch\":{batch},\"seq\":{seq},"
        + $"\"checkpointing\":{(checkpointing ? "true" : "false")},\"steps\":{steps},\"ms_median\":{median:F2},"
        + $"\"tokens_per_second\":{batch * seq / median * 1000:F0},\"first_ms\":{times[0]:F0},\"loss\":{loss:F5},\"grad_norm\":{norm:F5}}}"));
return 0;

void Synchronize()
{
    if (!cpu) cuda.synchronize();
}

static bool Find(string name, out ModelSize size)
{
    if (ModelSize.All.TryGetValue(name, out size!)) return true;
    Console.Error.WriteLine($"torchsharp-peer: there is no variant {name}; variants are {string.Join(", ", ModelSize.All.Keys)}.");
    return false;
}
