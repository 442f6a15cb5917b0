using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>
/// Launches First to Last of a program run tile by tile: all of them for tokens [0, Tokens), then all of them for [Tokens, 2·Tokens), and so on; the last tile may be shorter.
/// </summary>
public readonly record struct TiledRun(int First, int Last, int Tokens);

/// <summary>
/// Launches that do not mix tokens can run tile by tile. A tensor that only such a run touches then needs a tile's rows;
/// what crosses the run's border keeps a row per token, and its place
/// from the run's first launch to its last. A longer run has more tensors of its own and keeps more of others, so where runs begin and end is chosen by what is alive.
/// </summary>
public static class TokenTiles
{
    /// <summary>Launches of a run at most: the choice takes the square of this.</summary>
    const int MostLaunches = 256;

    /// <summary>Tokens that every tile must be a multiple of: what adapters' gradients are summed by (<see cref="GemmKernel.TokenUnit"/>).</summary>
    public static int Unit(PlanOptions options) =>
        options.TokenUnit ?? options.Ranks.Adapters.Select(a => options.Ranks[a.Stack]).Append(1).Max(GemmKernel.TokenUnit);

    /// <summary>Tiles of the run that the launch is in; null: it sees all tokens at once.</summary>
    public static TiledRun? At(IReadOnlyList<TiledRun> runs, int launch) => runs.Where(r => r.First <= launch && launch <= r.Last).Select(r => (TiledRun?)r).FirstOrDefault();

    /// <summary>The fewest launches whose tiling brings what is alive at each launch to <paramref name="room"/> bytes, or as near as it can there.</summary>
    /// <param name="lifetimes">Without tiles.</param>
    /// <param name="kept">Tensors that survive the last launch.</param>
    /// <param name="tile">Tokens of a tile; as many as there are, or more: nothing is tiled.</param>
    /// <param name="room">Null: the least that all of them can reach.</param>
    public static IReadOnlyList<TiledRun> Choose(Shapes shapes, IReadOnlyList<Launch> launches, IReadOnlyList<Lifetime> lifetimes, IReadOnlySet<string> kept, int tile, long? room)
    {
        if (tile >= shapes.Tokens || launches.Count == 0) return [];
        var alive = Arena.Alive(lifetimes, launches.Count);

        var ending = lifetimes.Where(l => TileBytes(shapes, l, kept, tile) is not null).ToLookup(l => l.Last);
        var starting = lifetimes.ToLookup(l => l.First);
        var runs = new List<(int First, int Count)>();
        var least = 0L;
        for (var at = 0; at < launches.Count; at++)
            if (!MixesNoTokens(shapes, launches[at])) least = Math.Max(least, alive[at]);
            else if (runs.Count > 0 && runs[^1] is var (first, count) && first + count == at) runs[^1] = (first, count + 1);
            else runs.Add((at, 1));
        var leastOf = runs.Select(Least).ToArray();
        var limit = room ?? leastOf.Append(least).Max();
        return [.. runs.SelectMany((run, i) => Fewest(run, Math.Max(limit, leastOf[i])))];

        // The least that the most alive at a launch of the run can be.
        long Least((int First, int Count) run)
        {
            var least = Enumerable.Repeat(long.MaxValue, run.Count + 1).ToArray();
            least[0] = 0;
            for (var i = 0; i < run.Count; i++)
            {
                Lower(i + 1, alive[run.First + i]);
                foreach (var (end, bytes) in From(run, i)) Lower(end, bytes);

                void Lower(int end, long bytes) => least[end] = Math.Min(least[end], Math.Max(least[i], bytes));
            }
            return least[^1];
        }

        IEnumerable<TiledRun> Fewest((int First, int Count) run, long limit)
        {
            // Per launch: how many before it are tiled at least, and where the last step to it began, tiled or not.
            var fewest = Enumerable.Repeat((Tiled: int.MaxValue, From: 0, ByTile: false), run.Count + 1).ToArray();
            fewest[0].Tiled = 0;
            for (var i = 0; i < run.Count; i++)
            {
                if (fewest[i].Tiled == int.MaxValue) continue;
                Step(i + 1, alive[run.First + i], 0, false);
                foreach (var (end, bytes) in From(run, i)) Step(end, bytes, end - i, true);

                void Step(int end, long bytes, int tiled, bool byTile)
                {
                    if (bytes <= limit && fewest[i].Tiled + tiled < fewest[end].Tiled) fewest[end] = (fewest[i].Tiled + tiled, i, byTile);
                }
            }
            var chosen = new Stack<TiledRun>();
            for (var end = run.Count; end > 0; end = fewest[end].From)
                if (fewest[end].ByTile) chosen.Push(new TiledRun(run.First + fewest[end].From, run.First + end - 1, tile));
            return chosen;
        }

        // Tiled runs that begin at launch i of a maximal one and have tensors of their own: where they end (exclusive), and the most bytes alive in one.
        // None parts two launches that may be one, and none adds to a gradient twice: by tiles the two sums would take turns.
        IEnumerable<(int End, long Bytes)> From((int First, int Count) run, int i)
        {
            var first = run.First + i;
            if (i > 0 && shapes.FusionAt(launches, first) is not null) yield break;
            var (whole, own, mostOwn, sums) = (alive[first], new long[Math.Min(run.Count - i, MostLaunches)], 0L, new HashSet<string>());
            for (var j = 0; j < own.Length; j++)
            {
                var at = first + j;
                if (launches[at] is GemmLaunch { Layout: GemmLayout.Tn } sum && !sums.Add(sum.D.Tensor)) yield break;
                if (j > 0) whole += starting[at].Sum(l => Arena.Align(l.Bytes));
                foreach (var l in ending[at])
                {
                    if (l.First < first) continue;
                    whole -= Arena.Align(l.Bytes);
                    for (var k = l.First - first; k <= j; k++) mostOwn = Math.Max(mostOwn, own[k] += TileBytes(shapes, l, kept, tile)!.Value);
                }
                if (mostOwn > 0 && (i + j + 1 == run.Count || shapes.FusionAt(launches, at + 1) is null)) yield return (i + j + 1, whole + mostOwn);
            }
        }
    }

