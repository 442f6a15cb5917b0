using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text.Json;
using Graph.Finetune.Adapters;
using Graph.Finetune.Checkpoints;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// Whole training steps of nano on the reference fixture, products on cuBLASLt (where it is) and on the emitted GEMM.
/// Two steps give the same adapter and moments to the bit, whether they run again or with --recompute none, cheap or full,
/// all activations offloaded, or with full those that it keeps, weights in host memory, the optimizer's state there. The ten losses that transformers and PEFT
/// computed in fp32, and the gradients of one step, are met as well as a composition in bf16 meets them (<see cref="RoundingCpu"/>):
/// losses within twice its error, each gradient matrix within three times, in L2. An error below half a bf16 rounding is luck, so this much is always allowed.
/// Then the same in fp16: the texts of sm_75 as PTX, with a loss scale.
/// The learning rate of the goldens makes ten steps a magnifier: compositions are off by 0.1 % in the first step, 0.5 % in the second, up to 5 % in the eighth.
/// </summary>
static class StepCheck
{
    const int Compositions = 6, KvHeads = 2, LongTokens = 8192 + 904;
    const double LossFactor = 2, GradientFactor = 3, Floor = 1.0 / 512, Fp32 = 1e-4;

    // Of compositions too. Small enough that no step of the fixture overflows: one that was skipped would leave the goldens' losses behind.
    static readonly LossScaling Scaling = new(1024);

    /// <param name="Long">The same documents again and again: tiles and units that are full, and a last one that is not.</param>
    sealed record Fixture(CompiledModel Model, Schedule Schedule, string Folder, AdapterFile Adapter, MicroBatch Batch, MicroBatch Long, double[] Losses);

    /// <summary>What one run left: the loss of every step, the gradients of the first one by linear, A and B, and all bytes of the final state.</summary>
    sealed record Run(double[] Losses, IReadOnlyList<(string Name, float[] Values)> Gradients, byte[] State);

    /// <summary>
    /// Plans beside the named ones: every activation goes to the host and comes back; those that full recompute keeps do; weights rest there; masters and moments do; all of it.
    /// </summary>
    const string Offload = "offload", FullOffload = "full+offload", Streamed = "streamed", HostStates = "states", AllAway = "full+offload+streamed+states";

    internal static string Check() => string.Join("; ", new[] { "cublas", "generated" }.Where(g => g == "generated" || CudaFacts.Collect().CublasLt.Problem is null).Select(gemm =>
    {
        Environment.SetEnvironmentVariable("GRAPH_GEMM", gemm);
        string[] plans = ["none", "cheap", "full", Offload, FullOffload, Streamed, HostStates, AllAway];
        return $"{gemm}: {Check(Open(), plans, (model, _) => On(model, CudaDevice.Create(targets: model.Targets)))}";
    })) + "; fp16: " + Check(Open(), ["none", "cheap", "full"], (model, _) => On(model, CudaDevice.Create("sm_75")), act: ActType.F16);

    static CudaDevice On(CompiledModel model, CudaDevice device)
    {
        device.Load(model);
        return device;
    }

    /// <summary>
    /// The same checks with an undisturbed composition in the GPU's place; then one whose adapters count a tenth more, which must not pass.
    /// Other --recompute are left out: a composition rounds behind a kernel, so a fused kernel works on what it has not stored yet, which the kernels of recipes do not see.
    /// </summary>
    internal static int OnHost()
    {
        var fixture = Open();
        IDevice Composition(CompiledModel model, Shapes shapes) => new RoundingCpu(shapes, Models.Reference(model.Name).Composition(KvHeads), 0);
        Lines.Write("ok   step: " + Check(fixture, ["none"], Composition));
        try
        {
            Check(fixture with { Adapter = fixture.Adapter with { Alpha = fixture.Adapter.Alpha * 1.1 } }, ["none"], Composition, fixture);
        }
        catch (CheckException e)
        {
            Lines.Write("ok   step, adapters a tenth too strong: " + e.Message);
            return 0;
        }
        Lines.Write("FAIL step: adapters a tenth too strong pass");
        return 1;
    }

