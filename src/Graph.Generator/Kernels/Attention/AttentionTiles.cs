using System;
using Graph.Generator.IR;
using Graph.Generator.Schedules;

namespace Graph.Generator.Kernels;

/// <summary>
/// Literals of attention_*.cu: a block handles TileQ queries against TileK keys at a time (dkdv: it owns the keys) with Warps warps;
/// Stages copies of the walked operand are in shared memory, SharedBytes of it in all (dynamic). One block per TileQ rows (dkdv: TileK) and head (dkdv: kv head).
/// MinBlocks blocks must fit on one multiprocessor (it bounds the registers of a thread); 0: the compiler decides.
/// </summary>
public sealed record AttentionTile(int TileQ, int TileK, int Warps, int Stages, int SharedBytes, int MinBlocks = 0)
{
    public int Threads => Warps * 32;

    /// <summary>
    /// The #define lines of one kernel. The text is these lines, the element's (ELEM_BF16), prelude.cu, mma.cu, what attention's kernels share, the
    /// score's functions, the template.
    /// </summary>
    /// <param name="name">Function name.</param>
    /// <param name="headDim">A multiple of 16 up to 96, or of 32 up to 256.</param>
    /// <param name="group">Query heads per kv head.</param>
    /// <param name="window">Visible keys counting the query itself; 0: all.</param>
    /// <param name="bounded">|score| ≤ 50 is proven and the element is bf16: the softmax needs no row maximum.</param>
    public string Literals(string name, int headDim, int group, int window, bool bounded) => CudaText.Named(name,
        ("HEAD_DIM", headDim), ("GROUP", group), ("WINDOW", window), ("BOUNDED", bounded ? 1 : 0),
        ("TILE_Q", TileQ), ("TILE_K", TileK), ("WARPS", Warps), ("STAGES", Stages), ("MIN_BLOCKS", MinBlocks));
}

/// <summary>
/// The tile of every target, kernel and head dim: large, without spilled registers, and within the target's shared memory per block (64, 163, 99 and 227 KB).
/// Tests assemble all of them.
/// </summary>
public static class AttentionTiles
{
    /// <param name="headDim">A multiple of 16 up to 96, or of 32 up to 256.</param>
    /// <exception cref="ShapeError">There are no kernels for the head dim.</exception>
    public static AttentionTile For(Target target, int headDim, AttentionPart part)
    {
        if (Ops.Attention.HeadDimError(headDim) is { } error) throw new ShapeError(error);
        return (part, headDim, target.SharedKilobytes) switch
        {
            (AttentionPart.Delta, _, _) => Delta(headDim),

            (AttentionPart.Forward, <= 32, _) => Forward(64, 64, 4, headDim),
            (AttentionPart.Forward, <= 128, < 99) => Forward(64, 64, 4, headDim),
            (AttentionPart.Forward, <= 128, < 227) => Forward(128, 64, 4, headDim),
            (AttentionPart.Forward, <= 128, _) => Forward(128, 64, 8, headDim),
            (AttentionPart.Forward, _, < 99) => Forward(64, 16, 4, headDim),
            (AttentionPart.Forward, _, >= 163 and < 227) => Forward(128, 64, 8, headDim),
            (AttentionPart.Forward, _, _) => Forward(64, 64, 4, headDim),

            (AttentionPart.Dq, <= 64, < 99) => Dq(64, 64, 4, headDim),
            (AttentionPart.Dq, < 128, < 99) => Dq(64, 32, 4, headDim),
            (AttentionPart.Dq, 128, < 99) => Dq(32, 32, 4, headDim),
            (AttentionPart.Dq, <= 128, _) => Dq(64, 64, 4, headDim),
            (AttentionPart.Dq, _, < 99) => Dq(32, 16, 2, headDim),
            (AttentionPart.Dq, _, < 163) => Dq(32, 32, 4, headDim),
            (AttentionPart.Dq, _, _) => Dq(64, 64, 8, headDim),

            (AttentionPart.Dkdv, > 32 and <= 128, < 99) => Dkdv(32, 64, 4, 1, headDim),
            (AttentionPart.Dkdv, <= 128, _) => Dkdv(32, 64, 4, 2, headDim),
            (AttentionPart.Dkdv, _, < 99) => Dkdv(32, 16, 2, 1, headDim),
            (AttentionPart.Dkdv, _, < 163) => Dkdv(32, 32, 4, 1, headDim),
            (AttentionPart.Dkdv, _, _) => Dkdv(64, 64, 8, 1, headDim),

            _ => throw new ArgumentException("attention: unknown part " + part),
        };
    }

