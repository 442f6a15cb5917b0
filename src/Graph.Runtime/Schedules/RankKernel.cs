#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>The emitted kernels that make G and dB of a group from one read of dY, and their kind in <see cref="KernelInfo"/>. Ranks without one run as two products.</summary>
public static class RankKernel
{
    public const string Kind = "rank";

    /// <summary>Padded ranks of one linear.</summary>
    public static readonly int[] Ranks = { 16, 32 };

    /// <summary>Most linears of a group that a launch tells apart.</summary>
    public const int MaxBlocks = 4;

    /// <summary>Most tile columns in a stripe: what a warp's registers hold of dB and B. One launch may take narrower stripes.</summary>
    public static int Width(int rank) => rank == 16 ? 2 : 1;

    public static bool IsEmitted(string target) => target == "sm_90a";

    /// <summary>Partial sums of both.</summary>
    public static string Gradients(int rank) => "rank_gradients_r" + rank;

    /// <summary>Adds them up.</summary>
    public static string Sum(int rank) => "rank_sum_r" + rank;
}
