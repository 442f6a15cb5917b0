using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Snapshots.Tests;

/// <summary>A device that runs nothing and keeps what a session asks it to prepare.</summary>
sealed class RecordedLaunches : IDevice
{
    readonly List<BoundLaunch> launches = [];

    /// <summary>Every launch of a training session: micro-batch, evaluation, optimizer, adapter copies.</summary>
    /// <param name="variant">A variant of <see cref="Emitted"/>.</param>
    /// <param name="recompute">Every activation that has a recipe is built again in the backward; moments are 8-bit codes and the loss is scaled.</param>
    /// <param name="rankOf">Rank of a linear's adapter; 0: it has none.</param>
    /// <param name="format">Of the frozen linears.</param>
    /// <param name="dropout">Of the adapters.</param>
    public static IReadOnlyList<BoundLaunch> Of(string variant, bool recompute, Func<string, int> rankOf, WeightFormat format = WeightFormat.Act, DropoutOptions? dropout = null)
    {
        var schedule = ScheduleText.Parse(Emitted.Model(variant).ScheduleText);
        var ranks = RankTable.Create(schedule, rankOf);
        // No plan drops a boundary tensor, but recipes of theirs are emitted too.
        var decisions = recompute ? new Decisions("all", schedule.Recipes.ToDictionary(r => r.Tensor, _ => TensorAction.Recompute)) : Decisions.None;
        using var device = new RecordedLaunches();
        using var session = new TrainingSession(device, ExecutionPlan.Create(schedule,
            new PlanOptions(96, ranks, device.Act, 2.0) { Decisions = decisions, Dropout = dropout,
                Storage = WeightStorages.Packed(schedule, _ => format), Moments = recompute ? MomentFormat.Block8 : MomentFormat.Fp32 }),
            new AdamOptions(Scaling: recompute ? new LossScaling() : LossScaling.None));
        return device.launches;
    }

    public DeviceInfo Info { get; } = new("recorder", "none", long.MaxValue, 1, "none");
    public ActType Act => ActType.Bf16;
    public long FreeBytes => long.MaxValue;
    public long AllocatedBytes { get; private set; }
    public long PeakBytes => AllocatedBytes;

    public nint Allocate(long bytes)
    {
        AllocatedBytes += bytes;
        return (nint)(AllocatedBytes - bytes + 4096);
    }

    public IProgram Prepare(IReadOnlyList<BoundLaunch> program)
    {
        // A target without a kernel for product and epilogue runs one after the other.
        launches.AddRange(program.SelectMany(l => l is BoundGemmEpilogue f ? new BoundLaunch[] { f.Gemm, f.Kernel } : [l]));
        return new Nothing();
    }

    public void Free(nint address) { }
    public void Upload(nint destination, ReadOnlySpan<byte> source) { }
    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows) { }
    public void Fill(nint destination, byte value, long bytes) { }
    public void Synchronize() { }
    public void Dispose() { }
    public void Download(Span<byte> destination, nint source) => throw new NotSupportedException("recorder: nothing was computed that could be read.");
    public void Load(CompiledModel model) => throw new NotSupportedException("recorder: it runs no kernels.");

    public bool RunsAhead => false;
    public IHostBuffer AllocateHost(long bytes) => new Nothing();
    public IMarker CreateMarker() => new Nothing();

    sealed class Nothing : IProgram, IHostBuffer, IMarker
    {
        // Host addresses lie apart from the device's.
        public nint Address => 1 << 20;
        public void Run() { }
        public void Set() { }
        public void Wait() { }
        public double Span() => throw new NotSupportedException("recorder: nothing runs here that could be timed.");
        public IReadOnlyList<double> Time() => throw new NotSupportedException("recorder: nothing runs here that could be timed.");
        public void Dispose() { }
    }
}
