using System;

namespace Graph.Generator.Cuda;

/// <summary>
/// Literals of Templates/cross_entropy.cu: threads of a block, and how many elements of a row stay in its shared memory between the two passes. A Cluster above 1 is the number of
/// blocks that share a row, each with Cached of its elements: Templates/cross_entropy_sm90.cu.
/// </summary>
public sealed record CrossEntropyTile(int Threads, int Cached, int Cluster)
{
    /// <summary>Dynamic shared memory in bytes: 2 per cached element.</summary>
    public int SharedBytes => 2 * Cached;
}

public static class CrossEntropyTiles
{
    /// <summary>Blocks of a row on sm_90a: as many as every device of the target can start together.</summary>
    const int Cluster = 8;

    // A block may have 64, 163, 99 and 227 KB of shared memory; 1 KB is left for the block's sums.
    /// <param name="bound">Proven bound of the logits' magnitude; 0: none.</param>
    public static CrossEntropyTile For(string target, int vocab, int bound)
    {
        // An eighth of the row and 512 threads, so that three blocks fit a multiprocessor.
        var part = (vocab / 8 + Cluster - 1) / Cluster * 8;
        if (target == "sm_90a" && bound > 0 && 2 * part <= 74 * 1024) return new CrossEntropyTile(512, part, Cluster);
        var kilobytes = target switch
        {
            "sm_75" => 63,
            "sm_80" => 162,
            "sm_86" or "sm_89" => 98,
            "sm_90a" => 226,
            _ => throw new ArgumentException("cross entropy: target '" + target + "' has no tile; add a row to CrossEntropyTiles.For"),
        };
        return new CrossEntropyTile(1024, Math.Min(vocab, kilobytes * 512) / 8 * 8, 1);
    }
}
