using System;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Floors of a launch: floating-point operations of its matrix products, and bytes it must move when every argument is read or written once. A cross entropy is counted
/// without its scratch; a copy between host and device moves its bytes at its start.
/// </summary>
public readonly record struct LaunchCost(long Flops, long Bytes)
{
    /// <param name="pairs">Pairs of a query and a key that it sees, with a window or without.</param>
    public static LaunchCost Of(Shapes shapes, Launch launch, Func<int?, long> pairs)
    {
        if (launch is TransferWait) return default;
        var accesses = shapes.Of(launch);
        // A row kernel gathers from a table: a row per token, not all of them.
        var bytes = accesses.Reads.Concat(accesses.Writes)
            .Select(r => launch is KernelLaunch && shapes[r.Tensor] is { IsMatrix: true, Tensor.Kind: TensorKind.Weight or TensorKind.GradWeight }
                ? r with { RowEnd = Math.Min(r.RowEnd, r.Row + shapes.Tokens) } : r).Sum(r => BytesOf(shapes, r));
        return new LaunchCost(Operations(shapes, launch, pairs), bytes);
    }

    static long Operations(Shapes shapes, Launch launch, Func<int?, long> pairs) => launch switch
    {
        GemmLaunch g => shapes.Resolve(g.D) is var d ? shapes.Segments(g).Sum(s => Gemm(d.Rows, d.Columns, g.Layout == GemmLayout.Tn ? s.A.Rows : s.A.Columns)) : 0,
        KernelLaunch { Attention: { } facts } => Attention(facts, facts.Products, pairs(facts.Window)),
        CrossEntropyLaunch c => (1 + (c.DX is null ? 0 : 1) + (c.DTable is null ? 0 : 1)) * Gemm(shapes.Tokens, shapes.Resolve(c.Table).Rows, shapes.Resolve(c.Table).Columns),
        KernelLaunch or DequantizeLaunch or TransferStart or TransferWait => 0,
        _ => throw new ArgumentException($"cost: unknown launch {launch.GetType().Name}."),
    };

    /// <summary>Products over all visible pairs and the query heads' width.</summary>
    public static long Attention(AttentionFacts facts, int products, long pairs) => products * 2L * pairs * facts.Heads * facts.HeadDim;

    public static long Gemm(long m, long n, long k) => 2 * m * n * k;

    /// <summary>Of a block-diagonal B its blocks.</summary>
    public static long Gemm(long m, long n, GemmOperands segment) => segment.Blocks is { } blocks ? blocks.Sum(b => Gemm(m, b.Columns, b.Rank)) : Gemm(m, n, segment.K);

    public static long BytesOf(Shapes shapes, Rectangle r) => r.IsEmpty ? 0 : (long)r.Rows * r.Columns * shapes[r.Tensor].ElementBytes;

    /// <summary>Pairs of causal attention over documents of one length, the last one shorter: token p of a document sees min(p + 1, window) keys.</summary>
    public static long Pairs(int tokens, int document, int? window)
    {
        document = Math.Min(document, tokens);
        return (tokens / document) * Of(document) + Of(tokens % document);

        long Of(long length) => Math.Min(length, window ?? length) is var seen ? seen * (seen + 1) / 2 + (length - seen) * seen : 0;
    }
}
