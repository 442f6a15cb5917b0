using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

public enum DeviceKind { Auto, Cuda, Cpu }

/// <param name="Act">Null: the device's own.</param>
public sealed record DeviceRequest(DeviceKind Kind, ActType? Act);

/// <summary>What a session is planned for.</summary>
/// <param name="Recompute">auto, none, cheap or full.</param>
/// <param name="Keep">Tensors that must survive an evaluation, for the host to read.</param>
public sealed record SessionRequest(AdapterSettings Adapter, int Tokens, int Seq, int MicroBatches, string Recompute, AdamOptions Adam, int Seed)
{
    public IReadOnlyCollection<string> Keep { get; init; } = [];

    /// <summary>Null: as the source has its weights.</summary>
    public Quantization? Quant { get; init; }

    /// <summary>Whether to measure what quantising on load changes.</summary>
    public bool MeasureQuantization { get; init; }
}

/// <summary>A model on its device with weights and adapter, ready to run.</summary>
/// <param name="PlannedPeakBytes">What the device will have allocated at most.</param>
public sealed record ModelSession(IDevice Device, TrainingSession Training, long PlannedPeakBytes) : IDisposable
{
    /// <summary>What a GPU's driver takes beside our allocations (CUDA graphs, local memory of kernels); never planned full.</summary>
    const long DriverReserve = 256L << 20;

    /// <summary>What quantising on load changed, where that was to be measured.</summary>
    public QuantizationError Quantization { get; init; }

    /// <param name="beat">Called between the phases with the name of the one that is done, so that a fault found meanwhile can end the start.</param>
    /// <exception cref="FinetuneException">It does not fit (exit code 4).</exception>
    /// <exception cref="DeviceException">The device is not there or fails.</exception>
    public static ModelSession Open(ModelSource source, DeviceRequest request, SessionRequest session, Action<string> beat)
    {
        var device = OpenDevice(source.Model, request);
        TrainingSession? training = null;
        try
        {
            beat("device");
            device.Load(source.Model);
            beat("kernels");
            var before = device.AllocatedBytes;
            var plan = ChoosePlan(source, session, device);
            beat("plan");
            training = new TrainingSession(device, plan, session.Adam);
            beat("memory");
            var error = training.LoadWeights(source.Weights, session.MeasureQuantization);
            beat("weights");
            if (session.Adapter.Start is null) training.InitializeAdapters(session.Seed);
            else
            {
                foreach (var module in session.Adapter.Start.Modules) training.SetAdapter(module.Linear, module.A, module.B);
            }
            beat("adapter");
            return new ModelSession(device, training, before + plan.Memory.PeakBytes) { Quantization = error };
        }
        catch
        {
            training?.Dispose();
            device.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        try
        {
            Training.Dispose();
        }
        finally
        {
            Device.Dispose();
        }
    }

    /// <exception cref="DeviceException">The device is not there, fails, or does not compute in the type asked for.</exception>
    public static IDevice OpenDevice(CompiledModel model, DeviceRequest request)
    {
        var cuda = request.Kind == DeviceKind.Cuda || (request is { Kind: DeviceKind.Auto, Act: not ActType.F32 } && CudaDevice.IsPresent());
        if (!cuda && request.Act is { } act && act != ActType.F32)
            throw new DeviceException($"there is no GPU here, and the CPU computes in fp32, not {(act == ActType.Bf16 ? "bf16" : "fp16")}; leave --dtype out to run on the CPU");
        return cuda ? CudaDevice.Create(targets: model.Targets, act: request.Act) : new CpuDevice();
    }

    static ExecutionPlan ChoosePlan(ModelSource source, SessionRequest session, IDevice device)
    {
        var budget = device.FreeBytes - (device is CpuDevice ? 0 : DriverReserve);
        var auto = session.Recompute == "auto";
        var storage = source.Storage(session.Quant);
        if (Fit(session.Tokens) is { } plan) return plan;
        var fits = Enumerable.Range(1, 12).Select(i => session.Tokens >> i).Where(t => t >= 64).FirstOrDefault(t => Fit(t) is not null);
        var advice = fits > 0 ? $"--batch-tokens {fits} would fit" : "not even 64 tokens would fit; take a smaller variant";
        if (!auto && session.Recompute != "full") advice = "use --recompute full or auto, or " + advice;
        var least = auto ? "full" : session.Recompute;
        throw new FinetuneException($"{source.Model.Name} with --batch-tokens {session.Tokens} and --recompute {least} needs {Bytes.Text(Plan(session.Tokens, least).Memory.PeakBytes)}, "
            + $"but {device.Info.Name} has {Bytes.Text(Math.Max(0, budget))} to give; {advice}.", 4);

        ExecutionPlan? Fit(int tokens)
        {
            if (auto) return RecomputePlanner.Fit(source.Schedule, Options(tokens), budget);
            var plan = Plan(tokens, session.Recompute);
            return plan.Memory.PeakBytes <= budget ? plan : null;
        }

        ExecutionPlan Plan(int tokens, string recompute)
        {
            var shapes = new Shapes(source.Schedule, tokens, session.Adapter.Ranks, device.Act);
            return ExecutionPlan.Create(source.Schedule, Options(tokens) with { Decisions = Decisions.Named(recompute, shapes) });
        }

        PlanOptions Options(int tokens) => new(tokens, session.Adapter.Ranks, device.Act, session.Adapter.Scale)
        {
            MicroBatches = session.MicroBatches, LongestDocument = Math.Min(session.Seq, tokens), Keep = session.Keep, Multiprocessors = device.Info.Multiprocessors,
            Storage = storage,
        };
    }
}
