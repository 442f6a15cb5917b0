using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Cuda;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

public enum DeviceKind { Auto, Cuda, Cpu }

/// <param name="Act">Null: the device's own.</param>
public sealed record DeviceRequest(DeviceKind Kind, ActType? Act)
{
    /// <summary>Most bytes that the process may take on the device, everything counted; null: what is free.</summary>
    public long? Vram { get; init; }

    /// <summary>Makes the device in place of the one that is asked for: for tests.</summary>
    internal Func<IDevice>? Make { get; init; }
}

/// <summary>What a session is planned for.</summary>
/// <param name="Recompute">auto, none, cheap or full.</param>
/// <param name="Keep">Tensors that must survive an evaluation, for the host to read.</param>
public sealed record SessionRequest(AdapterSettings Adapter, int Tokens, int Seq, int MicroBatches, string Recompute, AdamOptions Adam, int Seed)
{
    public IReadOnlyCollection<string> Keep { get; init; } = [];

    /// <summary>Null: as the source has its weights.</summary>
    public Quantization? Quant { get; init; }

    public HostRequest Host { get; init; } = new();

    /// <summary>Whether to measure what quantising on load changes.</summary>
    public bool MeasureQuantization { get; init; }

    public MomentFormat Moments { get; init; }
}

/// <summary>A model on its device with weights and adapter, ready to run.</summary>
/// <param name="Planned">The plan, and what it was said to take.</param>
/// <param name="Profile">What the plan was made for: the device, measured.</param>
public sealed record ModelSession(IDevice Device, TrainingSession Training, PlannedStep Planned, DeviceProfile Profile) : IDisposable
{
    /// <summary>Left free of a GPU's memory where no budget is given: the driver needs some, and other programs come and go.</summary>
    const long Margin = 128L << 20;

    long peak, samples;

    /// <summary>What a step has to compute.</summary>
    public ModelWork Work { get; } = ModelWork.Of(Planned.Plan);

    /// <summary>What the process was planned to take on the device at most, everything counted.</summary>
    public long PlannedPeakBytes => Planned.Footprint.Total;

    /// <summary>
    /// What it took at most so far. Memory is given out before the first step; asking the driver takes longer than a step of a small model, so it is asked ever more seldom.
    /// </summary>
    public long PeakBytes()
    {
        if (BitOperations.IsPow2(++samples)) peak = Math.Max(peak, Math.Max(Device.TakenBytes, Device.PeakBytes));
        return peak;
    }

    /// <summary>What quantising on load changed, where that was to be measured.</summary>
    public QuantizationError Quantization { get; init; }

    /// <param name="beat">Called between the phases with the name of the one that is done, so that a fault found meanwhile can end the start.</param>
    /// <exception cref="FinetuneException">It does not fit (exit code 4).</exception>
    /// <exception cref="DeviceException">The device is not there or fails.</exception>
    public static ModelSession Open(ModelSource source, DeviceRequest request, SessionRequest session, Action<string> beat)
    {
        var (device, planned, profile) = Plan(source, request, session, beat);
        TrainingSession? training = null;
        try
        {
            training = new TrainingSession(device, planned.Plan, session.Adam);
            beat("memory");
            var error = training.LoadWeights(source.Weights, session.MeasureQuantization);
            beat("weights");
            if (session.Adapter.Start is null) training.InitializeAdapters(session.Seed);
            else
            {
                foreach (var module in session.Adapter.Start.Modules) training.SetAdapter(module.Linear, module.A, module.B);
            }
            beat("adapter");
            return new ModelSession(device, training, planned, profile) { Quantization = error };
        }
        catch
        {
            training?.Dispose();
            device.Dispose();
            throw;
        }
    }

    /// <summary>The device with its kernels, and the plan for it; nothing is allocated yet.</summary>
    /// <exception cref="FinetuneException">It does not fit (exit code 4).</exception>
    /// <exception cref="DeviceException">The device is not there or fails.</exception>
    public static (IDevice Device, PlannedStep Planned, DeviceProfile Profile) Plan(ModelSource source, DeviceRequest request, SessionRequest session, Action<string> beat)
    {
        session = session with { Host = session.Host.Measured() };
        var device = OpenDevice(source.Model, request);
        try
        {
            beat("device");
            device.Load(source.Model);
            beat("kernels");
            var profile = DeviceMeasurement.Of(device, KernelCache.DefaultFolder(Environment.GetEnvironmentVariable));
            beat("limits");
            var planned = ChoosePlan(source, request, session, device, profile);
            session.Host.Require(planned.Plan.Memory.HostBytes);
            beat("plan");
            return (device, planned, profile);
        }
        catch
        {
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
        if (request.Make is { } make) return make();
        var cuda = request.Kind == DeviceKind.Cuda || (request is { Kind: DeviceKind.Auto, Act: not ActType.F32 } && CudaDevice.IsPresent());
        if (!cuda && request.Act is { } act && act != ActType.F32)
            throw new DeviceException($"there is no GPU here, and the CPU computes in fp32, not {(act == ActType.Bf16 ? "bf16" : "fp16")}; leave --dtype out to run on the CPU");
        return cuda ? CudaDevice.Create(targets: model.Targets, act: request.Act) : new CpuDevice();
    }

    /// <summary>Micro-batches of a step of so many tokens that make it the fastest, and how many there are.</summary>
    /// <exception cref="FinetuneException">None fits (exit code 4).</exception>
    /// <exception cref="DeviceException">The device is not there or fails.</exception>
    public static (int Tokens, int PerStep) FastestMicroBatch(ModelSource source, DeviceRequest request, SessionRequest session, int stepTokens)
    {
        using var device = OpenDevice(source.Model, request);
        device.Load(source.Model);
        var profile = DeviceMeasurement.Of(device, KernelCache.DefaultFolder(Environment.GetEnvironmentVariable));
        var (budget, has) = Budget(request, device, profile);
        return BatchTokens.Fastest(source, session, profile, budget, stepTokens, has);
    }

    static PlannedStep ChoosePlan(ModelSource source, DeviceRequest request, SessionRequest session, IDevice device, DeviceProfile profile)
    {
        var (budget, has) = Budget(request, device, profile);
        var frontier = PlanRequest.Frontier(source, session, profile);
        return frontier.Fit(budget) ?? throw PlanRequest.DoesNotFit(source, session, profile, frontier, budget, has);
    }

    /// <summary>Bytes that the process may take, and what there is, as a clause.</summary>
    static (long Bytes, string Has) Budget(DeviceRequest request, IDevice device, DeviceProfile profile)
    {
        var available = device.TakenBytes + device.FreeBytes;
        if (request.Vram is { } asked && asked > available)
            throw new FinetuneException($"--vram is {Bytes.Text(asked)} but {device.Info.Name} has {Bytes.Text(available)} for this process; "
                + "lower --vram, or end what else runs there.", 4);
        var budget = request.Vram ?? available - (profile.IsGpu ? Margin : 0);
        return (budget, request.Vram is null ? $"{device.Info.Name} has {Bytes.Text(Math.Max(0, budget))} to give" : $"--vram is {Bytes.Text(budget)}");
    }
}
