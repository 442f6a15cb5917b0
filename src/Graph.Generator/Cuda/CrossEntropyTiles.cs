using System;

namespace Graph.Generator.Cuda;

/// <summary>Literals of Templates/cross_entropy.cu: threads of a block, and how many elements of a row stay in its shared memory between the two passes.</summary>
public sealed record CrossEntropyTile(int Threads, int Cached)
{
    /// <summary>Dynamic shared memory in bytes: 2 per cached element.</summary>
    public int SharedBytes => 2 * Cached;
}

public static class CrossEntropyTiles
{
    // A block may have 64, 163, 99 and 227 KB of shared memory; 1 KB is left for the block's sums.
    public static CrossEntropyTile For(string target, int vocab)
    {
        var kilobytes = target switch
        {
            "sm_75" => 63,
            "sm_80" => 162,
            "sm_86" or "sm_89" => 98,
            "sm_90a" => 226,
            _ => throw new ArgumentException("cross entropy: target '" + target + "' has no tile; add a row to CrossEntropyTiles.For"),
        };
        return new CrossEntropyTile(1024, Math.Min(vocab, kilobytes * 512) / 8 * 8);
    }
}
