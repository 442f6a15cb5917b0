using System;
using System.Collections.Generic;
using Graph.Runtime.Devices;

namespace Graph.Runtime.Cuda;

/// <summary>
/// Copies between host and device inside a capture: the copy's stream forks from the computing one at the start and joins it at the wait, so in the graph a copy depends
/// on what was launched before its start, and what
/// follows its wait depends on it. Every start has a wait, so a graph ends when its copies have, and the next one, behind it on the same stream, finds arena and host
/// memory at rest.
/// Events must outlive the capture and nothing more.
/// </summary>
internal sealed class CapturedTransfers(CudaStream compute, Func<Lane, CudaStream> copyStream) : IDisposable
{
    readonly List<CudaEvent> events = [];
    readonly Dictionary<int, CudaEvent> ends = [];

    internal void Start(BoundTransferStart transfer)
    {
        var stream = copyStream(transfer.Lane);
        Driver.Check(Driver.StreamWaitEvent(stream, Record(compute), 0), "cuStreamWaitEvent");
        Driver.Check(Driver.Copy(transfer.Destination, transfer.Source, (nuint)transfer.Count, stream), $"copying {transfer.Label} of {transfer.Count} bytes");
        ends.Add(transfer.Number, Record(stream));
    }

    internal void Wait(BoundTransferWait wait) => Driver.Check(Driver.StreamWaitEvent(compute, ends[wait.Number], 0), "cuStreamWaitEvent");

    public void Dispose()
    {
        foreach (var created in events) created.Dispose();
    }

    CudaEvent Record(CudaStream stream)
    {
        var created = CudaEvent.Create(timing: false);
        events.Add(created);
        Driver.Check(Driver.EventRecord(created, stream), "cuEventRecord");
        return created;
    }
}
