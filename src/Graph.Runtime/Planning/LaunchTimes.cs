using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Predicted milliseconds of launches: max(operations / rate of the kind, bytes / bandwidth of the kind) + what a launch costs.
/// Shares of the device's rates by kind are those of the H200's steps (docs/performance.md), so a
/// prediction for another card says that its kernels come as near to its limits.
/// </summary>
public sealed class LaunchTimes
{
    /// <summary>Of the rate of a square product: full tiles of a product in a step, of one with an epilogue, and of one whose D is a few ranks wide.</summary>
    const double GemmShare = 0.89, EpilogueShare = 0.865, RankShare = 0.6;

    /// <summary>Of the copy's bandwidth: row kernels, products of ranks, the optimizer, dq from dS.</summary>
    const double RowShare = 0.84, RankBandwidth = 0.64, OptimizerShare = 0.71, ScoreShare = 0.78;

    /// <summary>Of the bus, what a kernel reaches that reads and writes host memory itself: 40 of 55 GB/s each way on an H200.</summary>
    const double HostStatesShare = 0.73;

    /// <summary>A product whose D has at most this many rows or columns streams the other operand.</summary>
    const int RankExtent = 256;

    readonly Shapes shapes;
    readonly DeviceProfile device;
    readonly int logitsRows, longestDocument;
    readonly ConcurrentDictionary<Launch, double> alone = new(ReferenceEqualityComparer.Instance);

    /// <param name="logitsRows">Rows of the logits scratch.</param>
    /// <param name="longestDocument">Attention is that of documents of this length.</param>
    public LaunchTimes(Shapes shapes, DeviceProfile device, int logitsRows, int longestDocument) =>
        (this.shapes, this.device, this.logitsRows, this.longestDocument) = (shapes, device, logitsRows, longestDocument);

    public DeviceProfile Device => device;

    /// <summary>A launch by itself.</summary>
    public double Of(Launch launch) => alone.GetOrAdd(launch, Alone);

    /// <summary>Two launches that are one, or of which the second reads dS that the first one kept.</summary>
    public double Of(Fusion fusion, Launch first, Launch second) => (fusion, first, second) switch
    {
        (EpilogueFusion f, GemmLaunch g, KernelLaunch k) => Epilogue(f, g, k),
        (RankGradientsFusion, GemmLaunch g, GemmLaunch b) => RankGradients(g, b),
        (ScoreGradientsFusion, KernelLaunch a, KernelLaunch b) => KeptScores(a, b),
        _ => throw new ArgumentException($"predict: unknown fusion {fusion.GetType().Name}."),
    };

    double Epilogue(EpilogueFusion fusion, GemmLaunch product, KernelLaunch row)
    {
        var inPlace = fusion.Places[0] < row.Outputs;
        var d = shapes.Resolve(inPlace ? row.Arguments[0] : product.D);
        var (gemm, kernel) = (Cost(product), Cost(row));
        return Gemm(product, gemm.Flops, gemm.Bytes + kernel.Bytes - 2 * LaunchCost.BytesOf(shapes, d), EpilogueShare);
    }

    // G and dB, from one read of dY.
    double RankGradients(GemmLaunch g, GemmLaunch gradB)
    {
        var (first, second) = (Cost(g), Cost(gradB));
        return Gemm(gradB, first.Flops + second.Flops, first.Bytes + second.Bytes - LaunchCost.BytesOf(shapes, shapes.Resolve(gradB.Segments[0].A)), GemmShare);
    }

    // dk and dv, then dq, with dS kept from one to the other.
    double KeptScores(KernelLaunch dkdv, KernelLaunch dq)
    {
        var facts = dq.Attention!;
        var pairs = Pairs(facts.Window);
        var moved = pairs * facts.Heads * TensorLayout.Size(ElementType.Act, shapes.Act);
        var (first, second) = (Cost(dkdv), Cost(dq));
        return Attention(dkdv, facts, first.Flops, first.Bytes + moved) + Ms(LaunchCost.Attention(facts, AttentionKernel.ProductsFromScores, pairs),
            Rate(KernelKind.AttentionDq, facts), second.Bytes + moved, ScoreShare);
    }

    /// <summary>Gradient norm, clip, AdamW over that many elements.</summary>
    /// <param name="hostStates">AdamW waits for the slower of the two ways of masters and moments over the bus, which run beside each other.</param>
    public double Optimizer(long elements, MomentFormat moments, bool hostStates) =>
        3 * device.LaunchMicroseconds / 1e3
        + Math.Max(Ms(0, 1, OptimizerBytes(moments) * elements, OptimizerShare),
        hostStates ? StateBytes(moments) * elements / (HostStatesShare * 1e6 * Math.Min(device.HostToDeviceGbps, device.DeviceToHostGbps)) : 0);

    // Master and moments, once.
    static long StateBytes(MomentFormat moments) => moments switch
    {
        MomentFormat.Fp32 => 12,
        MomentFormat.Block8 => 6,
        _ => throw new ArgumentException($"predict: unknown format {moments}."),
    };

