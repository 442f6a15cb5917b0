using System;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

/// <summary>The most tokens that one row with one document can have inside a budget.</summary>
static class LongestContext
{
    /// <summary>Answers are multiples of this.</summary>
    public const int Unit = 64;

    const int Most = 4 << 20;

    /// <summary>0: not even one <see cref="Unit"/> fits.</summary>
    public static int Of(Schedule schedule, SessionRequest request, DeviceProfile device, long budget)
    {
        var (fits, not) = (0, Unit);
        while (not <= Most && Fits(not)) (fits, not) = (not, 2 * not);
        for (var step = (not - fits) / 2 / Unit * Unit; step >= Unit; step = Math.Min(step / 2, (not - fits) / 2) / Unit * Unit)
            if (Fits(fits + step)) fits += step;
            else not = fits + step;
        return fits;

        bool Fits(int tokens) => PlanFrontier.LeastBytes(source.Schedule, PlanRequest.Options(source, request with { Tokens = tokens, Seq = tokens, MicroBatches = 1 }, device), device) <= budget;
    }
}