    /// <summary>
    /// The template on wgmma and its tile: head dim 64, 128 or 256, two warpgroups that multiply (three in the forward of head dims 64 and 128) and one that copies.
    /// null: the kernel is attention_*.cu with the tile of <see cref="For"/>.
    /// </summary>
    public static (string Template, AttentionTile Tile)? Wgmma(Target target, int headDim, AttentionPart part) => !target.HasWgmma ? null : (part, headDim) switch
    {
        (AttentionPart.Forward, 256) => ("attention_forward_sm90", ForwardSm90(2, 64, headDim)),
        (AttentionPart.Forward, 64 or 128) => ("attention_forward_sm90", ForwardSm90(3, 64, headDim)),
        (AttentionPart.Dq, 256) => ("attention_dq_sm90", DqSm90(64, headDim)),
        (AttentionPart.Dq, 64 or 128) => ("attention_dq_sm90", DqSm90(80, headDim)),
        (AttentionPart.Dkdv, 256) => ("attention_dkdv_sm90_d256", new AttentionTile(64, 64, 12, 2, (2 * 64 * headDim + 4 * 64 * headDim + 3 * 64 * 64) * 2 + 16 * 64 + 96)),
        (AttentionPart.Dkdv, 64 or 128) => ("attention_dkdv_sm90_d128", new AttentionTile(64, 128, 12,
            3, (2 * 128 * headDim + 6 * 64 * headDim + 2 * 128 * 64) * 2 + 24 * 64 + 48)),
        _ => null,
    };

    /// <summary>
    /// attention_dq_from_ds_sm90.cu, for which attention_dkdv_sm90_*.cu keeps dS: two heads of a kv head a
    /// block. null: there is no such kernel, and dq is computed from q, k, v and do.
    /// </summary>
    public static AttentionTile? DqFromDs(Target target, int headDim, int group)
    {
        if (Wgmma(target, headDim, AttentionPart.Dkdv) is null || group % 2 != 0) return null;
        var stages = headDim == 256 ? 4 : 6;
        return new AttentionTile(64, 64, 12, stages, stages * (2 * 64 * 64 + 64 * headDim) * 2 + 16 * stages);
    }

    static AttentionTile ForwardSm90(int groups, int tileK, int d) => new(64 * groups, tileK, 4 * (groups + 1), 2, (64 * groups + 4 * tileK) * d * 2 + 64);

    // k has two stages and v two or, of head dim 256, one: V_STAGES of the template.
    static AttentionTile DqSm90(int tileK, int d) => new(128, tileK, 12, 2, (2 * 128 * d + (d <= 128 ? 4 : 3) * tileK * d) * 2 + 64);

    // Elements are 2 bytes. The templates' headers name the parts of each sum.
    static AttentionTile Forward(int tileQ, int tileK, int warps, int d) => new(tileQ, tileK, warps, 1, (tileQ + 2 * tileK) * d * 2, MinBlocks(warps, d));

    static AttentionTile Dq(int tileQ, int tileK, int warps, int d) => new(tileQ, tileK, warps, 1, (2 * tileQ * d + 2 * tileK * d + tileQ * tileK) * 2, MinBlocks(warps, d));

    static AttentionTile Dkdv(int tileQ, int tileK, int warps, int stages, int d) =>
        new(tileQ, tileK, warps, stages, (2 * tileK * d + 2 * stages * tileQ * d + 2 * tileK * tileQ) * 2, MinBlocks(warps, d));

    // Left alone, NVRTC 12.4 sometimes spills a few registers of a small tile to fit one more block.
    static int MinBlocks(int warps, int d) => d < 128 ? 8 / warps : 0;

    // Up to four chunks of 16 bytes of both operands a thread, whatever rows they are in: 16 KB of a block in flight. Lanes share a row as attention_delta.cu says.
    static AttentionTile Delta(int d)
    {
        int chunks = d / 8, lanes = Math.Min(8, chunks & -chunks);
        return new AttentionTile(4 * 32 / lanes * Math.Max(1, 4 * lanes / chunks), 16, 4, 1, 0);
    }
}