    static string Check(Fixture fixture, string[] recomputes, Func<CompiledModel, Shapes, IDevice> open, Fixture? references = null, ActType act = ActType.Bf16)
    {
        Elem.Act = act;
        var right = references ?? fixture;
        var exact = Train(right, "none", 10, (model, _) => Cpu(model));
        for (var i = 0; i < 10; i++) Checking.Require(Math.Abs(exact.Losses[i] - right.Losses[i]) <= Fp32 * right.Losses[i],
            $"the CPU's loss of step {i + 1} is {exact.Losses[i]:F6}, transformers had {right.Losses[i]:F6}");
        var compositions = Enumerable.Range(1, Compositions)
            .Select(seed => Train(right, "none", 10, (model, shapes) => new RoundingCpu(shapes, Models.Reference(model.Name).Composition(KvHeads), seed))).ToArray();

        var once = Train(fixture, "none", 2, open);
        foreach (var recompute in recomputes)
            Checking.Require(Train(fixture, recompute, 2, open).State.AsSpan().SequenceEqual(once.State),
                $"two steps with {recompute} gave other bytes than the first run of --recompute none");

        var tiled = "";
        if (references is null && recomputes.Length > 1)
        {
            var whole = Train(fixture with { Batch = fixture.Long }, "none", 2, open).State;
            foreach (var (recompute, tile) in new[] { ("none", 2048), ("full", 1024), ("full", 5120) })
                Checking.Require(Train(fixture with { Batch = fixture.Long }, recompute, 2, open, tile).State.AsSpan().SequenceEqual(whole),
                    $"two steps of {LongTokens} tokens with --recompute {recompute} in tiles of {tile} tokens gave other bytes than all at once");
            tiled = $" and, of {LongTokens} tokens, in tiles";
        }

        if (references is null && recomputes.Length > 1) Dropped(fixture, recomputes, open, right, exact, compositions);

        var ten = Train(fixture, "none", 10, open);
        double worstLoss = 0, worstShare = 0;
        for (var i = 0; i < 10; i++)
        {
            var error = Math.Abs(ten.Losses[i] - right.Losses[i]) / right.Losses[i];
            var allowed = LossFactor * Math.Max(Floor, compositions.Max(c => Math.Abs(c.Losses[i] - right.Losses[i]) / right.Losses[i]));
            (worstLoss, worstShare) = (Math.Max(worstLoss, error), Math.Max(worstShare, error / allowed));
            Checking.Require(error <= allowed,
                FormattableString.Invariant($"the loss of step {i + 1} is {ten.Losses[i]:F5}, in fp32 {right.Losses[i]:F5}: off by {error:G3}, allowed are {allowed:G3}"));
        }
        double worstGradient = 0, worstRatio = 0;
        for (var g = 0; g < exact.Gradients.Count; g++)
        {
            var (name, reference) = exact.Gradients[g];
            double error = Distance(ten.Gradients[g].Values, reference), theirs = Math.Max(Floor, compositions.Max(c => Distance(c.Gradients[g].Values, reference)));
            (worstGradient, worstRatio) = (Math.Max(worstGradient, error), Math.Max(worstRatio, error / theirs));
            Checking.Require(error <= GradientFactor * theirs,
                FormattableString.Invariant($"the gradient of {name} is off by {error:G3} of its size, a composition in {act} by {theirs:G3}"));
        }
        var gradients = FormattableString.Invariant($"{exact.Gradients.Count} gradients by up to {worstGradient:G2} ({worstRatio:F2} of a composition's error)");
        return FormattableString.Invariant(
            $"losses off by up to {worstLoss:G2} ({worstShare:F2} of allowed), {gradients}; same bytes again with {string.Join(", ", recomputes)}{tiled}");
    }

    /// <summary>
    /// Two steps with dropout: the same bytes with every --recompute; the losses are those of the CPU with the same
    /// masks, as near as a composition is without dropout; and they are not those of a step without.
    /// </summary>
    static void Dropped(Fixture fixture, string[] recomputes, Func<CompiledModel, Shapes, IDevice> open, Fixture right, Run without, IReadOnlyList<Run> compositions)
    {
        var dropout = new DropoutOptions(0.3, 11);
        var (exact, once) = (Train(right, "none", 2, (model, _) => Cpu(model), dropout: dropout), Train(fixture, "none", 2, open, dropout: dropout));
        foreach (var recompute in recomputes.Skip(1))
            Checking.Require(Train(fixture, recompute, 2, open, dropout: dropout).State.AsSpan().SequenceEqual(once.State),
                $"two steps with dropout and {recompute} gave other bytes than with --recompute none");
        Checking.Require(exact.Losses[1] != without.Losses[1], "dropout changed no loss");
        for (var i = 0; i < 2; i++)
        {
            var allowed = LossFactor * Math.Max(Floor, compositions.Max(c => Math.Abs(c.Losses[i] - right.Losses[i]) / right.Losses[i]));
            Checking.Require(Math.Abs(once.Losses[i] / exact.Losses[i] - 1) <= allowed,
                FormattableString.Invariant($"with dropout the loss of step {i + 1} is {once.Losses[i]:F5}, on the CPU {exact.Losses[i]:F5}; {allowed:G3} of it is allowed"));
        }
        for (var g = 0; g < exact.Gradients.Count; g++)
        {
            var theirs = Math.Max(Floor, compositions.Max(c => Distance(c.Gradients[g].Values, without.Gradients[g].Values)));
            var error = Distance(once.Gradients[g].Values, exact.Gradients[g].Values);
            Checking.Require(error <= GradientFactor * theirs,
                FormattableString.Invariant($"with dropout the gradient of {exact.Gradients[g].Name} is off by {error:G3} of its size, a composition without by {theirs:G3}"));
        }
    }

    static IDevice Cpu(CompiledModel model)
    {
        var device = new CpuDevice();
        device.Load(model);
        return device;
    }