    /// <summary>The lifetimes of a program whose runs are tiled.</summary>
    public static IReadOnlyList<Lifetime> Apply(Shapes shapes, IReadOnlyList<Lifetime> lifetimes, IReadOnlySet<string> kept, IReadOnlyList<TiledRun> runs)
    {
        if (runs.Count == 0) return lifetimes;
        var result = new List<Lifetime>();
        foreach (var of in lifetimes.Select(Tiled).GroupBy(l => l.Tensor))
        {
            // Kept to a run's border, two lifetimes of a tensor may meet: they hold the same, since what writes a tensor again gives it the same bits.
            Lifetime? last = null;
            foreach (var l in of.OrderBy(l => l.First).ThenByDescending(l => l.Last))
                if (last is null || l.First > last.Last || last.PerTile) result.Add(last = l);
                else if (l.Last > last.Last) result[^1] = last = last with { Last = l.Last };
        }
        return result.OrderBy(l => l.First).ThenBy(l => l.Tensor, StringComparer.Ordinal).ToArray();

        Lifetime Tiled(Lifetime l)
        {
            var (first, last) = (At(runs, l.First), At(runs, l.Last));
            if (first is { } run && first == last && TileBytes(shapes, l, kept, run.Tokens) is { } bytes) return l with { Bytes = bytes, PerTile = true };
            return l with { First = first?.First ?? l.First, Last = last?.Last ?? l.Last };
        }
    }

    // Bytes of a tensor's tile, or of a weight that is made anew for every tile; null: it has no row per token, or outlives the program.
    static long? TileBytes(Shapes shapes, Lifetime l, IReadOnlySet<string> kept, int tile) =>
        shapes.Packed(l.Tensor) is not null ? Arena.Align(l.Bytes) : shapes.BytesPerToken(l.Tensor) is > 0 and var bytes && !kept.Contains(l.Tensor)
        ? Arena.Align(bytes * tile) : null;

    /// <summary>Tokens of the launch need nothing of each other, so it can run tile by tile.</summary>
    public static bool MixesNoTokens(Shapes shapes, Launch launch) => launch switch
    {
        // What sums over tokens adds to an adapter's gradient, a unit of tokens after the other. A weight's is too large to be read and written for every unit.
        // The mask of a dropout counts tokens from the first one.
        GemmLaunch g when AdapterDropout.DroppedSegments(shapes, g).Count > 0 => false,
        GemmLaunch g => shapes[g.D.Tensor].Tensor is { Tokens: true } or { Kind: TensorKind.GradA or TensorKind.GradB },
        KernelLaunch k => k.Kind switch
        {
            KernelKind.Row or KernelKind.Rope or KernelKind.AttentionDelta => true,
            KernelKind.AttentionForward or KernelKind.AttentionDkdv or KernelKind.AttentionDq or KernelKind.TokenSum or KernelKind.EmbeddingGradient => false,
            _ => throw new ArgumentException($"tiles: a launch of {k.Kernel} cannot be of kind {k.Kind}."),
        },
        // It has chunks of its own, of the tokens with a label.
        CrossEntropyLaunch => false,
        // Copies stand in one of a run's tiles (Transfers).
        DequantizeLaunch or TransferStart or TransferWait => true,
        _ => throw new ArgumentException($"tiles: unknown launch {launch.GetType().Name}."),
    };
}
