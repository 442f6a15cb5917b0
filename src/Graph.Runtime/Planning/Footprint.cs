using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>Everything that a run takes on its device, in bytes.</summary>
/// <param name="Driver">Context, modules, the library's code: what the process has before it allocates.</param>
/// <param name="Workspace">Of the products' library and the rank kernels.</param>
/// <param name="Graphs">CUDA graphs, most that they can take, and what is not explained.</param>
/// <param name="Plan">The plan's blocks, as the driver gives memory out.</param>
public readonly record struct Footprint(long Driver, long Workspace, long Graphs, long Plan)
{
    /// <summary>The driver gives memory out in pieces of 2 MiB.</summary>
    public const long Granularity = 2L << 20;

    /// <summary>Workspace of a GPU: cuBLASLt's products and the partial sums of the rank kernels, one after the other on one stream.</summary>
    public const long WorkspaceBytes = 64L << 20;

    /// <summary>
    /// What a launch takes in an instantiated graph, and a graph besides, at most.
    /// On an H200 20,000 launches of a kernel with few parameters took 2.2 KB each; in the graphs of real
    /// plans, whose products have tensor maps as parameters, it was up to 5 KB.
    /// </summary>
    const long LaunchBytes = 6 << 10, GraphBytes = 2L << 20;

    /// <summary>
    /// What a process takes for each token beyond all that is counted, at most. It is not explained: with 8,192 tokens nothing is missing,
    /// with 393,216 on an H200 36 MB were.
    /// </summary>
    const long TokenBytes = 256;

    /// <summary>Launches for a chunk of a cross entropy's rows, at most.</summary>
    const int LaunchesOfChunk = 6;

    /// <summary>Graphs of a session beside the two launch lists: clear, cast, two slots of three.</summary>
    const int OtherGraphs = 8;

    public long Total => Driver + Workspace + Graphs + Plan;

    public static Footprint Of(ExecutionPlan plan, DeviceProfile device) =>
        Of(plan.Memory, plan.Shapes.Tokens, new[] { plan.MicroBatch, plan.Evaluation }.Sum(p => Launches(plan.Shapes, p.Launches, p.Tiled, plan.LogitsRows)), device);

    /// <summary>What a graph of so many launches takes at most.</summary>
    public static long OfGraph(int launches) => GraphBytes + LaunchBytes * launches;

    /// <summary>Launches of a program's graph: those of a tiled run for each tile, a cross entropy's for each chunk of rows.</summary>
    public static int Launches(Shapes shapes, IReadOnlyList<Launch> launches, IReadOnlyList<TiledRun> tiled, int logitsRows)
    {
        var tokens = shapes.Tokens;
        return launches.Count + tiled.Sum(run => (Pieces(tokens, run.Tokens) - 1) * (run.Last - run.First + 1))
            + launches.OfType<CrossEntropyLaunch>().Count() * LaunchesOfChunk * Pieces(tokens, logitsRows);

        static int Pieces(int tokens, int piece) => (tokens + piece - 1) / piece;
    }

    /// <param name="launches">Of the two programs.</param>
    public static Footprint Of(MemoryPlan memory, int tokens, int launches, DeviceProfile device) => device.IsGpu
        ? new Footprint(device.DriverBytes, WorkspaceBytes, LaunchBytes * launches + OtherGraphs * GraphBytes + TokenBytes * tokens, memory.Blocks.Values.Sum(Given))
        : new Footprint(0, 0, 0, memory.PeakBytes);

    /// <summary>What the driver takes for an allocation.</summary>
    public static long Given(long bytes) => (bytes + Granularity - 1) / Granularity * Granularity;
}
