using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.IO.Compression;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Threading.Tasks;
using Graph.Fuzz;
using Graph.Runtime;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// One step of every model of a pack (tests/Graph.Fuzz/Pack.cs) on the GPU. The loss is as near to fp64 as twice the error of a composition in 16 bits, each
/// gradient matrix as three times, in L2; half a rounding is always allowed. Again on emitted products, and with random save, recompute and offload decisions, which
/// must not change a bit. Models run in processes of their own: a kernel that fails takes its context with it.
/// </summary>
static class FuzzCheck
{
    const double LossFactor = 2, GradientFactor = 3;
    const int QuietSeconds = 300;

    /// <summary>Models at a time: the driver compiles PTX each time that a model is loaded, which takes longer than its steps.</summary>
    const int Processes = 8;

    /// <summary>Compiles all kernels of a target, then runs the models. Exit code 1: something failed.</summary>
    internal static int Run(string pack, string target)
    {
        var scratch = Directory.CreateTempSubdirectory("gpu-fuzz-").FullName;
        foreach (var (name, value) in new[] { ("GRAPH_CACHE", Path.Combine(scratch, "cache")), ("CUDA_CACHE_PATH", Path.Combine(scratch, "ptx")),
            ("CUDA_CACHE_MAXSIZE", "2147483648") }) Environment.SetEnvironmentVariable(name, value);
        var count = Open(pack).Models.Count;
        var failed = new List<string>();
        // All kernels first: processes share the compiler's cache. Their models alternate.
        if (Child.Run(["--child", "fuzz", pack, target, "compile"], QuietSeconds, Lines.Write) is { ExitCode: 0, Hung: false }) Parallel.For(0, Processes, Share);
        else failed.Add("FAIL the kernels do not compile");
        Directory.Delete(scratch, recursive: true);
        Lines.Write($"==== {count} models on {target}, {failed.Count} failed");
        foreach (var line in failed) Lines.Write(line);
        return failed.Count == 0 ? 0 : 1;

        void Share(int first)
        {
            for (var next = first; next < count;)
            {
                var begun = next;
                var end = Child.Run(["--child", "fuzz", pack, target, next.ToString(CultureInfo.InvariantCulture)], QuietSeconds, line =>
                {
                    Lines.Write(line);
                    var parts = line.Split(' ', 4);
                    if (parts[0] == "begin") begun = int.Parse(parts[1], CultureInfo.InvariantCulture);
                    if (parts[0] == "FAIL") Fail(line);
                });
                if (end is { ExitCode: 0, Hung: false }) return;
                Fail($"FAIL model {begun}: {(end.Hung ? $"printed nothing for {QuietSeconds} s" : $"ended with code {end.ExitCode}")} {end.LastError}");
                next = begun + Processes;
            }
        }

        void Fail(string line)
        {
            lock (failed) failed.Add(line);
        }
    }

    /// <summary>Compiles the kernels of all models.</summary>
    internal static int Compile(string pack, string target)
    {
        var (models, templates) = Open(pack);
        using (var device = CudaDevice.Create(target))
        {
            // Once for all models: texts are shared, and NVRTC runs on all cores.
            var sources = models.SelectMany(m => Kernels(m, target, templates)).ToArray();
            KernelCompiler.Default().Get([.. sources.Select(s => s.Text)], device.Target.Architecture, i => sources[i].Info.Name);
            Lines.Write($"     {sources.Select(s => s.Text).Distinct().Count()} texts are compiled for {device.Target.Architecture}");
        }
        return 0;
    }

    /// <summary>Every so many models from one on, one after the other; what fails without ending the process is a line.</summary>
    internal static int From(string pack, string target, int first)
    {
        var (models, templates) = Open(pack);
        for (var i = first; i < models.Count; i += Processes)
        {
            var seed = models[i].GetProperty("seed").GetInt32();
            Lines.Write($"begin {i} seed {seed}");
            try
            {
                Lines.Write($"ok   {i} seed {seed}: {One(models[i], target, templates)}");
            }
            catch (Exception e) when (e is CheckException or ArgumentException or InvalidOperationException)
            {
                Lines.Write($"FAIL {i} seed {seed}: {e.Message}");
            }
        }
        return 0;
    }

    static (IReadOnlyList<JsonElement> Models, IReadOnlyDictionary<string, string> Templates) Open(string pack)
    {
        using var stream = new GZipStream(File.OpenRead(pack), CompressionMode.Decompress);
        using var buffer = new MemoryStream();
        stream.CopyTo(buffer);
        var root = JsonDocument.Parse(buffer.ToArray()).RootElement;
        return ([.. root.GetProperty("models").EnumerateArray()],
            root.GetProperty("templates").EnumerateObject().Concat(root.GetProperty("parts").EnumerateObject()).ToDictionary(t => t.Name[1..], t => t.Value.GetString()!));
    }

    static IReadOnlyList<KernelSource> Kernels(JsonElement model, string target, IReadOnlyDictionary<string, string> templates) =>
        [.. model.GetProperty("targets").GetProperty(target).EnumerateArray().Select(k => Models.Kernel(k, templates))];

