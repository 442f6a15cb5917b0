using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// dS, the gradient of attention's raw scores, kept from the kernel that makes dk and dv to the one that makes dq right after it:
/// dq is then one product, dS·k, instead of three. It grows with the square of
/// a document's length, so it only takes room in the arena that the two launches find empty; without that dq is computed from q, k, v and dO.
/// Tiles (<see cref="AttentionKernel.ScoreTile"/>) that can hold a visible pair, 2 bytes a pair.
/// </summary>
public static class ScoreGradients
{
    /// <summary>Its name in the arena.</summary>
    public const string Scratch = "attention.score_gradients";

    const int Tile = AttentionKernel.ScoreTile;

    /// <summary>Key tiles of a tile of queries, at most: keys reach back by the window or the longest document.</summary>
    public static int Tiles(int tokens, int longestDocument, int? window) => Math.Min(Count(tokens), Count(Math.Min(longestDocument, window ?? longestDocument) - 1) + 1);

    /// <summary>What the launch before <paramref name="at"/> writes for it.</summary>
    public static Lifetime Lifetime(Shapes shapes, KernelLaunch dq, int at, int longestDocument)
    {
        long tiles = Tiles(shapes.Tokens, longestDocument, dq.Attention!.Window), all = Count(shapes.Tokens);
        // The first tiles of queries see 1, 2, 3, ... tiles of keys.
        var pairs = tiles * (tiles + 1) / 2 + (all - tiles) * tiles;
        return new Lifetime(Scratch, at - 1, at, dq.Attention.Heads * pairs * Tile * Tile * TensorLayout.Size(ElementType.Act, shapes.Act));
    }

    /// <summary>One of the two launches, with dS at <paramref name="address"/>.</summary>
    public static BoundKernel Bind(Shapes shapes, ScoreGradientsFusion fusion, KernelLaunch launch, BoundKernel bound, nint address, int longestDocument, long pairs)
    {
        var (facts, starts) = (launch.Attention!, launch.Kind == KernelKind.AttentionDq);
        var flops = LaunchCost.Attention(facts, AttentionKernel.ProductsFromScores, pairs);
        var moved = pairs * facts.Heads * TensorLayout.Size(ElementType.Act, shapes.Act);
        return bound with
        {
            ScoreGradients = new KeptScoreGradients(fusion.Kernel, starts, address, Tiles(shapes.Tokens, longestDocument, facts.Window), flops, moved),
        };
    }

    /// <summary>A launch on a device that keeps dS: both kernels move it, and dq has fewer products.</summary>
    public static BoundKernel Keeping(BoundKernel bound, KeptScoreGradients kept) =>
        bound with { Flops = kept.Starts ? kept.Flops : bound.Flops, Bytes = bound.Bytes + kept.Bytes };

    static int Count(int tokens) => (tokens + Tile - 1) / Tile;
}
