using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Cuda;

/// <summary>
/// One NVIDIA GPU: its primary context, one stream, and what was allocated through here.
/// Everything runs in stream order, so results do not depend on timing. For one thread at a time.
/// Products run on cuBLASLt where it is found and starts, else on the emitted kernels;
/// one with a kernel behind it that can be its epilogue, with sums to make or with a row limit runs on the emitted kernel for that, where there is one.
/// GRAPH_GEMM=cublas or generated decides instead.
/// </summary>
public sealed class CudaDevice : IDevice
{
    readonly int ordinal;
    readonly nint context;
    readonly CudaStream stream;
    readonly CudaTarget target;
    readonly Lazy<KernelCompiler> compiler;
    readonly KernelTable kernels = new();
    readonly Dictionary<nint, long> allocations = [];
    readonly Lazy<Staging> staging = new(() => new Staging());
    readonly Lazy<CudaStream>[] copies = [.. Enum.GetValues<Lane>().Select(_ => new Lazy<CudaStream>(CudaStream.Create))];
    readonly CublasLtGemm? library;
    readonly ProcessMemory memory;
    nint workspace;
    readonly bool beyondLibrary;

    CudaDevice(int ordinal, nint context, CudaTarget target, DeviceInfo info, ProcessMemory memory, Func<KernelCompiler> compiler, string? gemm)
    {
        this.memory = memory;
        (this.ordinal, this.context, this.target, Info) = (ordinal, context, target, info);
        this.compiler = new Lazy<KernelCompiler>(compiler);
        // Products follow each other on one stream, so one workspace serves cuBLASLt and the rank kernels.
        var wanted = WantsLibrary(gemm);
        stream = CudaStream.Create();
        try
        {
            if (wanted) workspace = Allocate(CublasLtGemm.WorkspaceBytes);
            library = wanted ? OpenLibrary(gemm) : null;
        }
        catch
        {
            Release();
            throw;
        }
        beyondLibrary = gemm != "cublas";
    }

    public DeviceInfo Info { get; }
    public ActType Act => target.Act;

    /// <summary>"cublaslt" or "generated": what products run on.</summary>
    public string Gemm => library is null ? "generated" : "cublaslt";

    /// <summary>Target whose texts run, and what they are compiled for.</summary>
    public CudaTarget Target => target;

    public long AllocatedBytes { get; private set; }
    public long PeakBytes { get; private set; }

    public long FreeBytes
    {
        get
        {
            MakeCurrent();
            Driver.Check(Driver.MemGetInfo(out var free, out _), "cuMemGetInfo");
            return (long)free;
        }
    }

    /// <summary>As NVML says it, else counted (<see cref="ProcessMemory"/>).</summary>
    public long TakenBytes => memory.Taken(GivenBytes);

    /// <summary>Whether NVML says what this process takes; else it is counted.</summary>
    public bool MeasuresTaken => memory.IsMeasured;

    long GivenBytes => allocations.Values.Sum(Planning.Footprint.Given);

    /// <summary>Whether a driver is there and shows a GPU. One that is there but fails is present: <see cref="Create"/> then says what is wrong.</summary>
    public static bool IsPresent() => NativeLibraries.Driver.Value != 0 && Driver.Init(0) is not (Driver.NoDevice or Driver.StubLibrary);

