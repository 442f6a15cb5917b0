using System.Linq;

namespace Graph.Runtime.Planning;

/// <summary>Everything that a run takes on its device, in bytes.</summary>
/// <param name="Driver">Context, modules, the library's code: what the process has before it allocates.</param>
/// <param name="Workspace">Of the products' library and the rank kernels.</param>
/// <param name="Graphs">CUDA graphs, most that they can take.</param>
/// <param name="Plan">The plan's blocks, as the driver gives memory out.</param>
public readonly record struct Footprint(long Driver, long Workspace, long Graphs, long Plan)
{
    /// <summary>The driver gives memory out in pieces of 2 MiB.</summary>
    public const long Granularity = 2L << 20;

    /// <summary>Workspace of a GPU: cuBLASLt's products and the partial sums of the rank kernels, one after the other on one stream.</summary>
    public const long WorkspaceBytes = 64L << 20;

    /// <summary>What a launch takes in an instantiated graph, and a graph besides: upper ends of what drivers were seen to take.</summary>
    const long LaunchBytes = 12 << 10, GraphBytes = 4L << 20;

    /// <summary>Graphs of a session beside the two launch lists: clear, cast, two slots of three.</summary>
    const int OtherGraphs = 8;

    public long Total => Driver + Workspace + Graphs + Plan;

    public static Footprint Of(ExecutionPlan plan, DeviceProfile device) => Of(plan.Memory, plan.MicroBatch.Launches.Count + plan.Evaluation.Launches.Count, device);

    /// <param name="launches">Of the two launch lists.</param>
    public static Footprint Of(MemoryPlan memory, int launches, DeviceProfile device) => device.IsGpu
        ? new Footprint(device.DriverBytes, WorkspaceBytes, LaunchBytes * launches + OtherGraphs * GraphBytes, memory.Blocks.Values.Sum(Given))
        : new Footprint(0, 0, 0, memory.PeakBytes);

    /// <summary>What the driver takes for an allocation.</summary>
    public static long Given(long bytes) => (bytes + Granularity - 1) / Granularity * Granularity;
}
