using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

/// <summary>The most tokens that one row with one document can have inside a budget.</summary>
sealed class LongestContext(ModelSource source, SessionRequest request, DeviceProfile device)
{
    /// <summary>Answers are multiples of this, and at most so many tokens or one part of <see cref="Share"/> below the longest.</summary>
    public const int Unit = 64;

    /// <summary>Parts of an answer that the longest may lie above it: one of so many, or of so many in a picture.</summary>
    public const int Share = 128, ShareOfPictures = 40;

    /// <summary>Where the search begins, and an answer that none is above.</summary>
    const int First = 8192, Most = 16 << 20;

    /// <summary>Bytes of tokens that were tried, for this budget or another.</summary>
    readonly SortedList<int, long> known = [];

    /// <summary>0: not even one <see cref="Unit"/> fits.</summary>
    public int Of(long budget, int share = Share)
    {
        if (Least(Unit) > budget) return 0;
        Least(First);
        var not = known.Where(k => k.Value > budget).Select(k => k.Key).DefaultIfEmpty(0).First();
        var fits = known.Keys.Last(tokens => not == 0 || tokens < not);
        // Bytes grow nearly in proportion: what is a little too much lies above the line through the fewest and the most that are known.
        while (not == 0)
        {
            if (fits == Most) return Most;
            var next = (int)Math.Min(Most, Line(Unit, Least(Unit) - budget, fits, Least(fits) - budget) * 1.125) / Unit * Unit;
            if (Least(next) > budget) not = next;
            else fits = next;
        }
        // The Illinois method: the next try lies on the line between the two, and where one of them stays, it counts half as much each time.
        var (below, above) = ((double)(Least(fits) - budget), (double)(Least(not) - budget));
        for (var side = 0; Math.Max(Unit, fits / share) is var near && not - fits > near;)
        {
            var next = (not - fits <= 2 * near ? (fits + not) / 2 : (int)Math.Clamp(Line(fits, below, not, above), fits + near, not - near)) / Unit * Unit;
            var over = Least(next) - budget;
            if (over > 0) (not, above, below, side) = (next, over, side > 0 ? below / 2 : below, 1);
            else (fits, below, above, side) = (next, over, side < 0 ? above / 2 : above, -1);
        }
        return fits;
    }

    /// <summary>Where a line through two points passes 0.</summary>
    static double Line(int x0, double y0, int x1, double y1) => y1 > y0 ? x0 - y0 * (x1 - x0) / (y1 - y0) : Most;

    long Least(int tokens)
    {
        if (!known.TryGetValue(tokens, out var bytes))
            known[tokens] = bytes = PlanFrontier.LeastBytes(source.Schedule,
                PlanRequest.Options(source, request with { Tokens = tokens, Seq = tokens, MicroBatches = 1 }, device), device, request.Host.Choices(device));
        return bytes;
    }
}