    /// <summary>Opens a GPU.</summary>
    /// <param name="targetOverride">Run this target's texts whatever the GPU is (as PTX where its machine code would not run): for tests.</param>
    /// <param name="targets">Targets the model was emitted for; null: all there are.</param>
    /// <param name="act">Activation type the run wants; null: the target's own.</param>
    /// <param name="ordinal">Among the GPUs that CUDA_VISIBLE_DEVICES leaves.</param>
    /// <param name="compiler">Null: the executable's archive and the user's cache.</param>
    /// <exception cref="DeviceException">No driver, no GPU of that number, no target for it, or a type its kernels do not store.</exception>
    public static CudaDevice Create(string? targetOverride = null, IReadOnlyList<string>? targets = null, ActType? act = null, int ordinal = 0, KernelCompiler? compiler = null)
    {
        Driver.Open();
        Driver.Check(Driver.DeviceGetCount(out var count), "cuDeviceGetCount");
        if (ordinal < 0 || ordinal >= count) throw new DeviceException($"cuda: there is no GPU {ordinal}: the driver shows {count}; CUDA_VISIBLE_DEVICES may hide others");
        var facts = GpuFacts.Of(ordinal);
        var target = targetOverride is null
            ? CudaTarget.Choose(Storing(targets ?? [.. Schedules.Target.All.Select(t => t.Name)], act), facts.Capability, Nvrtc.SupportedCapabilities)
            : CudaTarget.Forced(targetOverride, facts.Capability);
        if (act is { } wanted && wanted != target.Act)
            throw new DeviceException($"cuda: kernels for {target.Name} store activations as {Name(target.Act)}, not {Name(wanted)}; "
                + $"use --dtype {Name(target.Act)}, or --device cpu for fp32");

        Driver.Check(Driver.DriverGetVersion(out var version), "cuDriverGetVersion");
        Driver.Check(Driver.DeviceGet(out var device, ordinal), "cuDeviceGet");
        var memory = new ProcessMemory(PciBusId(device));
        Driver.Check(Driver.PrimaryContextRetain(out var context, device), "cuDevicePrimaryCtxRetain");
        try
        {
            Driver.Check(Driver.ContextSetCurrent(context), "cuCtxSetCurrent");
            var info = new DeviceInfo(facts.Name, target.Name, facts.TotalBytes, facts.Multiprocessors, "CUDA " + Driver.VersionText(version));
            memory.Opened();
            return new CudaDevice(device, context, target, info, memory, compiler is null ? KernelCompiler.Default
                : () => compiler, Environment.GetEnvironmentVariable("GRAPH_GEMM"));
        }
        catch
        {
            Driver.PrimaryContextRelease(device);
            throw;
        }
    }

    public nint Allocate(long bytes)
    {
        MakeCurrent();
        // cuMemAlloc refuses 0; an empty tensor still needs an address.
        var result = Driver.MemAlloc(out var address, (nuint)Math.Max(bytes, 1));
        if (result == Driver.OutOfMemory)
            throw new DeviceMemoryException($"cuda: {bytes} bytes do not fit: {FreeBytes} of {Info.TotalBytes} are free on {Info.Name}; "
                + "ask for less, or free the GPU of other programs");
        Driver.Check(result, $"cuMemAlloc of {bytes} bytes");
        allocations.Add(address, bytes);
        AllocatedBytes += bytes;
        PeakBytes = Math.Max(PeakBytes, AllocatedBytes);
        return address;
    }

    public void Free(nint address)
    {
        MakeCurrent();
        if (!allocations.Remove(address, out var bytes)) throw new ArgumentException($"cuda: {address:x} was not allocated here or was freed before");
        AllocatedBytes -= bytes;
        Driver.Check(Driver.MemFree(address), "cuMemFree");
    }

