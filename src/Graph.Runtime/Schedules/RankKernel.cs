#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Facts of the emitted kernels that make G and dB of a stack of adapters from one read of dY. Ranks and targets without one run as two products.</summary>
public static class RankKernel
{
    /// <summary>Padded ranks of one adapter.</summary>
    public static readonly int[] Ranks = { 16, 32 };

    /// <summary>Most adapters of a stack that a launch tells apart.</summary>
    public const int MaxBlocks = 4;

    /// <summary>Tokens whose dB is summed before it is added (<see cref="GemmKernel.TokenUnit"/>).</summary>
    public const int TokenUnit = 1024;

    /// <summary>Most tile columns in a stripe: what a warp's registers hold of dB and B. One launch may take narrower stripes.</summary>
    public static int Width(int rank) => rank == 16 ? 2 : 1;
}
