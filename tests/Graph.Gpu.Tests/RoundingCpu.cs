using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Graph.Runtime;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Optimizers;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// The CPU as a bf16 device: weights, adapters' copies and every activation that a launch writes are rounded,
/// as a composition of the same math in 16 bits would store them. With a seed, values are
/// disturbed by up to 3/4 of a unit roundoff first (<see cref="ErrorRule"/> says why), so that seeds give different compositions.
/// </summary>
sealed unsafe class RoundingCpu : IDevice
{
    readonly CpuDevice cpu = new();
    readonly Dictionary<string, (bool Act, int Columns)[]> outputs;
    readonly uint seed;
    uint stores;

    internal RoundingCpu(Shapes shapes, IReadOnlyDictionary<string, CpuKernelEntry> kernels, int seed)
    {
        this.seed = (uint)seed;
        cpu.Load(kernels);
        var launches = shapes.Schedule.Forward.Concat(shapes.Schedule.Backward).ToArray();
        outputs = launches.OfType<KernelLaunch>().GroupBy(k => k.Kernel)
            .ToDictionary(g => g.Key, g => g.First().Arguments.Take(g.First().Outputs)
                .Select(v => (shapes[v.Tensor].Tensor.Type == ElementType.Act, shapes.Resolve(v).Columns)).ToArray());
        foreach (var head in launches.OfType<CrossEntropyLaunch>()) outputs[head.Kernel] = [(true, shapes.Resolve(head.Table).Rows)];
    }

    public DeviceInfo Info => cpu.Info;
    public ActType Act => cpu.Act;
    public long FreeBytes => cpu.FreeBytes;
    public long AllocatedBytes => cpu.AllocatedBytes;
    public long PeakBytes => cpu.PeakBytes;
    public nint Allocate(long bytes) => cpu.Allocate(bytes);
    public void Free(nint address) => cpu.Free(address);
    public void Upload(nint destination, ReadOnlySpan<byte> source) => cpu.Upload(destination, source);
    public void Download(Span<byte> destination, nint source) => cpu.Download(destination, source);
    public void Fill(nint destination, byte value, long bytes) => cpu.Fill(destination, value, bytes);
    public void Synchronize() => cpu.Synchronize();
    public void Load(CompiledModel model) => throw new NotSupportedException("the kernels were given to the constructor");
    public bool RunsAhead => cpu.RunsAhead;
    public IHostBuffer AllocateHost(long bytes) => cpu.AllocateHost(bytes);
    public IMarker CreateMarker() => cpu.CreateMarker();
    public void Dispose() => cpu.Dispose();

    /// <summary>Frozen weights come this way, and they alone.</summary>
    public void Upload2D(nint destination, long pitchBytes, ReadOnlySpan<byte> source, long widthBytes, int rows)
    {
        cpu.Upload2D(destination, pitchBytes, source, widthBytes, rows);
        Round(destination, (int)(pitchBytes / 4), rows, (int)(widthBytes / 4), disturb: false);
    }

    public IProgram Prepare(IReadOnlyList<BoundLaunch> launches) =>
        new Program([.. launches.SelectMany(l => l is BoundGemmEpilogue f ? new BoundLaunch[] { f.Gemm, f.Kernel } : [l]).Select(l => (cpu.Prepare([l]), l))], this);

    void Stored(BoundLaunch launch)
    {
        if (launch is BoundGemm { DType: ElementType.Act } g) Round(g.D, g.DPitch, g.M, g.N, disturb: true);
        else if (launch is BoundRankGradients both) Stored(both.G);
        else if (launch is BoundKernel { Kernel: "adamw" or "adamw_8bit" or "cast_adapters" } update)
        {
            // The table's pitch is its number of segments.
            foreach (var s in new ReadOnlySpan<AdamSegment>((void*)update.Arguments[0].Address, update.Arguments[0].Pitch))
                Round((nint)s.Copy, s.CopyPitch, s.Rows, s.Columns, disturb: false);
        }
        else if (launch is BoundKernel k && outputs.TryGetValue(k.Kernel, out var written))
        {
            for (var i = 0; i < written.Length; i++)
                if (written[i].Act) Round(k.Arguments[i].Address, k.Arguments[i].Pitch, k.Rows, written[i].Columns, disturb: true);
        }
    }

    void Round(nint address, int pitch, int rows, int columns, bool disturb)
    {
        var random = seed == 0 || !disturb ? 0 : (seed + ++stores) * 2654435761u;
        Parallel.For(0, rows, row =>
        {
            var values = new Span<float>((float*)address + (long)row * pitch, columns);
            var state = random + (uint)row * 0x9E3779B9u;
            for (var i = 0; i < values.Length; i++)
            {
                // A counter's hash: within ±3/4 of a unit roundoff.
                state = (state ^ state >> 15) * 0x2C1B3C6Du + 0x297A2D39u;
                values[i] = Elem.Round(random == 0 ? values[i] : values[i] * (1 + (state >> 8) / 16777216f * 1.5f * Elem.UnitRoundoff - 0.75f * Elem.UnitRoundoff));
            }
        });
    }

    sealed class Program((IProgram Program, BoundLaunch Launch)[] launches, RoundingCpu device) : IProgram
    {
        public void Run()
        {
            foreach (var (program, launch) in launches)
            {
                program.Run();
                device.Stored(launch);
            }
        }

        public IReadOnlyList<double> Time() => throw new NotSupportedException("a composition's time means nothing");

        public double Span() => throw new NotSupportedException("a composition's time means nothing");

        public void Dispose()
        {
            foreach (var (program, _) in launches) program.Dispose();
        }
    }
}
