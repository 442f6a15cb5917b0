using System.Collections.Generic;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>A launch list as one CUDA graph: starting a step costs the host one call, however many kernels it has.</summary>
internal sealed class CudaProgram : IProgram
{
    readonly CudaDevice device;
    readonly Launcher launcher;
    readonly IReadOnlyList<BoundLaunch> launches;
    readonly CudaGraph graph;

    internal CudaProgram(CudaDevice device, Launcher launcher, IReadOnlyList<BoundLaunch> launches)
    {
        (this.device, this.launcher, this.launches) = (device, launcher, launches);
        foreach (var launch in launches) launcher.Prepare(launch);
        graph = CudaGraph.Capture(launcher.Stream, () =>
        {
            foreach (var launch in launches) launcher.Launch(launch);
        });
    }

    public void Run()
    {
        device.MakeCurrent();
        Driver.Check(Driver.GraphLaunch(graph, launcher.Stream), "cuGraphLaunch");
    }

    /// <summary>Milliseconds per launch, from events between them; a launch shorter than the host's few microseconds to start the next one reads as those.</summary>
    public IReadOnlyList<double> Time()
    {
        device.MakeCurrent();
        var events = new List<CudaEvent>();
        try
        {
            for (var i = 0; i <= launches.Count; i++) events.Add(CudaEvent.Create());
            Driver.Check(Driver.EventRecord(events[0], launcher.Stream), "cuEventRecord");
            for (var i = 0; i < launches.Count; i++)
            {
                launcher.Launch(launches[i]);
                Driver.Check(Driver.EventRecord(events[i + 1], launcher.Stream), "cuEventRecord");
            }
            Driver.Check(Driver.EventSynchronize(events[^1]), "running the launches");
            var times = new double[launches.Count];
            for (var i = 0; i < times.Length; i++)
            {
                Driver.Check(Driver.EventElapsedTime(out var milliseconds, events[i], events[i + 1]), "cuEventElapsedTime");
                times[i] = milliseconds;
            }
            return times;
        }
        finally
        {
            foreach (var created in events) created.Dispose();
        }
    }

    public void Dispose()
    {
        device.MakeCurrent();
        graph.Dispose();
    }
}