    // The gradient twice (its norm), master and moments read and written, the rounded copy.
    static long OptimizerBytes(MomentFormat moments) => moments switch
    {
        MomentFormat.Fp32 => 34,
        MomentFormat.Block8 => 22,
        _ => throw new ArgumentException($"predict: unknown format {moments}."),
    };

    /// <summary>Bytes written once: gradients to zero.</summary>
    public double Fill(long bytes) => Ms(0, 1, bytes, RowShare);

    double Alone(Launch launch)
    {
        var cost = Cost(launch);
        return launch switch
        {
            GemmLaunch g => Gemm(g, cost.Flops, cost.Bytes, GemmShare),
            KernelLaunch { Attention: { } facts } k when cost.Flops > 0 => Attention(k, facts, cost.Flops, cost.Bytes),
            KernelLaunch or DequantizeLaunch => Ms(0, 1, cost.Bytes, RowShare),
            CrossEntropyLaunch c => Head(c),
            _ => throw new ArgumentException($"predict: unknown launch {launch.GetType().Name}."),
        };
    }

    LaunchCost Cost(Launch launch)
    {
        var cost = LaunchCost.Of(shapes, launch, Pairs);
        if (launch is not GemmLaunch g) return cost;
        var d = shapes.Resolve(g.D);
        return cost with { Flops = shapes.Segments(g).Sum(s => LaunchCost.Gemm(d.Rows, d.Columns, Depth(g.Layout, s.A))) };
    }

    long Pairs(int? window) => LaunchCost.Pairs(shapes.Tokens, longestDocument, window);

    double Gemm(GemmLaunch g, long flops, long bytes, double share)
    {
        var d = shapes.Resolve(g.D);
        return IsThin(d.Rows, d.Columns) ? Ms(flops, RankShare, bytes, RankBandwidth) : Ms(flops, share * Fill(d.Rows, d.Columns), bytes, RowShare);
    }

    /// <summary>D is ranks by something: what a product with an adapter's A or B makes.</summary>
    static bool IsThin(int rows, int columns) => Math.Min(rows, columns) <= RankExtent;

    // The part of the multiprocessors' time that tiles of the best width fill: the last wave of tiles may be nearly empty. Narrower tiles read their operands more often.
    double Fill(int rows, int columns) => new (int Width, double Share)[] { (256, 1), (192, 0.94), (128, 0.88) }.Max(tile =>
    {
        var tiles = Ceiling(rows, GemmKernel.TileRows) * Ceiling(columns, tile.Width);
        var waves = Ceiling(tiles, device.Multiprocessors);
        return tile.Share * ((double)rows * columns) / ((double)waves * device.Multiprocessors * GemmKernel.TileRows * tile.Width);
    });

    double Attention(KernelLaunch k, AttentionFacts facts, long flops, long bytes) => Ms(flops, Rate(k.Kind, facts), bytes, RowShare);

    // Tiles on the diagonal and a tile's start and end are paid for few keys: rate * keys / (keys + some), keys being
    // those that a query sees on average. Smaller heads have more exponentials for the same products.
    double Rate(KernelKind kind, AttentionFacts facts)
    {
        var keys = (double)Pairs(facts.Window) / shapes.Tokens;
        var forward = kind is KernelKind.AttentionForward;
        var wide = facts.HeadDim > 128 ? forward ? 0.81 : 0.62 : facts.HeadDim > 64 ? forward ? 0.61 : 0.535 : forward ? 0.42 : 0.43;
        var rate = kind is KernelKind.AttentionDq ? 1.25 * wide : wide;
        return rate * keys / (keys + (forward ? 300 : 150));
    }

    double Head(CrossEntropyLaunch c)
    {
        Rectangle x = shapes.Resolve(c.X), table = shapes.Resolve(c.Table);
        var element = TensorLayout.Size(ElementType.Act, shapes.Act);
        var moved = (2L * x.Columns * element + 12) * shapes.Tokens;
        var ms = 2 * Ms(0, 1, moved, RowShare);
        for (var row = 0; row < shapes.Tokens; row += logitsRows)
        {
            var rows = Math.Min(logitsRows, shapes.Tokens - row);
            var flops = LaunchCost.Gemm(rows, table.Rows, x.Columns);
            var bytes = ((long)rows * (x.Columns + table.Rows) + (long)table.Rows * x.Columns) * element;
            ms += Ms(flops, GemmShare * Fill(rows, table.Rows), bytes, RowShare) + Ms(0, 1, (2L * table.Rows * element + 8) * rows, RowShare);
            if (c.DX is not null) ms += Ms(flops, GemmShare * Fill(rows, x.Columns), bytes, RowShare);
        }
        return ms;
    }

    double Ms(long flops, double share, long bytes, double bandwidth) =>
        Math.Max(flops / (device.Tflops * share) / 1e9, bytes / (device.Gbps * bandwidth) / 1e6) + device.LaunchMicroseconds / 1e3;

    static int Depth(GemmLayout layout, Rectangle a) => layout switch
    {
        GemmLayout.Nt or GemmLayout.Nn => a.Columns,
        GemmLayout.Tn => a.Rows,
        _ => throw new ArgumentException($"predict: unknown layout {layout}."),
    };

    static long Ceiling(long count, long unit) => (count + unit - 1) / unit;
}
