using System;
using System.Collections.Generic;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

/// <summary>The most tokens that one row with one document can have inside a budget.</summary>
sealed class LongestContext(ModelSource source, SessionRequest request, DeviceProfile device)
{
    /// <summary>Answers are multiples of this, and at most so many tokens or a hundredth below the longest.</summary>
    public const int Unit = 64;

    const int First = 8192, Most = 16 << 20, Share = 128;

    readonly SortedList<int, long> known = [];

    /// <summary>0: not even one <see cref="Unit"/> fits.</summary>
    public int Of(long budget)
    {
        var (fits, not) = (0, Most);
        if (Least(Unit) > budget) return 0;
        // Bytes grow nearly in proportion: the next try lies on the line through two that are known.
        var next = First;
        while (not - fits > Math.Max(Unit, fits / Share))
        {
            if (Least(next) <= budget) fits = next;
            else not = next;
            if (not - fits > Unit) next = Between(fits, not, budget);
        }
        return Math.Max(fits, Unit);
    }

    /// <summary>Tokens at which a line through known points passes the budget, a little below, where the answer ends the search.</summary>
    int Between(int fits, int not, long budget)
    {
        var (low, high) = (Math.Max(fits, Unit), not < Most ? not : Math.Max(fits, First));
        if (low >= high) low = Unit;
        var slope = Math.Max(1, (double)(Least(high) - Least(low)) / (high - low));
        var tokens = (low + (budget - Least(low)) / slope) * (1 - 0.25 / Share);
        return (int)Math.Clamp(tokens / Unit, fits / Unit + 1, (not - 1) / Unit) * Unit;
    }

    long Least(int tokens)
    {
        if (!known.TryGetValue(tokens, out var bytes))
            known[tokens] = bytes = PlanFrontier.LeastBytes(source.Schedule,
                PlanRequest.Options(source, request with { Tokens = tokens, Seq = tokens, MicroBatches = 1 }, device), device, request.Host.Choices(device));
        return bytes;
    }
}
