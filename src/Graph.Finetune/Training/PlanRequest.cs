using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

/// <summary>From what a person asks for to the plans there are. The verbs that run and <c>plan</c> share it, so that one says what the others do.</summary>
static class PlanRequest
{
    public static PlanFrontier Frontier(ModelSource source, SessionRequest session, DeviceProfile device) =>
        PlanFrontier.Create(source.Schedule, Options(source, session, device), device, session.Host.Choices(device));

    public static PlanOptions Options(ModelSource source, SessionRequest session, DeviceProfile device) =>
        new(session.Tokens, session.Adapter.Ranks, device.Act, session.Adapter.Scale)
    {
        MicroBatches = session.MicroBatches, LongestDocument = Math.Min(session.Seq, session.Tokens), Keep = session.Keep, Multiprocessors = device.Multiprocessors,
        Pace = TransferPace.Of(device),
        Storage = source.Storage(session.Quant), Ropes = source.Ropes, Moments = session.Moments, LoraPlus = session.Adam.LoraPlus != 1,
        Dropout = session.Adapter.Dropout > 0 ? new DropoutOptions(session.Adapter.Dropout, session.Seed) : null,
        Decisions = session.Recompute == "auto" ? null : Decisions.Named(session.Recompute, new Shapes(source.Schedule, session.Tokens, session.Adapter.Ranks, device.Act)),
    };

    /// <summary>The sentence of what does not fit: the least, and what would help.</summary>
    /// <param name="has">What there is, as a clause.</param>
    public static FinetuneException DoesNotFit(ModelSource source, SessionRequest session, DeviceProfile device, PlanFrontier frontier, long budget, string has)
    {
        // Weights that must be streamed and have no room on the host are the first thing to say.
        if (session.Host.StreamWeights == StreamWeights.On) session.Host.Require(frontier.Fastest().Plan.Memory.StreamedBytes);
        var fits = Enumerable.Range(1, 12).Select(i => session.Tokens >> i).Where(t => t >= 64)
            .FirstOrDefault(t => PlanFrontier.LeastBytes(source.Schedule, Options(source, session with { Tokens = t }, device), device, session.Host.Choices(device)) <= budget);
        var advice = fits > 0 ? $"--batch-tokens {fits} would fit" : "not even 64 tokens would fit; take a smaller variant";
        if (session.Recompute is not ("auto" or "full")) advice = "use --recompute full or auto, or " + advice;
        var least = frontier.Least();
        var hosted = least.Plan.Memory.HostBytes > 0 ? $" beside {Bytes.Text(least.Plan.Memory.HostBytes)} of host memory," : "";
        return new FinetuneException($"{source.Model.Name} with --batch-tokens {session.Tokens} and --recompute {session.Recompute} "
            + $"needs at least {Bytes.Text(least.Footprint.Total)}, everything counted,{hosted} but {has}; {advice}.", 4);
    }
}
