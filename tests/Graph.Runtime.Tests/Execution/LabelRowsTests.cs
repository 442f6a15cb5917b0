using System;
using System.Collections.Generic;
using System.Linq;
using System.Numerics;
using System.Runtime.InteropServices;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

/// <summary>A head that works on tokens with a label only, against the products over all tokens, bit for bit.</summary>
public unsafe class LabelRowsTests
{
    const int T = 150, H = TinySchedule.Hidden, V = TinySchedule.Vocabulary, Chunk = 48;
    static readonly Schedule Tiny = TinySchedule.Parse();

    readonly struct Identity : IScore
    {
        public static Vector<float> Value(Vector<float> s, Vector<float> distance, float head) => s;
        public static void ValueAndDerivative(Vector<float> s, Vector<float> distance, float head, out Vector<float> z, out Vector<float> dz) => (z, dz) = (s, Vector<float>.One);
    }

    [Fact]
    public void Inputs_AreTheTokensWithALabelAndTheirPlaces()
    {
        var batch = MicroBatch.Pack(6, [([1, 2, 3, 4, 5], [-100, 7, -100, 0, 9])]);
        Assert.Equal([1, 3, 4, -1, -1, -1], batch[LabelRows.Rows]);
        Assert.Equal([-1, 0, -1, 1, 2, -1], batch[LabelRows.Places]);
        Assert.Equal([3], batch[LabelRows.Count]);
    }

    // None, one, a chunk and its neighbours, several chunks, all; the first tokens or others.
    [Theory]
    [InlineData(0), InlineData(1), InlineData(Chunk - 1), InlineData(Chunk), InlineData(Chunk + 1), InlineData(2 * Chunk), InlineData(2 * Chunk + 1), InlineData(T)]
    public void Head_AnyNumberOfLabels_GivesTheBitsOfProductsOverAllTokens(int labels)
    {
        foreach (var gradient in new[] { true, false })
        {
            var random = new Random(labels);
            float[] x = Random(random, T * H), table = Random(random, V * H);
            var chosen = Enumerable.Range(0, T).OrderBy(_ => random.Next()).Take(labels).ToHashSet();
            var batch = MicroBatch.Pack(T, [(new int[T], [.. Enumerable.Range(0, T).Select(t => chosen.Contains(t) ? random.Next(V) : -100)])]);
            var (loss, dx) = Run(batch, x, table, gradient);
            var (expectedLoss, expectedDx) = OverAll(batch, x, table);
            Assert.Equal(expectedLoss, loss);
            Assert.Equal(labels, loss.Count(l => l != 0));
            // Without a gradient nothing is written there.
            if (gradient) Assert.Equal(expectedDx, dx);
            else Assert.All(dx, v => Assert.True(float.IsNaN(v)));
        }
    }

    [Theory]
    [InlineData(0), InlineData(9), InlineData(10), InlineData(11), InlineData(1000)]
    public void Product_WithARowLimit_LeavesTheRowsBehindTheCount(int count)
    {
        using var device = Device();
        nint a = device.Allocate(4 * 80), b = device.Allocate(4 * 64), d = device.Allocate(4 * 80), at = device.Allocate(4);
        device.Fill(a, 0, 4 * 80);
        device.Fill(b, 0, 4 * 64);
        using var program = device.Prepare([new BoundGemm("d", -1, 0, 0, GemmLayout.Nt, ElementType.Act, d, 8, a, 8, b, 8, 10, 8, 8, 1, false) { Limit = new RowLimit(at, 9) }]);
        device.Upload(at, BitConverter.GetBytes(count));
        program.Run();
        Assert.Equal(8 * Math.Clamp(count - 9, 0, 10), Read(device, d, 80).Count(v => v == 0));
    }

    // The bound launches, all of whose memory is NaN at first.
    static (float[] Loss, float[] Dx) Run(MicroBatch batch, float[] x, float[] table, bool gradient)
    {
        using var device = Device();
        var shapes = new Shapes(Tiny, T, RankTable.Create(Tiny, _ => 0), ActType.F32);
        var head = Tiny.Forward.OfType<CrossEntropyLaunch>().Single();
        if (!gradient) head = head with { DX = null };
        var sizes = shapes.Layouts.ToDictionary(l => l.Tensor.Name, l => l.Bytes);
        foreach (var (name, bytes) in Lifetimes.ScratchOf(shapes, head, Chunk)) sizes[name] = bytes;
        foreach (var (name, count) in LabelRows.Inputs(T)) sizes[name] = 4L * count;
        var addresses = sizes.ToDictionary(s => s.Key, s => device.Allocate(Math.Max(4, s.Value)));
        foreach (var (name, values) in new[] { (head.X.Tensor, x), (head.Table.Tensor, table),
            (ScheduleText.Lower(head.InverseLabels), [0.25f]) }) device.Upload(addresses[name], MemoryMarshal.AsBytes(values.AsSpan()));
        foreach (var name in LabelRows.Inputs(T).Select(i => i.Name).Append("labels")) device.Upload(addresses[name], MemoryMarshal.AsBytes(batch[name].AsSpan()));
        using var program = device.Prepare([.. new LaunchBinder(shapes, 1, Chunk, _ => 0).Bind(head, name => addresses[name])]);
        program.Run();
        return (Read(device, addresses[head.Loss.Tensor], T), Read(device, addresses["dx.3"], T * H));
    }

    // logits = x tableᵀ, the row kernel, dX = dlogits table; every token is a row.
    static (float[] Loss, float[] Dx) OverAll(MicroBatch batch, float[] x, float[] table)
    {
        using var device = Device();
        nint Put<TValue>(TValue[] values) where TValue : unmanaged
        {
            var address = device.Allocate(4 * values.Length);
            device.Upload(address, MemoryMarshal.AsBytes(values.AsSpan()));
            return address;
        }
        nint xAt = Put(x), tableAt = Put(table), logits = device.Allocate(4L * T * V), loss = device.Allocate(4 * T), dx = device.Allocate(4L * T * H);
        BoundLaunch[] launches =
        [
            new BoundGemm("logits", -1, 0, 0, GemmLayout.Nt, ElementType.Act, logits, V, xAt, H, tableAt, H, T, V, H, 1, false),
            new BoundKernel("cross_entropy", -1, 0, 0, "cross_entropy", [new(logits, V, 4 * V), new(loss, 0, 4), new(Put(batch.Labels), 0, 4), new(Put([0.25f]), 0)], T),
            new BoundGemm("dx", -1, 0, 0, GemmLayout.Nn, ElementType.Act, dx, H, logits, V, tableAt, H, T, H, V, 1, false),
        ];
        using var program = device.Prepare(launches);
        program.Run();
        return (Read(device, loss, T), Read(device, dx, T * H));
    }

    static CpuDevice Device()
    {
        var device = new CpuDevice(poison: true);
        device.Load(new Dictionary<string, CpuKernelEntry> { ["cross_entropy"] = new((a, rows) => CpuCrossEntropy.Run<Identity>(a, rows, V, true), true) });
        return device;
    }

    static float[] Random(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];

    static float[] Read(CpuDevice device, nint address, int count)
    {
        var values = new float[count];
        device.Download(MemoryMarshal.AsBytes(values.AsSpan()), address);
        return values;
    }
}
