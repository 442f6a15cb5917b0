using System;
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
    (CudaGraph Graph, CudaEvent Start, CudaEvent End)? timed;

    internal CudaProgram(CudaDevice device, Launcher launcher, IReadOnlyList<BoundLaunch> launches)
    {
        (this.device, this.launcher, this.launches) = (device, launcher, launches);
        foreach (var launch in launches) launcher.Prepare(launch);
        graph = Capture(all => all());
    }

    // The graph of all launches, with what around does before and behind them.
    CudaGraph Capture(Action<Action> around)
    {
        using var transfers = new CapturedTransfers(launcher.Stream, device.CopyStream);
        return CudaGraph.Capture(launcher.Stream, () => around(() =>
        {
            foreach (var launch in launches)
                switch (launch)
                {
                    case BoundTransferStart start: transfers.Start(start); break;
                    case BoundTransferWait wait: transfers.Wait(wait); break;
                    default: launcher.Launch(launch); break;
                }
        }));
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

    /// <summary>The events are nodes of the graph (external, in the driver's words), so that the time to start it lies outside.</summary>
    public double Span()
    {
        device.MakeCurrent();
        timed ??= Timed();
        var (measured, start, end) = timed.Value;
        Driver.Check(Driver.GraphLaunch(measured, launcher.Stream), "cuGraphLaunch");
        Driver.Check(Driver.StreamSynchronize(launcher.Stream), "running the launches");
        Driver.Check(Driver.EventElapsedTime(out var milliseconds, start, end), "cuEventElapsedTime");
        return milliseconds;
    }

    // Releasing must not throw: it may run because of a device error, which is the one to report.
    public void Dispose()
    {
        graph.Dispose();
        if (timed is not var (measured, start, end)) return;
        measured.Dispose();
        start.Dispose();
        end.Dispose();
    }

    (CudaGraph, CudaEvent, CudaEvent) Timed()
    {
        CudaEvent? start = null, end = null;
        try
        {
            (start, end) = (CudaEvent.Create(), CudaEvent.Create());
            return (Capture(all =>
            {
                Driver.Check(Driver.EventRecordWithFlags(start, launcher.Stream, Driver.EventRecordExternal), "cuEventRecordWithFlags");
                all();
                Driver.Check(Driver.EventRecordWithFlags(end, launcher.Stream, Driver.EventRecordExternal), "cuEventRecordWithFlags");
            }), start, end);
        }
        catch
        {
            start?.Dispose();
            end?.Dispose();
            throw;
        }
    }
}