    public void Upload(nint destination, ReadOnlySpan<byte> source)
    {
        MakeCurrent();
        staging.Value.Upload(stream, destination, source);
    }

    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows)
    {
        if (widthBytes == 0 || rows == 0) return;
        MakeCurrent();
        if (pitchBytes == widthBytes) staging.Value.Upload(stream, destination, source[..checked((int)(widthBytes * rows))]);
        else staging.Value.Upload2D(stream, destination, pitchBytes, source, widthBytes, rows);
    }

    public void Download(Span<byte> destination, nint source)
    {
        MakeCurrent();
        staging.Value.Download(stream, destination, source);
    }

    public void Fill(nint destination, byte value, long bytes)
    {
        MakeCurrent();
        Driver.Check(Driver.Fill(destination, value, (nuint)bytes, stream), $"filling {bytes} bytes");
    }

    public void Synchronize()
    {
        MakeCurrent();
        Driver.Check(Driver.StreamSynchronize(stream), "waiting for the GPU");
    }

    /// <exception cref="DeviceException">The model was not emitted for this device's target, or a kernel cannot be compiled or loaded.</exception>
    public void Load(CompiledModel model)
    {
        if (!model.Targets.Contains(target.Name))
            throw new DeviceException($"cuda: {model.Name} was built for {string.Join(", ", model.Targets)}, but this device runs {target.Name}; "
                + $"build with -p:GraphTargets={target.Name}");
        Load(model.Kernels(target.Name));
    }

    /// <summary>Makes emitted kernels ready without a model: for tests and tools.</summary>
    public void Load(TargetKernels emitted)
    {
        MakeCurrent();
        memory.Count(() => LoadModules(emitted), () => FreeBytes, () => GivenBytes);
        if (workspace == 0 && emitted.Kernels.Any(k => k.Info.Kind == KernelKind.RankGradients)) workspace = Allocate(CublasLtGemm.WorkspaceBytes);
    }

    bool LoadModules(TargetKernels emitted)
    {
        var texts = emitted.Kernels.Select(k => k.Text).ToArray();
        kernels.Add(emitted.Kernels, compiler.Value.Get(texts, target.Architecture, i => emitted.Kernels[i].Info.Name + ".cu"));
        return true;
    }

    public IProgram Prepare(IReadOnlyList<BoundLaunch> launches)
    {
        MakeCurrent();
        return memory.Count(() => new CudaProgram(this, NewLauncher(library), launches), () => FreeBytes, () => GivenBytes);
    }

    public bool RunsAhead => true;

    public IHostBuffer AllocateHost(long bytes)
    {
        MakeCurrent();
        return PinnedBuffer.Allocate(Math.Max(bytes, 1));
    }

    public IMarker CreateMarker()
    {
        MakeCurrent();
        return new CudaMarker(this, stream);
    }

    /// <summary>As <see cref="Prepare"/>, with products on the emitted kernels whatever the device's own choice is: to compare the two.</summary>
    public IProgram PrepareEmitted(IReadOnlyList<BoundLaunch> launches)
    {
        MakeCurrent();
        return new CudaProgram(this, NewLauncher(null), launches);
    }

    /// <summary>
    /// The launch runs here in the way that is special about it: a product with its epilogue as one kernel,
    /// or making its sums; attention's backward keeping dS. Kernels must be loaded.
    /// </summary>
    public bool Fuses(BoundLaunch launch) => NewLauncher(library).Fuses(launch);

    public BoundLaunch AsRun(BoundLaunch launch) => NewLauncher(library).AsRun(launch);

    public void Dispose()
    {
        Release();
        Driver.PrimaryContextRelease(ordinal);
    }

    // Whatever the driver answers, everything is given back: this may run because of a device error, which is the one to report.
    void Release()
    {
        Driver.ContextSetCurrent(context);
        // What still runs reads memory and code that go now.
        Driver.StreamSynchronize(stream);
        library?.Dispose();
        if (staging.IsValueCreated) staging.Value.Dispose();
        kernels.Dispose();
        foreach (var address in allocations.Keys) Driver.MemFree(address);
        allocations.Clear();
        foreach (var copy in copies)
            if (copy.IsValueCreated) copy.Value.Dispose();
        stream.Dispose();
    }

    /// <summary>What copies between host and device run on, beside the stream that computes.</summary>
    internal CudaStream CopyStream(Lane lane) => copies[(int)lane].Value;

    /// <summary>A context is current per thread, and callers may come on any.</summary>
    internal void MakeCurrent() => Driver.Check(Driver.ContextSetCurrent(context), "cuCtxSetCurrent");

    Launcher NewLauncher(CublasLtGemm? products) => new(stream, kernels, products, Info.Multiprocessors)
    {
        BeyondLibrary = beyondLibrary,
        Ranks = workspace == 0 ? null : new RankLauncher(stream, kernels, workspace, CublasLtGemm.WorkspaceBytes, Info.Multiprocessors, Driver.CapturesEarlyLaunches()),
    };

    static unsafe byte[] PciBusId(int device)
    {
        const int length = 32;
        var id = new byte[length];
        fixed (byte* start = id) Driver.Check(Driver.DeviceGetPciBusId(start, length, device), "cuDeviceGetPCIBusId");
        return id;
    }

    static bool WantsLibrary(string? gemm) => gemm switch
    {
        "generated" => false,
        "cublas" => true,
        null or "" => CublasLt.Found,
        _ => throw new DeviceException($"cuda: GRAPH_GEMM is '{gemm}'; it can be cublas or generated"),
    };

    CublasLtGemm? OpenLibrary(string? gemm)
    {
        if (gemm == "cublas") NativeLibraries.Require(NativeLibraries.CublasLt, NativeSearch.CublasLt(Environment.GetEnvironmentVariable));
        try
        {
            return new CublasLtGemm(Act, workspace);
        }
        catch (DeviceException) when (gemm != "cublas")
        {
            // A library newer than the driver does not start. The emitted kernels do; doctor says which is used.
            return null;
        }
    }

    // fp16 is what the texts of older targets store; a newer GPU runs them too.
    static IReadOnlyList<string> Storing(IReadOnlyList<string> targets, ActType? act) =>
        act is not { } wanted ? targets : targets.Where(t => CudaTarget.ActOf(t) == wanted).ToArray() is { Length: > 0 } some ? some
        : throw new DeviceException($"cuda: kernels for {string.Join(", ", targets)} store activations as {Name(CudaTarget.ActOf(targets[0]))}, not {Name(wanted)}; "
            + "leave --dtype out, or use an executable with a target that does (fp16: sm_75, bf16: the others)");

    static string Name(ActType act) => act switch { ActType.F32 => "fp32", ActType.Bf16 => "bf16", _ => "fp16" };
}
