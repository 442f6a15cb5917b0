using System;
using System.Collections.Generic;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Runtime.Planning;

/// <summary>What a plan may keep in page-locked host memory.</summary>
/// <param name="Bytes">Most bytes there.</param>
/// <param name="Offload">Whether activations may wait there for the backward.</param>
/// <param name="Stream">Whether frozen linears rest there; null: as many as make the step the fastest.</param>
public sealed record HostChoices(long Bytes, bool Offload, bool? Stream)
{
    /// <summary>Nothing.</summary>
    public static HostChoices None { get; } = new(0, false, false);

    /// <summary>Parts of the layers whose linears may be streamed. The more layers rest on the card between two whose copies come, the longer these have to arrive.</summary>
    public IReadOnlyList<double> Shares => Stream switch { true => [1], false => [0], null => Bytes > 0 ? [.. Enumerable.Range(0, 17).Select(i => i / 16.0)] : [0] };

    /// <summary>Linears of that part of the layers, evenly spread, rest in host memory; of all, those of no layer too.</summary>
    public static IReadOnlyDictionary<string, WeightStorage> Storage(Schedule schedule, IReadOnlyDictionary<string, WeightStorage> storage, double share)
    {
        if (share == 0) return storage;
        var streamed = WeightStorages.Streamed(schedule, storage);
        var layers = schedule.Forward.OfType<GemmLaunch>().SelectMany(g => g.Segments, (g, s) => (s.B.Tensor, g.Layer)).DistinctBy(r => r.Tensor)
            .ToDictionary(r => r.Tensor, r => r.Layer);
        var result = new Dictionary<string, WeightStorage>(storage);
        foreach (var weight in WeightStorages.Linears(schedule))
            if (share == 1 || IsChosen(layers.GetValueOrDefault(weight.Name, -1))) result[weight.Name] = streamed[weight.Name];
        return result;

        bool IsChosen(int layer) => layer >= 0 && (int)((layer + 1) * share) > (int)(layer * share);
    }

    /// <summary>
    /// Activations whose way to the host and back hides behind launches, at most so many bytes:
    /// first those that cannot be built again, then those that cost the most to build for each
    /// byte, of equal ones every second layer's before the others. The last layers' are needed at once, so they stay.
    /// </summary>
    /// <param name="model">With nothing offloaded, evaluated with nothing dropped.</param>
    /// <param name="saved">Activations that may be sent.</param>
    /// <param name="share">Of what the link can carry while forward and backward run.</param>
    public IReadOnlySet<string> Hidden(StepModel model, Shapes shapes, DeviceProfile device, IEnumerable<string> saved, double share)
    {
        var streamed = shapes.Streamed.Sum(s => shapes[s].Bytes);
        var (forward, backward) = (model.Elapsed(model.BackwardStart), model.Elapsed(model.Live.Length) - model.Elapsed(model.BackwardStart));
        var left = Math.Min(Bytes - streamed, (long)(share * 1e6 * Math.Min(forward * device.DeviceToHostGbps, backward * device.HostToDeviceGbps - streamed / 1e6)));
        var (facts, result) = (model.Facts, new HashSet<string>());
        foreach (var t in saved.Select(n => facts.Index[n]).Where(Hides).OrderByDescending(Price).ThenBy(t => Spread(shapes[facts.Name(t)].Tensor.Layer)).ThenBy(model.Since))
        {
            if (facts.Bytes(t) > left) continue;
            left -= facts.Bytes(t);
            result.Add(facts.Name(t));
        }
        return result;

        double Price(int t) => facts.HasRecipe(t) && !shapes[facts.Name(t)].Tensor.Boundary ? facts.Milliseconds(t) / facts.Bytes(t) : double.PositiveInfinity;

        bool Hides(int t) => model.Absence(t) > 4 * (device.CopyMilliseconds(Lane.ToHost, facts.Bytes(t)) + device.CopyMilliseconds(Lane.ToDevice, facts.Bytes(t)));
    }

    /// <summary>All activations that cannot be built again and that the host has room for.</summary>
    public IReadOnlySet<string> Boundaries(StepModel model, Shapes shapes, IEnumerable<string> saved)
    {
        var left = Bytes - shapes.Streamed.Sum(s => shapes[s].Bytes);
        return saved.Where(n => shapes[n].Tensor.Boundary || !model.Facts.HasRecipe(model.Facts.Index[n])).Where(n => (left -= shapes[n].Bytes) >= 0).ToHashSet();
    }

    // Bits of a layer's number from the lowest: even layers before odd ones, of those every fourth before the others.
    static uint Spread(int layer)
    {
        var (bits, number) = (0u, (uint)Math.Max(0, layer));
        for (var i = 0; i < 32; i++) bits |= (number >> i & 1) << (31 - i);
        return bits;
    }
}
