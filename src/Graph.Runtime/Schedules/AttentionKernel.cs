#if GRAPH_GENERATOR
namespace Graph.Generator.Schedules;
#else
namespace Graph.Runtime.Schedules;
#endif

/// <summary>Facts that emitted attention kernels and the runtime share: how dS lies between the kernel of dk and dv and that of dq.</summary>
public static class AttentionKernel
{
    /// <summary>Queries and keys of a tile of dS; a tile is kept when it can hold a visible pair.</summary>
    public const int ScoreTile = 64;

    /// <summary>Products over the pairs that dq takes from dS: dS·k.</summary>
    public const int ProductsFromScores = 1;
}