    static string One(JsonElement model, string target, IReadOnlyDictionary<string, string> templates)
    {
        var kernels = Kernels(model, target, templates);
        var text = model.GetProperty("schedule").GetString()!;
        var compiled = new CompiledModel("fuzz", () => text, [target], _ => new TargetKernels(target, kernels),
            () => throw new InvalidOperationException("a pack has no C#"), () => []);
        var worst = (Loss: 0.0, Gradient: 0.0);
        foreach (var gemm in new[] { "cublas", "generated" }.Where(g => g == "generated" || CudaFacts.Collect().CublasLt.Problem is null))
        {
            Environment.SetEnvironmentVariable("GRAPH_GEMM", gemm);
            using var device = CudaDevice.Create(target);
            device.Load(compiled);
            var (loss, gradients) = Train(device, model, compiled, null);
            var again = Train(device, model, compiled, new Random(model.GetProperty("seed").GetInt32()));
            foreach (var (name, values) in gradients) Checking.Require(values.AsSpan().SequenceEqual(again.Gradients[name]),
                $"{gemm}: the gradient of {name} changes with what is recomputed");
            Checking.Require(loss == again.Loss, $"{gemm}: the loss changes with what is recomputed: {loss:R} and {again.Loss:R}");
            var (l, g) = Compare(model, device.Act, gemm, loss, gradients);
            worst = (Math.Max(worst.Loss, l), Math.Max(worst.Gradient, g));
        }
        return FormattableString.Invariant($"loss {worst.Loss:F2} and gradients {worst.Gradient:F2} of allowed");
    }

    static (double Loss, double Gradient) Compare(JsonElement model, ActType act, string gemm, double loss, IReadOnlyDictionary<string, float[]> gradients)
    {
        var errors = model.GetProperty("errors").GetProperty(act == ActType.Bf16 ? "bf16" : "fp16");
        var halfRounding = act == ActType.Bf16 ? 1.0 / 512 : 1.0 / 4096;
        var right = model.GetProperty("loss").GetDouble();
        var allowed = LossFactor * Math.Max(halfRounding * Math.Max(1, Math.Abs(right)), errors.GetProperty("loss").GetDouble());
        var worstLoss = Math.Abs(loss - right) / allowed;
        Checking.Require(worstLoss <= 1,
            FormattableString.Invariant($"{gemm}: the loss is {loss:R}, in fp64 {right:R}: off by {Math.Abs(loss - right):G3}, allowed are {allowed:G3}"));
        var worst = 0.0;
        foreach (var gradient in model.GetProperty("gradients").EnumerateObject())
        {
            var reference = MemoryMarshal.Cast<byte, float>(gradient.Value.GetBytesFromBase64()).ToArray();
            var got = gradients.TryGetValue(gradient.Name, out var values) ? values : new float[reference.Length];
            double error = 0, size = 0;
            for (var i = 0; i < reference.Length; i++) (error, size) = (error + Math.Pow((double)got[i] - reference[i], 2), size + (double)reference[i] * reference[i]);
            var bound = GradientFactor * Math.Max(halfRounding * Math.Sqrt(size), errors.GetProperty(gradient.Name).GetDouble()) + 1e-7;
            var share = Math.Sqrt(error) / bound;
            Checking.Require(share <= 1,
                FormattableString.Invariant($"{gemm}: the gradient of {gradient.Name} is off by {Math.Sqrt(error):G3} of {Math.Sqrt(size):G3}, allowed are {bound:G3}"));
            worst = Math.Max(worst, share);
        }
        return (worstLoss, worst);
    }

    static (double Loss, IReadOnlyDictionary<string, float[]> Gradients) Train(IDevice device, JsonElement model, CompiledModel compiled, Random? random)
    {
        int Int(string name) => model.GetProperty(name).GetInt32();
        var (seed, tokens) = (Int("seed"), Int("tokens"));
        var schedule = ScheduleText.Parse(compiled.Schedule());
        var wanted = model.GetProperty("ranks").EnumerateObject().ToDictionary(r => r.Name, r => r.Value.GetInt32());
        var ranks = RankTable.Create(schedule, name => wanted.GetValueOrDefault(name));
        var batches = model.GetProperty("documents").EnumerateArray().Select((documents, b) => MicroBatch.Pack(tokens,
            [.. documents.EnumerateArray().Select((length, d) =>
                Values.Document(seed, b, d, length.GetInt32(), Int("ids"), Int("labels"), model.GetProperty("unlabelled").GetDouble()))])).ToArray();
        var recipes = schedule.Recipes.Select(r => r.Tensor).ToHashSet();
        var actions = random is null ? [] : schedule.Tensors.Where(t => t.Kind == TensorKind.Activation).Select(t => (t.Name, Action: (TensorAction)random.Next(3)))
            .Where(t => t.Action != TensorAction.Recompute || recipes.Contains(t.Name)).ToDictionary(t => t.Name, t => t.Action);
        var plan = ExecutionPlan.Create(schedule, new PlanOptions(tokens, ranks, device.Act, model.GetProperty("lora_scale").GetDouble())
        {
            Decisions = new Decisions("random", actions),
            MicroBatches = batches.Length, Multiprocessors = device.Info.Multiprocessors, LogitsRows = Int("logits_rows") is > 0 and var rows ? rows : null,
        });
        using var session = new TrainingSession(device, plan);
        session.LoadWeights(new ModelWeights(seed, model.GetProperty("weights").EnumerateObject()
            .ToDictionary(w => w.Name, w => w.Value.EnumerateArray().Select(d => d.GetInt32()).ToArray())));
        foreach (var a in ranks.Adapters) session.SetAdapter(a.Linear, Values.Of(seed, a.Linear + ".lora_A", a.Rank, a.In), Values.Of(seed, a.Linear + ".lora_B", a.Out, a.Rank));
        var loss = session.Train(batches, 0).Loss;
        var gradients = new Dictionary<string, float[]>();
        foreach (var a in ranks.Adapters) (gradients[a.Linear + ".lora_A"], gradients[a.Linear + ".lora_B"]) = session.GetGradient(a.Linear);
        return (loss, gradients);
    }
}