    static Run Train(Fixture fixture, string recompute, int steps, Func<CompiledModel, Shapes, IDevice> open, int? tile = null, DropoutOptions? dropout = null)
    {
        var ranks = RankTable.Create(fixture.Schedule, fixture.Adapter.RankOf);
        // Decisions and kernels' widths do not depend on the type; the device is needed for the plan.
        var shapes = new Shapes(fixture.Schedule, fixture.Batch.Ids.Length, ranks, ActType.F32);
        using var device = open(fixture.Model, shapes);
        var plan = ExecutionPlan.Create(fixture.Schedule, new PlanOptions(fixture.Batch.Ids.Length, ranks, device.Act, fixture.Adapter.Scale)
        {
            Storage = recompute is Streamed or AllAway ? WeightStorages.Streamed(fixture.Schedule, WeightStorages.Resident) : WeightStorages.Resident,
            HostStates = recompute is HostStates or AllAway,
            Decisions = Decide(recompute, new Shapes(fixture.Schedule, fixture.Batch.Ids.Length, ranks, device.Act)), Multiprocessors = device.Info.Multiprocessors,
            TokenTile = tile, ArenaBytes = 0, Dropout = dropout,
        });
        using var session = new TrainingSession(device, plan, new AdamOptions(WeightDecay: 0.01, Clip: 1, Scaling: Elem.Act == ActType.F16 ? Scaling : null));
        using var weights = Checkpoint.Open(Path.Combine(fixture.Folder, "checkpoint"));
        session.LoadWeights(weights);
        foreach (var module in fixture.Adapter.Modules) session.SetAdapter(module.Linear, module.A, module.B);
        var losses = new List<double>();
        var gradients = new List<(string, float[])>();
        for (var i = 0; i < steps; i++)
        {
            losses.Add(session.Train([fixture.Batch], 5e-3).Loss);
            if (i > 0) continue;
            foreach (var (linear, (a, b)) in fixture.Adapter.Modules.Select(m => (m.Linear, session.GetGradient(m.Linear)))) gradients.AddRange([(linear + ".lora_A", a),
                (linear + ".lora_B", b)]);
        }
        var state = session.State(0, 0).Adapters.SelectMany(a => new[] { a.A, a.B })
            .SelectMany(m => new[] { m.Master, ((Fp32Moment)m.FirstMoment).Values, ((Fp32Moment)m.SecondMoment).Values });
        return new Run([.. losses], gradients, [.. state.SelectMany(values => MemoryMarshal.AsBytes(values.AsSpan()).ToArray())]);
    }

    static Decisions Decide(string name, Shapes shapes)
    {
        if (name is Streamed or HostStates) return Decisions.None;
        if (name is not (Offload or FullOffload or AllAway)) return Decisions.Named(name, shapes);
        var dropped = name != Offload ? Decisions.Full(shapes).Actions : Decisions.None.Actions;
        var activations = shapes.Schedule.Tensors.Where(t => t.Kind == TensorKind.Activation);
        return new Decisions(name, activations.ToDictionary(t => t.Name, t => dropped.GetValueOrDefault(t.Name, TensorAction.Offload)));
    }

    static double Distance(float[] got, float[] reference)
    {
        double error = 0, size = 0;
        for (var i = 0; i < reference.Length; i++) (error, size) = (error + Math.Pow((double)got[i] - reference[i], 2), size + (double)reference[i] * reference[i]);
        return double.IsFinite(error) ? Math.Sqrt(error / Math.Max(size, 1e-60)) : double.PositiveInfinity;
    }

    static Fixture Open()
    {
        var folder = Environment.GetEnvironmentVariable("GPU_TESTS_FIXTURE")
            ?? throw new CheckException("the step check needs the reference fixture; give its folder with --fixture");
        if (!File.Exists(Path.Combine(folder, "goldens.json")))
            throw new CheckException($"'{folder}' has no goldens.json; --fixture must name the folder of the reference fixture");
        var model = Models.Find("nano");
        var schedule = ScheduleText.Parse(model.Schedule());
        using var goldens = SafetensorsFile.Open(Path.Combine(folder, "goldens.safetensors"));
        int[] Ints(string name) => MemoryMarshal.Cast<byte, int>(goldens.Bytes(goldens.Tensors[name], 0, (int)goldens.Tensors[name].Length)).ToArray();
        var (ids, labels, rows) = (Ints("input_ids"), Ints("labels"), (int)goldens.Tensors["input_ids"].Shape[0]);
        var length = ids.Length / rows;
        // The goldens' labels stand beside their ids; ours are one token ahead within a row.
        var documents = Enumerable.Range(0, rows).Select(r => (ids[(r * length)..((r + 1) * length)], (int[])[.. labels[(r * length + 1)..((r + 1) * length)], -100])).ToArray();
        using var numbers = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "goldens.json")));
        double[] losses = [.. numbers.RootElement.GetProperty("train").GetProperty("losses").EnumerateArray().Select(e => e.GetDouble())];
        var many = Enumerable.Range(0, LongTokens / length).Select(i => documents[i % rows]).ToArray();
        return new Fixture(model, schedule,
            folder, PeftAdapter.Load(Path.Combine(folder, "adapter_init"), schedule), MicroBatch.Pack(ids.Length, documents), MicroBatch.Pack(LongTokens, many), losses);
    }
}
